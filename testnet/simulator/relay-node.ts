// A relay of a simulated network: the real rules over the real store, on a simulated disk. It can be crashed at any
// moment and started again on the same disk.

import type { Clock, Home, Manifest, ParleyError, Random, RegionId, UserId } from '#protocol'
import {
  createRelay,
  type DeviceSession,
  type Item,
  lateHooks,
  openStore,
  type Relay,
  type RelayPorts,
  RULE_LIMITS,
  type RuleLimits,
  SimulatedDisk,
  type Store,
  type StoreLimits,
} from '#relay/rules'
import type { SimPerson } from './cast.ts'

/** Tiny, so that every limit is reached. */
export const TINY_RULES: RuleLimits = {
  ...RULE_LIMITS,
  tickMs: 20,
  sweepMs: 300,
  conversations: 3,
  windowItems: 6,
  patienceMs: 2_000,
  linkBacklogBytes: 4_096,
  itemBytes: 1_024,
  lagStreams: 2,
  lagTurnBytes: 1_500,
  lagAgainMs: 1_500,
  sessionBacklogBytes: 1_000_000,
  held: 24,
  heldBytes: 64 * 1024,
}
export const TINY_STORE: Partial<StoreLimits> = {
  checkpointBytes: 6_000,
  checkpointRecords: 12,
  checkpointAgeMs: 1_500,
  sliceChanges: 4,
}

export type Links = {
  send(from: RegionId, to: RegionId, item: Item): void
  isUp(from: RegionId, to: RegionId): boolean
  backlog(from: RegionId, to: RegionId): number
  close(from: RegionId, to: RegionId, reason: ParleyError): void
}

export type SimNodeOptions = {
  readonly region: RegionId
  readonly clock: Clock
  readonly random: Random
  readonly links: Links
  readonly people: ReadonlyMap<UserId, SimPerson>
  readonly trace: (what: string) => void
  /** The rules found something impossible, or the store failed. */
  readonly failed: (error: Error) => void
}

export class RelayNode {
  readonly region: RegionId
  readonly disk: SimulatedDisk
  readonly #options: SimNodeOptions
  readonly #sessions = new Map<string, DeviceSession>()
  readonly counts = { sequenced: 0, held: 0, demoted: 0, refused: 0, commits: 0 }
  #boot = 0
  #store: Store | undefined
  #relay: Relay | undefined
  #refusals = new Map<string, number>()

  constructor(options: SimNodeOptions) {
    this.#options = options
    this.region = options.region
    this.disk = new SimulatedDisk({ clock: options.clock, random: options.random })
  }

  get isUp(): boolean {
    return this.#relay !== undefined
  }

  get relay(): Relay | undefined {
    return this.#relay
  }

  get store(): Store | undefined {
    return this.#store
  }

  get refusals(): ReadonlyMap<string, number> {
    return this.#refusals
  }

  #ports(): RelayPorts {
    const { clock, random, links, region, people } = this.#options
    const count = (code: string): void => {
      this.#refusals.set(code, (this.#refusals.get(code) ?? 0) + 1)
      this.counts.refused++
    }
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
        knownHome: (user): Home | undefined => people.get(user)?.home,
        findHome: async (user): Promise<Home | undefined> => people.get(user)?.home,
        knownManifest: (user): Manifest | undefined => people.get(user)?.manifest,
        findManifest: async (user): Promise<Manifest | undefined> => people.get(user)?.manifest,
        learnHome: () => true,
      },
      events: {
        submitted: () => {},
        sequenced: (n) => {
          this.counts.sequenced += n
        },
        delivered: () => {},
        held: (n) => {
          this.counts.held += n
        },
        refused: count,
        demoted: (_region, streams) => {
          this.counts.demoted += streams
        },
      },
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
    const hooks = {
      ...late.hooks,
      committed: (n: number) => {
        this.counts.commits++
        late.hooks.committed(n)
      },
    }
    const { store, replayed } = await openStore({
      backend: this.disk.open(),
      hooks,
      clock,
      schedule: (callback) => void clock.after(0, callback),
      limits: TINY_STORE,
    })
    if (boot !== this.#boot) return store.abandon()
    const engine = createRelay(this.#ports(), store, TINY_RULES, fail)
    late.attach(engine)
    await engine.takeOver(replayed)
    if (boot !== this.#boot) return store.abandon()
    this.#store = store
    this.#relay = engine.relay
    this.#tick(boot)
  }

  #tick(boot: number): void {
    this.#options.clock.after(TINY_RULES.tickMs, () => {
      if (boot !== this.#boot || !this.#relay) return
      this.#relay.tick()
      this.#tick(boot)
    })
  }

  /** SIGKILL: whatever was not durable is gone. */
  crash(): void {
    this.#boot++
    this.#store?.abandon()
    this.#store = undefined
    this.#relay = undefined
    this.disk.crash()
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    for (const session of sessions) session.close(undefined)
  }

  openSession(session: DeviceSession): void {
    this.#sessions.set(session.id, session)
    this.#relay?.openSession(session)
  }

  closeSession(id: string): void {
    this.#sessions.delete(id)
    this.#relay?.closeSession(id)
  }
}
