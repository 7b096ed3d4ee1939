// For tests: the real engine over the real store, with recording ports, a clock that stands still and a journal whose
// appends can be held back. Everything that leaves is encoded and decoded, as it would be.
import { createHash } from 'node:crypto'
import { create } from '@bufbuild/protobuf'
import {
  type Clock,
  type ConvId,
  compareIds,
  compareVersions,
  countersign,
  type DeviceFrame,
  DeviceFrameSchema,
  decodeDeviceFrame,
  decodeHomeFrame,
  decodeItem,
  directConvId,
  directGenesis,
  encodeDeviceFrame,
  encodeItem,
  type Home,
  type HomeFrame,
  ItemKind,
  KIND_CONTENT,
  KIND_SKIP,
  type Manifest,
  openHomeRecord,
  type ParleyError,
  type Position,
  type RegionId,
  type RegionSigner,
  type RelayItem,
  type SignedRecord,
  SimulatedClock,
  type Submission,
  SubmissionSchema,
  simulatedRandom,
  type UserId,
  writeEntry,
} from '#protocol'
import { makePerson, makeRegion, type Person } from '../fixtures.ts'
import { SimulatedDisk } from '../store/simulated.ts'
import { openStore } from '../store/store.ts'
import type { Backend, Store } from '../store/types.ts'
import { createRelay } from './engine.ts'
import type { Founding } from './founding.ts'
import { lateHooks } from './late-hooks.ts'
import { RULE_LIMITS, type RuleLimits } from './limits.ts'
import type { DeviceSession, DirectoryPort, FormerHome, Item, Relay, RelayEngine } from './ports.ts'

export const START_MS = Date.UTC(2026, 0, 1)

/** One of the two people of a direct conversation. */
export type Side = {
  readonly member: number
  readonly userId: UserId
  readonly region: RegionId
  readonly person: Person
  readonly home: Home
  readonly manifest: Manifest
}
export type Pair = {
  readonly id: ConvId
  readonly genesis: Uint8Array
  /** Member 0, whose home hosts the conversation, and the other. */
  readonly host: Side
  readonly other: Side
}

type TestRegion = ReturnType<typeof makeRegion>

const DAY_MS = 86_400_000

function homeIn({ regionId, operational, grant }: TestRegion, head: SignedRecord): Home {
  return openHomeRecord(countersign(head, regionId, operational, grant, START_MS, START_MS + DAY_MS), START_MS)
}

/** Where somebody lives in the second generation. */
export function movedTo(region: TestRegion, { person, manifest }: Side): Home {
  const next = { version: 2, previousHash: manifest.hash, home: region.regionId, generation: 2 }
  return homeIn(region, person.sign(next).head)
}

/** Two people, each in a region of their own unless both regions are the same. */
export function makePair(one: TestRegion = makeRegion(), two: TestRegion = makeRegion()): Pair {
  const people = [one, two].map((region) => ({ region, person: makePerson(region.regionId) }))
  people.sort((a, b) => compareIds(a.person.userId, b.person.userId))
  const [host, other] = people.map(({ region, person }, member): Side => {
    const { head, opened } = person.first
    const home = homeIn(region, head)
    return { member, userId: person.userId, region: region.regionId, person, home, manifest: opened }
  })
  const [a, b] = [host!.userId, other!.userId]
  return { id: directConvId(a, b), genesis: directGenesis(a, b), host: host!, other: other! }
}

/** Somebody in each of the two regions; the first one hosts. */
export function makePairHostedBy(host: TestRegion, other: TestRegion): Pair {
  for (;;) {
    const pair = makePair(host, other)
    if (pair.host.region === host.regionId) return pair
  }
}

export function foundingOfPair({ id, genesis, host, other }: Pair): Founding {
  const members = [host, other].map(({ userId, region }) => ({ userId, region }))
  const users: [UserId, UserId] = [host.userId, other.userId]
  return {
    id,
    genesisBytes: genesis,
    genesis: { kind: 'direct', members: users },
    members,
    host: host.region,
    epoch: 1,
  }
}

export const tagOf = (name: number): Uint8Array => new Uint8Array(8).fill(name)

/** Encrypted for both as their manifests are now, unless told otherwise. */
export function submissionOf(pair: Pair, k: number, more: Partial<Submission> = {}): Submission {
  const kind = more.kind ?? KIND_CONTENT
  const parts = kind === KIND_SKIP ? [] : [pair.host, pair.other].map(({ member }) => partOf(member, k))
  const encryptedFor = [pair.host, pair.other].map(({ member, manifest }) => ({
    member,
    rootEpoch: manifest.rootEpoch,
    version: manifest.version,
  }))
  return { ...create(SubmissionSchema, { k, tag: tagOf(k), rev: 0, kind, encryptedFor, parts }), ...more }
}

const partOf = (member: number, k: number) => ({ member, device: 1, body: new Uint8Array([1 + member, k]) })

