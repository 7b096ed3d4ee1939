// A relay of a simulated network: the real rules over the real store, on a simulated disk. It can be crashed or paused
// at any moment and started again on the same disk.

import type { Home, Manifest, ParleyError, Random, RegionId, UserId } from '#protocol'
import {
  createRelay,
  type DeviceSession,
  type Item,
  lateHooks,
  openStore,
  type Relay,
  type RelayEngine,
  type RelayPorts,
  RULE_LIMITS,
  type RuleLimits,
  SimulatedDisk,
  type Store,
  type StoreLimits,
} from '#relay/rules'
import type { SimPerson, SimRecords } from './cast.ts'
import { watched } from './durable.ts'
import type { NodeClock } from './node-clock.ts'

/** Tiny, so that every limit is reached. */
export const TINY_RULES: RuleLimits = {
  ...RULE_LIMITS,
  tickMs: 20,
  sweepMs: 300,
  conversations: 3,
  windowItems: 4,
  patienceMs: 700,
  linkBacklogBytes: 4_096,
  itemBytes: 1_024,
  lagStreams: 2,
  lagTurnBytes: 1_500,
  lagAgainMs: 800,
  sessionBacklogBytes: 2_000,
  held: 24,
  heldBytes: 256 * 1024,
}
const TINY_STORE: Partial<StoreLimits> = {
  checkpointBytes: 6_000,
  checkpointRecords: 12,
  checkpointAgeMs: 1_000,
  sliceChanges: 4,
  freeCheckMs: 40,
}

export type Links = {
  send(from: RegionId, to: RegionId, item: Item): void
  isUp(from: RegionId, to: RegionId): boolean
  backlog(from: RegionId, to: RegionId): number
  close(from: RegionId, to: RegionId, reason: ParleyError): void
}

export type SimNodeOptions = {
  readonly region: RegionId
  readonly clock: NodeClock
  readonly random: Random
  readonly links: Links
  readonly people: ReadonlyMap<UserId, SimPerson>
  readonly refused: (code: string) => void
  readonly demoted: () => void
  /** The rules found something impossible, or the store failed. */
  readonly failed: (error: Error) => void
}

export class RelayNode {
  readonly region: RegionId
  readonly clock: NodeClock
  readonly disk: SimulatedDisk
  /** What the disk has ever kept for sure: `c/<conv> <key>` of entries and held submissions. */
  readonly kept = new Set<string>()
  readonly #options: SimNodeOptions
  readonly #sessions = new Map<string, DeviceSession>()
  /** The newest version of each person's records that has come to this region. */
  readonly #versions = new Map<UserId, number>()
  #boot = 0
  #store: Store | undefined
  #engine: RelayEngine | undefined

  constructor(options: SimNodeOptions) {
    this.#options = options
    this.region = options.region
    this.clock = options.clock
    this.disk = new SimulatedDisk({ clock: options.clock, random: options.random })
  }

  get isUp(): boolean {
    return this.#engine !== undefined
  }

  get relay(): Relay | undefined {
    return this.#engine?.relay
  }

  get store(): Store | undefined {
    return this.#store
  }

  inspect(): ReturnType<RelayEngine['inspect']> | undefined {
    return this.#engine?.inspect()
  }

  recordsOf(user: UserId): SimRecords | undefined {
    return this.#options.people.get(user)?.versions[this.#versions.get(user) ?? 0]
  }

  /** Newer records of somebody have come. */
  learn(user: UserId, version: number): void {
    if (version <= (this.#versions.get(user) ?? 0)) return
    this.#versions.set(user, version)
    const { manifest } = this.recordsOf(user)!
    if (this.#options.people.get(user)!.region === this.region) this.relay?.manifestChanged(manifest)
  }

  #ports(): RelayPorts {
    const { clock, random, links, region, people, refused, demoted } = this.#options
    // What is found is as new as the person's home has it.
    const find = (user: UserId): SimRecords | undefined => people.get(user) && this.recordsOf(user)
    return {
      region,
      clock,
      random,
      links: {
        send: (to, item) => links.send(region, to, item),
        isUp: (to) => links.isUp(region, to),
        backlog: (to) => links.backlog(region, to),
        want: () => {},
        close: (to, reason) => links.close(region, to, reason),
      },
      directory: {
        knownHome: (user): Home | undefined => find(user)?.home,
        findHome: async (user): Promise<Home | undefined> => find(user)?.home,
        knownManifest: (user): Manifest | undefined => find(user)?.manifest,
        findManifest: async (user): Promise<Manifest | undefined> => find(user)?.manifest,
        learnHome: (home) => {
          this.learn(home.userId, home.version - 1)
          return true
        },
      },
      events: { submitted() {}, sequenced() {}, delivered() {}, held() {}, refused, demoted },
    }
  }

  /** Starts on whatever the disk holds; a start that a crash overtakes ends quietly. */
  async start(): Promise<void> {
    const boot = ++this.#boot
    await this.#start(boot).catch((error: Error) => {
      if (boot === this.#boot) this.#options.failed(error)
    })
  }

  async #start(boot: number): Promise<void> {
    const { clock, failed } = this.#options
    const fail = (error: Error): void => {
      if (boot === this.#boot) failed(error)
    }
    const late = lateHooks(fail)
    const { store, replayed } = await openStore({
      backend: watched(this.disk.open(), this.kept),
      hooks: late.hooks,
      clock,
      schedule: (callback) => void clock.after(0, callback),
      limits: TINY_STORE,
      holds: (partition, key) => this.disk.rows.get(partition)?.has(key) === true,
    })
    if (boot !== this.#boot) return store.abandon()
    const engine = createRelay(this.#ports(), store, TINY_RULES, fail)
    late.attach(engine)
    await engine.takeOver(replayed)
    if (boot !== this.#boot) return store.abandon()
    this.#store = store
    this.#engine = engine
    this.#tick(boot)
  }

  #tick(boot: number): void {
    this.clock.after(TINY_RULES.tickMs, () => {
      if (boot !== this.#boot || !this.#engine) return
      this.#engine.relay.tick()
      this.#tick(boot)
    })
  }

  /** SIGKILL: whatever was not durable is gone. */
  crash(): void {
    this.#boot++
    this.#store?.abandon()
    this.#store = undefined
    this.#engine = undefined
    this.disk.crash()
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    for (const session of sessions) session.close(undefined)
  }

  openSession(session: DeviceSession): void {
    this.#sessions.set(session.id, session)
    this.relay?.openSession(session)
  }

  closeSession(id: string): void {
    this.#sessions.delete(id)
    this.relay?.closeSession(id)
  }
}
