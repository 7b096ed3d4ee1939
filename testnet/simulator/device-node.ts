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
  decodeDeviceFrame,
  decodeHomeFrame,
  encodeDeviceFrame,
  type HomeFrame,
  limits,
  ParleyError,
  PrekeyBundleSchema,
  type Random,
  type UserId,
} from '#protocol'
import type { DeviceSession } from '#relay/rules'
import type { SimPerson, SimRecords } from './cast.ts'
import type { Moved, Sent, Told } from './checkers/index.ts'
import { downText, upText } from './frames-text.ts'
import { openWire, type WireFaults } from './network.ts'
import type { NodeClock } from './node-clock.ts'
import type { SimRegionNodes } from './region.ts'
import { standInCipher } from './stand-in-cipher.ts'
import type { Trace } from './trace.ts'
import { Wiretap } from './wiretap.ts'

export type DeviceNodeOptions = {
  readonly person: SimPerson
  readonly home: SimRegionNodes
  readonly world: { readonly clock: { after(ms: number, callback: () => void): unknown } }
  readonly clock: NodeClock
  readonly random: Random
  /** What the home answers when it is asked about somebody; throws while it cannot. */
  readonly find: (user: UserId) => SimRecords
  /** The newest own ones. */
  readonly records: () => SimRecords
  readonly faults: WireFaults
  readonly bytes: boolean
  readonly slowCipher: boolean
  readonly events: (event: DeviceEvent) => void
  readonly moved: (moved: Moved) => void
  readonly told: (told: Told) => void
  readonly heard: (told: Told) => void
  readonly sent: (sent: Sent) => void
  readonly trace: Trace
}

const KEY: DeviceKey = { device: 1, registrationEpoch: 1, registrationVersion: 1 }
const TABLES = [
  ...(['self', 'contacts', 'devices', 'conversations', 'outbox', 'sealed'] as const),
  ...(['messages', 'entries', 'unread', 'stateKeys', 'jobs', 'keys'] as const),
] satisfies (keyof Tables)[]
/** A device that has lost its connection is back within this time, if its home is there, ms. */
const RECONNECT_MS = 250
/** How long encrypting may take when it takes time, ms. */
const CIPHER_MS = 3

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
  #waiting = false
  home: SimRegionNodes
  #records: SimRecords
  /** gone: it will never come back, or its profile is an old copy. */
  fate: 'alive' | 'gone' = 'alive'
  /** Conversations in which it said that its home has no longer what comes next. */
  readonly expired = new Set<ConvId>()
  /** The most that ever waited for its socket, bytes. */
  backlogMost = 0

  constructor(options: DeviceNodeOptions) {
    this.#options = options
    this.person = options.person
    this.clock = options.clock
    this.home = options.home
    this.#records = options.records()
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
    const { person, clock, random, events, slowCipher } = this.#options
    const self = { userId: person.userId, ...KEY }
    const find = async (user: UserId): Promise<SimRecords> => this.#options.find(user)
    const pause = slowCipher
      ? (): Promise<void> => new Promise((resolve) => void clock.after(CIPHER_MS * random.fraction(), resolve))
      : undefined
    const device: Device = createDevice({
      self,
      clock,
      random,
      db: this.#db,
      cipher: standInCipher(self, this.#db, random, pause),
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
        if (this.#device !== device) return
        if (event.type === 'expired') this.expired.add(event.conv)
        events(event)
      },
    })
    this.#device = device
    void device.learn(this.#records.manifest).catch(() => {})
    this.connectSoon()
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

  /** The account was moved while the client did not run. */
  moveTo(home: SimRegionNodes): void {
    this.crash()
    this.home = home
    this.#records = this.#options.records()
    this.start()
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

  connectSoon(withinMs = RECONNECT_MS): void {
    if (this.#waiting) return
    this.#waiting = true
    this.#options.world.clock.after(withinMs * this.#options.random.fraction(), () => {
      this.#waiting = false
      this.connect()
    })
  }

  connect(): void {
    if (!this.#device || this.#link) return
    const isKnown = !this.home.awaited.has(this.#options.person.userId)
    if (this.home.serving && isKnown) this.#connect(this.#device)
    else this.connectSoon()
  }

  #connect(device: Device): void {
    const { clock, random, faults, person, trace, bytes } = this.#options
    const node = this.home.serving!
    const id = `${person.name}/${++this.#sessions}`
    const tap = new Wiretap(person.userId, node.region)
    let open = true
    let queued = 0
    const end = (): void => {
      if (!open) return
      open = false
      up.cut()
      down.cut()
      this.#link = undefined
      node.closeSession(id)
      device.offline(homeSession)
      this.connectSoon()
    }
    const up = openWire<DeviceFrame | Uint8Array>(node.clock, random, faults, (said) => {
      const frame = said instanceof Uint8Array ? decodeDeviceFrame(said) : said
      trace.note('up', () => `${id} ^ ${upText(frame)}`, frame.submissions.length, frame.cursors.length)
      node.call((relay) => relay.deviceFrame(id, frame))
    })
    const down = openWire<HomeFrame | Uint8Array | undefined>(clock, random, faults, (said) => {
      if (!said) {
        trace.note('closed', () => `${id} v closed`)
        end()
        return
      }
      const frame = said instanceof Uint8Array ? decodeHomeFrame(said) : said
      queued -= sizeOf(frame)
      trace.note('down', () => `${id} v ${downText(frame)}`, frame.verdicts.length, frame.entries.length)
      if (frame.verdicts.length > 0) for (const one of tap.verdicts(frame)) this.#options.heard(one)
      device.receive(homeSession, frame)
    })
    const homeSession: HomeSession = {
      inFlightMax: limits.IN_FLIGHT_MAX,
      send: (frame) => {
        if (!open) return
        for (const one of tap.up(frame)) this.#options.sent(one)
        up.send(bytes ? encodeDeviceFrame(frame) : frame)
      },
      end: (reason) => {
        trace.note('ends', () => `${id} ends: ${reason.code}`)
        end()
      },
    }
    const session: DeviceSession = {
      ...{ id, userId: person.userId, device: KEY },
      send: (encoded) => {
        if (!open) return
        const frame = decodeHomeFrame(encoded)
        for (const one of tap.moves(frame)) this.#options.moved(one)
        for (const one of tap.down(frame, node.deposedAt)) this.#options.told(one)
        queued += sizeOf(frame)
        if (queued > this.backlogMost) this.backlogMost = queued
        down.send(bytes ? encoded : frame)
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
    node.openSession(session)
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