/** An entry as a host would number it. */
export function entryOf(author: Side, k: number, at: Position, more: { tag?: Uint8Array; member?: number } = {}) {
  const { device, registrationEpoch, registrationVersion } = author.person.device
  const header = { kind: KIND_CONTENT, at, device, registrationEpoch, registrationVersion, k, membershipVersion: 0 }
  const { tag = tagOf(k), member = author.member } = more
  return writeEntry({ ...header, member, tag, timeMs: START_MS }, [partOf(0, k), partOf(1, k)])
}

export const streamKeyOf = ({ member, person: { device } }: Side) => ({
  member,
  device: device.device,
  registrationEpoch: device.registrationEpoch,
  registrationVersion: device.registrationVersion,
})

export type Output =
  | { readonly to: 'region'; readonly region: RegionId; readonly conv: ConvId; readonly item: RelayItem }
  | { readonly to: 'device'; readonly session: string; readonly frame: HomeFrame }

export type TestSession = {
  readonly port: DeviceSession
  backlog: number
  closed: ParleyError | 'closed' | undefined
  frame(frame: Partial<DeviceFrame>): void
}

export type Bench = {
  readonly here: RegionId
  readonly clock: SimulatedClock
  readonly disk: SimulatedDisk
  readonly relay: Relay
  readonly store: Store
  readonly inspect: RelayEngine['inspect']
  /** Everything that left, in order. */
  readonly out: Output[]
  /** What left about journals: who else has come how far is of no interest to most tests. */
  readonly notes: { region: RegionId; item: Item }[]
  readonly cut: { region: RegionId; code: string }[]
  readonly refused: string[]
  readonly up: Set<RegionId>
  readonly wanted: RegionId[]
  readonly homes: Map<UserId, Home>
  readonly manifests: Map<UserId, Manifest>
  /** Where people who moved here lived before. */
  readonly former: Map<UserId, FormerHome>
  /** Appends no longer resolve … */
  hold(): void
  /** … until they all do. */
  release(): void
  settle(): Promise<void>
  /** Lets time pass, ticks, settles. */
  pass(ms: number): Promise<void>
  session(side: Side, id?: string): TestSession
  /** Other regions were heard about the age of the store. */
  heard(): Promise<void>
  linkUp(region: RegionId): void
  /** Items as they come off a link. */
  hear(from: RegionId, conv: ConvId, ...items: RelayItem[]): void
  hearRaw(from: RegionId, item: Item): void
  /** A crash: what was not durable is gone. */
  restart(): Promise<Bench>
}

export type BenchOptions = {
  readonly limits?: Partial<RuleLimits>
  readonly disk?: SimulatedDisk
  readonly signer?: RegionSigner
  /** Otherwise a test fails. */
  readonly failed?: (error: Error) => void
  /** The time of a disk that outlives a crash; what the process before was waiting for never comes. */
  readonly time?: { clock: SimulatedClock }
  /** What the node knows of people, also after a restart. */
  readonly known?: Pick<Bench, 'homes' | 'manifests' | 'former'>
  /** Who lives here and is not in memory: they are read when they are asked for. */
  readonly unread?: Set<UserId>
}

