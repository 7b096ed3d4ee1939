// A device of a simulated network: the real rules of the client over a database in memory, with a plug to pull.
import { create } from '@bufbuild/protobuf'
import {
  all,
  createDevice,
  type Device,
  type DeviceEvent,
  type HomeSession,
  type MemoryDb,
  memoryDb,
} from '#client/rules'
import {
  type Clock,
  type DeviceFrame,
  type DeviceKey,
  type HomeFrame,
  limits,
  ParleyError,
  PrekeyBundleSchema,
  type Random,
  type UserId,
} from '#protocol'
import type { DeviceSession } from '#relay/rules'
import type { SimPerson } from './cast.ts'
import { openWire, type Wire, type WireFaults } from './network.ts'
import type { RelayNode } from './relay-node.ts'
import { standInCipher } from './stand-in-cipher.ts'

export type DeviceNodeOptions = {
  readonly person: SimPerson
  readonly home: RelayNode
  readonly clock: Clock
  readonly random: Random
  readonly people: ReadonlyMap<UserId, SimPerson>
  readonly faults: WireFaults
  readonly events: (event: DeviceEvent) => void
  readonly trace: (line: string) => void
}

const KEY: DeviceKey = { device: 1, registrationEpoch: 1, registrationVersion: 1 }

export class DeviceNode {
  readonly person: SimPerson
  readonly #options: DeviceNodeOptions
  #db: MemoryDb = memoryDb()
  #device: Device | undefined
  #link: { end: () => void } | undefined
  #sessions = 0
  ended: Error | undefined

  constructor(options: DeviceNodeOptions) {
    this.#options = options
    this.person = options.person
  }

  get db(): MemoryDb {
    return this.#db
  }

  get device(): Device | undefined {
    return this.#device
  }

  get isOnline(): boolean {
    return this.#link !== undefined
  }

  start(): void {
    const { person, clock, random, people, events } = this.#options
    const self = { userId: person.userId, ...KEY }
    const find = async (user: UserId) => {
      const found = people.get(user)
      if (!found) throw new ParleyError('unknown_user', 'nobody')
      if (!this.#options.home.isUp) throw new ParleyError('unreachable', 'the home is down')
      return found
    }
    const device: Device = createDevice({
      self,
      clock,
      random,
      db: this.#db,
      cipher: standInCipher(self, this.#db, random),
      directory: {
        find: async (user) => {
          const { home, manifest } = await find(user)
          return { home, manifest }
        },
        bundle: async (user) => {
          await find(user)
          return create(PrekeyBundleSchema, {})
        },
        prekeyCounts: async () => ({ oneTime: 100, oneTimeKyber: 100 }),
        uploadPrekeys: async () => {},
      },
      events: (event) => {
        if (this.#device !== device) return
        if (event.type === 'broken') this.ended = event.error
        events(event)
      },
    })
    this.#device = device
    void device.learn(person.manifest).catch(() => {})
  }

  /** The process dies: what its database had not committed is gone. */
  crash(): void {
    this.disconnect()
    void this.#device?.stop()
    this.#device = undefined
    this.#db = this.#db.crash()
  }

  connect(): void {
    const { home, clock, random, faults, person, trace } = this.#options
    const device = this.#device
    if (!device || this.#link || !home.isUp) return
    const id = `${person.name}/${++this.#sessions}`
    let up: Wire<DeviceFrame>
    let down: Wire<HomeFrame | undefined>
    let open = true
    const end = (): void => {
      if (!open) return
      open = false
      up.cut()
      down.cut()
      this.#link = undefined
      home.closeSession(id)
      device.offline(homeSession)
    }
    const homeSession: HomeSession = {
      inFlightMax: limits.IN_FLIGHT_MAX,
      send: (frame) => up.send(frame),
      end: (reason) => {
        trace(`${id} ends: ${reason.code}`)
        end()
      },
    }
    up = openWire(clock, random, faults, (frame) => {
      trace(`${id} ^ ${upText(frame)}`)
      home.relay?.deviceFrame(id, frame)
    })
    down = openWire(clock, random, faults, (frame) => {
      trace(`${id} v ${frame ? downText(frame) : 'closed'}`)
      if (frame) device.receive(homeSession, frame)
      else end()
    })
    const session: DeviceSession = {
      id,
      userId: person.userId,
      device: KEY,
      send: (frame) => down.send(frame),
      backlog: () => 0,
      close: () => down.send(undefined),
    }
    this.#link = { end }
    home.openSession(session)
    device.online(homeSession)
  }

  disconnect(): void {
    this.#link?.end()
  }

  /** Submissions that are not known to be safe. */
  unsafe(): number {
    return all(this.#db, 'outbox').filter((slot) => slot.state !== 'done').length
  }
}

function upText(frame: DeviceFrame): string {
  return [
    ...frame.names.map((n) => `name${n.ref}`),
    ...frame.submissions.map((s) => `sub${s.conv} k${s.k} r${s.rev}${s.kind === 1 ? '' : ` kind${s.kind}`}`),
    ...frame.cursors.map((c) => `cursor${c.conv} ${c.n}${c.rewind ? ' rewind' : ''}`),
    ...frame.pulls.map((p) => `pull${p.conv} ${p.n}`),
    ...frame.registers.map((r) => `register${r.conv} ${r.kind}`),
  ].join(', ')
}

function downText(frame: HomeFrame): string {
  return [
    ...frame.names.map((n) => `name${n.ref}`),
    ...frame.verdicts.map((v) => `${v.outcome.case}${v.conv} k${v.k}`),
    ...frame.entries.map((e) => `entries${e.conv} ×${e.entry.length}${e.page ? ' page' : ''} head ${e.headN}`),
    ...frame.behind.map((b) => `behind${b.conv} ${b.fromN} of ${b.headN}`),
    ...frame.registers.map((r) => `register${r.conv} ${r.kind} ${r.version % 4294967296n}`),
  ].join(', ')
}
