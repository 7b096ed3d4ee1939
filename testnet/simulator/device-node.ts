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
  type Tables,
} from '#client/rules'
import {
  type ConvId,
  type DeviceFrame,
  type DeviceKey,
  decodeHomeFrame,
  type HomeFrame,
  limits,
  ParleyError,
  PrekeyBundleSchema,
  type Random,
  type UserId,
} from '#protocol'
import type { DeviceSession } from '#relay/rules'
import type { SimPerson, SimRecords } from './cast.ts'
import type { Sent, Told } from './checkers/index.ts'
import { openWire, type Wire, type WireFaults } from './network.ts'
import type { NodeClock } from './node-clock.ts'
import type { RelayNode } from './relay-node.ts'
import { standInCipher } from './stand-in-cipher.ts'
import { Wiretap } from './wiretap.ts'

export type DeviceNodeOptions = {
  readonly person: SimPerson
  readonly home: RelayNode
  readonly clock: NodeClock
  readonly random: Random
  /** What the home answers when it is asked about somebody; throws while it cannot. */
  readonly find: (user: UserId) => SimRecords
  readonly faults: WireFaults
  readonly events: (event: DeviceEvent) => void
  readonly told: (told: Told) => void
  readonly sent: (sent: Sent) => void
  readonly trace: (line: string) => void
}

const KEY: DeviceKey = { device: 1, registrationEpoch: 1, registrationVersion: 1 }
const TABLES = [
  ...(['self', 'contacts', 'devices', 'conversations', 'outbox', 'sealed'] as const),
  ...(['messages', 'entries', 'unread', 'stateKeys', 'jobs', 'keys'] as const),
] satisfies (keyof Tables)[]

function copyOf(db: MemoryDb): MemoryDb {
  const copy = memoryDb()
  copy.transaction((tx) => {
    for (const table of TABLES) for (const row of all(db, table)) tx.put(table, row)
  })
  return copy
}

export class DeviceNode {
  readonly person: SimPerson
  readonly clock: NodeClock
  readonly #options: DeviceNodeOptions
  #db: MemoryDb = memoryDb()
  #backup: MemoryDb | undefined
  #device: Device | undefined
  #link: { end: () => void; stall: (ms: number) => void } | undefined
  #sessions = 0
  #records: SimRecords
  /** gone: it will never come back, or its profile is an old copy. */
  fate: 'alive' | 'gone' = 'alive'

  constructor(options: DeviceNodeOptions) {
    this.#options = options
    this.person = options.person
    this.clock = options.clock
    this.#records = options.person.versions[0]!
  }

  get db(): MemoryDb {
    return this.#db
  }

  get device(): Device | undefined {
    return this.#device
  }

  get sessions(): number {
    return this.#sessions
  }

  get isOnline(): boolean {
    return this.#link !== undefined
  }

  start(): void {
    const { person, clock, random, events } = this.#options
    const self = { userId: person.userId, ...KEY }
    const find = async (user: UserId): Promise<SimRecords> => this.#options.find(user)
    const device: Device = createDevice({
      self,
      clock,
      random,
      db: this.#db,
      cipher: standInCipher(self, this.#db, random),
      directory: {
        find: async (user) => ({ ...(await find(user)) }),
        bundle: async (user) => {
          await find(user)
          return create(PrekeyBundleSchema, {})
        },
        prekeyCounts: async () => ({ oneTime: 100, oneTimeKyber: 100 }),
        uploadPrekeys: async () => {},
      },
      events: (event) => {
        if (this.#device === device) events(event)
      },
    })
    this.#device = device
    void device.learn(this.#records.manifest).catch(() => {})
  }

  /** The own manifest was replaced. */
  learn(records: SimRecords): void {
    this.#records = records
    void this.#device?.learn(records.manifest).catch(() => {})
  }

  /** The process dies: what its database had not committed is gone. */
  crash(): void {
    this.disconnect()
    void this.#device?.stop()
    this.#device = undefined
    this.#db = this.#db.crash()
  }

  /** The device falls into the sea. */
  destroy(): void {
    this.crash()
    this.fate = 'gone'
  }

  backUp(): void {
    this.#backup = copyOf(this.#db)
  }

  get hasBackup(): boolean {
    return this.#backup !== undefined
  }

  /** Somebody puts an old copy of the profile back, and uses it. */
  restore(): void {
    this.crash()
    this.fate = 'gone'
    this.#db = this.#backup!
    this.start()
  }

  connect(): void {
    const { home, clock, random, faults, person, trace, told, sent } = this.#options
    const device = this.#device
    if (!device || this.#link || !home.isUp) return
    const id = `${person.name}/${++this.#sessions}`
    const tap = new Wiretap(person.userId)
    let open = true
    let queued = 0
    const end = (): void => {
      if (!open) return
      open = false
      up.cut()
      down.cut()
      this.#link = undefined
      home.closeSession(id)
      device.offline(homeSession)
    }
    const up: Wire<DeviceFrame> = openWire(home.clock, random, faults, (frame) => {
      trace(`${id} ^ ${upText(frame)}`)
      home.relay?.deviceFrame(id, frame)
    })
    const down: Wire<HomeFrame | undefined> = openWire(clock, random, faults, (frame) => {
      queued -= frame ? sizeOf(frame) : 0
      trace(`${id} v ${frame ? downText(frame) : 'closed'}`)
      if (frame) device.receive(homeSession, frame)
      else end()
    })
    const homeSession: HomeSession = {
      inFlightMax: limits.IN_FLIGHT_MAX,
      send: (frame) => {
        if (!open) return
        for (const one of tap.up(frame)) sent(one)
        up.send(frame)
      },
      end: (reason) => {
        trace(`${id} ends: ${reason.code}`)
        end()
      },
    }
    const session: DeviceSession = {
      id,
      userId: person.userId,
      device: KEY,
      send: (bytes) => {
        if (!open) return
        const frame = decodeHomeFrame(bytes)
        for (const one of tap.down(frame)) told(one)
        queued += sizeOf(frame)
        down.send(frame)
      },
      backlog: () => queued,
      close: () => down.send(undefined),
    }
    this.#link = {
      end,
      stall: (ms) => {
        up.stall(ms)
        down.stall(ms)
      },
    }
    home.openSession(session)
    device.online(homeSession)
  }

  disconnect(): void {
    this.#link?.end()
  }

  stall(ms: number): void {
    this.#link?.stall(ms)
  }

  /** Submissions that are not known to be safe. */
  unsafe(): number {
    return all(this.#db, 'outbox').filter((slot) => slot.state !== 'done').length
  }

  cursorOf(conv: ConvId): number {
    return this.#db.get('conversations', [conv])?.cursor ?? 0
  }
}

export function unreachable(): ParleyError {
  return new ParleyError('unreachable', 'the home is down')
}

const sizeOf = (frame: HomeFrame): number =>
  64 + frame.entries.reduce((sum, { entry }) => sum + entry.reduce((bytes, one) => bytes + one.length, 0), 0)

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