/** The node of `here`, which knows these people. */
export async function openBench(here: RegionId, people: readonly Side[], options: BenchOptions = {}): Promise<Bench> {
  const clock = new SimulatedClock(options.time?.clock.now() ?? START_MS)
  const time = options.time ?? { clock }
  time.clock = clock
  const random = simulatedRandom(1)
  const faults = { appendMs: [0, 0], writeMs: [0, 0], readMs: [0, 0] } as const
  const disk = options.disk ?? new SimulatedDisk({ clock: clockOf(time), random, faults })
  const out: Output[] = []
  const notes: Bench['notes'] = []
  const cut: Bench['cut'] = []
  const refused: string[] = []
  const up = new Set<RegionId>()
  const wanted: RegionId[] = []
  const homes = options.known?.homes ?? new Map(people.map((p) => [p.userId, p.home]))
  const manifests = options.known?.manifests ?? new Map(people.map((p) => [p.userId, p.manifest]))
  const former = options.known?.former ?? new Map<UserId, FormerHome>()
  const { backend, hold, release } = holding(disk.open())
  const fail = (error: Error): void => {
    if (!options.failed) throw error
    options.failed(error)
  }
  const late = lateHooks(fail)
  const schedule = (callback: () => void): void => void clock.after(0, callback)
  const settled = { done: false }
  const settle = async (): Promise<void> => {
    do for (let i = 0; i < 40; i++) await undefined
    while (clock.step(clock.now()))
  }
  const opening = openStore({ backend, hooks: late.hooks, clock, schedule }).finally(() => {
    settled.done = true
  })
  while (!settled.done) await settle()
  const { store, replayed } = await opening
  const ports = {
    region: here,
    clock,
    random,
    links: {
      send: (region: RegionId, item: Item) => {
        if (item.kind === ItemKind.JOURNAL_POSITION && up.has(region)) notes.push({ region, item })
        else if (up.has(region))
          out.push({ to: 'region', region, conv: item.conv, item: decodeItem(item.kind, item.body) })
      },
      flush: () => {},
      isUp: (region: RegionId) => up.has(region),
      backlog: () => 0,
      want: (region: RegionId) => void wanted.push(region),
      close: (region: RegionId, reason: ParleyError) => void cut.push({ region, code: reason.code }),
    },
    directory: directoryOf(homes, manifests, former, options.unread ?? new Set()),
    signer: options.signer ?? makeRegion(),
    noteSecret: createHash('sha256').update(here).digest(),
    events: { ...SILENT, refused: (code: string) => void refused.push(code) },
  }
  const engine = createRelay(ports, store, { ...RULE_LIMITS, ...options.limits }, fail)
  late.attach(engine)
  const taken = engine.takeOver(replayed)
  await settle()
  await taken
  await settle()
  const { relay } = engine
  const inspect = (): ReturnType<RelayEngine['inspect']> => engine.inspect()
  let sessions = 0
  return {
    ...{ here, clock, disk, relay, store, inspect, out, notes, cut, refused, up, wanted },
    ...{ homes, manifests, former, hold, release, settle },
    async pass(ms) {
      clock.advanceTo(clock.now() + ms)
      relay.tick()
      await settle()
    },
    session(side, id = `s${++sessions}`) {
      const session = testSession(side, id, relay, out)
      relay.openSession(session.port)
      return session
    },
    heard: () => engine.heard(),
    linkUp(region) {
      up.add(region)
      relay.linkUp(region)
    },
    hear: (from, conv, ...items) =>
      relay.items(
        from,
        items.map((item) => ({ conv, kind: item.kind as ItemKind, body: encodeItem(item) })),
      ),
    hearRaw: (from, item) => relay.items(from, [item]),
    async restart() {
      store.abandon()
      disk.crash()
      // What the process before was about to ask of the disk is asked in its own time.
      for (let i = 0; i < 40; i++) await undefined
      const unread = new Set([...homes.values()].flatMap((home) => (home.homeRegion === here ? home.userId : [])))
      return openBench(here, people, { ...options, disk, time, known: { homes, manifests, former }, unread })
    },
  }
}

const SILENT = { submitted() {}, sequenced() {}, delivered() {}, held() {}, demoted() {} }

function directoryOf(
  homes: Bench['homes'],
  manifests: Bench['manifests'],
  former: Bench['former'],
  unread: Set<UserId>,
): DirectoryPort {
  const read = <T>(user: UserId, found: T): T => {
    unread.delete(user)
    return found
  }
  return {
    knownHome: (user) => homes.get(user),
    findHome: async (user) => read(user, homes.get(user)),
    knownManifest: (user) => (unread.has(user) ? undefined : manifests.get(user)),
    findManifest: async (user) => read(user, manifests.get(user)),
    learnHome(home) {
      const known = homes.get(home.userId)
      if (known && compareVersions(home, known) <= 0) return false
      homes.set(home.userId, home)
      return true
    },
    formerHome: (user) => (unread.has(user) ? undefined : former.get(user)),
    findFormerHome: async (user) => former.get(user),
  }
}

const clockOf = (time: { clock: SimulatedClock }): Clock => ({
  now: () => time.clock.now(),
  monotonic: () => time.clock.monotonic(),
  after: (ms, callback) => time.clock.after(ms, callback),
})

function testSession(side: Side, id: string, relay: Relay, out: Output[]): TestSession {
  const { device, registrationEpoch, registrationVersion } = side.person.device
  const session: TestSession = {
    backlog: 0,
    closed: undefined,
    port: {
      id,
      userId: side.userId,
      device: { device, registrationEpoch, registrationVersion },
      send: (frame) => void out.push({ to: 'device', session: id, frame: decodeHomeFrame(frame) }),
      backlog: () => session.backlog,
      close: (reason) => {
        session.closed = reason ?? 'closed'
      },
    },
    frame: (frame) =>
      relay.deviceFrame(id, decodeDeviceFrame(encodeDeviceFrame(create(DeviceFrameSchema, frame as DeviceFrame)))),
  }
  return session
}

function holding(backend: Backend): { backend: Backend; hold(): void; release(): void } {
  let held: (() => void)[] | undefined
  const { journal } = backend
  return {
    backend: {
      ...backend,
      [Symbol.asyncDispose]: () => backend[Symbol.asyncDispose](),
      journal: {
        ...journal,
        append: (number, record) => {
          const waiting = held
          if (!waiting) return journal.append(number, record)
          return new Promise((resolve, reject) => {
            waiting.push(() => journal.append(number, record).then(resolve, reject))
          })
        },
      },
    },
    hold() {
      held ??= []
    },
    release() {
      const waiting = held ?? []
      held = undefined
      for (const append of waiting) append()
    },
  }
}
