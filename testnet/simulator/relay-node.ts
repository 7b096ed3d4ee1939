// One relay process of a simulated network: the real rules over the real store, on the disk of its region. It can be
// crashed or paused at any moment, and another process can take its disk over.
import type { Manifest, Random, RegionId, RegionSigner, UserId } from '#protocol'
import {
  type Backend,
  createRelay,
  type DeviceSession,
  type DirectoryPort,
  type LinkPort,
  lateHooks,
  openStore,
  type Relay,
  type RelayEngine,
  type RelayPorts,
  RULE_LIMITS,
  type RuleLimits,
  type Store,
  type StoreLimits,
} from '#relay/rules'
import type { NodeClock } from './node-clock.ts'

/** Tiny, so that every limit is reached. */
export const TINY_RULES: RuleLimits = {
  ...RULE_LIMITS,
  tickMs: 30,
  sweepMs: 300,
  conversations: 3,
  windowItems: 4,
  patienceMs: 700,
  stuckMs: 1_500,
  demoted: 3,
  linkBacklogBytes: 4_096,
  itemBytes: 1_024,
  lagStreams: 2,
  lagTurnBytes: 1_500,
  catchUpTickBytes: 2_000,
  lagAgainMs: 800,
  takeoverAgainMs: 400,
  lookUpAgainMs: 700,
  takeoverPatienceMs: 1_500,
  comingSteps: 4,
  comingSpokenOf: 1,
  notesAgainMs: 1_500,
  notesPatienceMs: 250,
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

export type RelayNodeOptions = {
  readonly region: RegionId
  readonly name: string
  readonly clock: NodeClock
  readonly random: Random
  readonly links: LinkPort
  readonly directory: DirectoryPort
  readonly signer: RegionSigner
  readonly noteSecret: Uint8Array
  /** Opens the disk as its newest owner. */
  readonly open: (node: RelayNode) => Backend
  readonly holds: (node: RelayNode, partition: string, key: string) => boolean
  readonly refused: (code: string) => void
  readonly demoted: () => void
  /** It has taken over, and links can come up. */
  readonly ready: (node: RelayNode) => void
  /** The rules found something impossible, or the store failed. */
  readonly failed: (node: RelayNode, error: Error) => void
}

export class RelayNode {
  readonly region: RegionId
  readonly name: string
  readonly clock: NodeClock
  readonly #options: RelayNodeOptions
  readonly #sessions = new Map<string, DeviceSession>()
  #isHeard = false
  #state: 'new' | 'starting' | 'up' | 'dead' = 'new'
  #store: Store | undefined
  #engine: RelayEngine | undefined
  /** How much the disk had kept when another process took it over; undefined while this is its newest owner. */
  deposedAt: number | undefined

  constructor(options: RelayNodeOptions) {
    this.#options = options
    this.region = options.region
    this.name = options.name
    this.clock = options.clock
  }

  get isUp(): boolean {
    return this.#state === 'up'
  }

  /** Devices are served: no other region knows that the disk is an old backup, or none answers. */
  get isServing(): boolean {
    return this.#state === 'up' && this.#isHeard
  }

  get isDead(): boolean {
    return this.#state === 'dead'
  }

  /** Something comes to the process, if it is up. What the rules throw ends it, as it would end a real one. */
  call(step: (relay: Relay) => void): void {
    const relay = this.#engine?.relay
    if (!relay) return
    try {
      step(relay)
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)))
    }
  }

  get store(): Store | undefined {
    return this.#store
  }

  inspect(): ReturnType<RelayEngine['inspect']> | undefined {
    return this.#engine?.inspect()
  }

  manifestChanged(manifest: Manifest): void {
    this.clock.run(() => this.call((relay) => relay.manifestChanged(manifest)))
  }

  homeChanged(user: UserId): void {
    this.clock.run(() => this.call((relay) => relay.homeChanged(user)))
  }

  #ports(): RelayPorts {
    const { region, clock, random, links, directory, signer, noteSecret, refused, demoted } = this.#options
    return {
      ...{ region, clock, random, links, directory, signer, noteSecret },
      events: { submitted() {}, sequenced() {}, delivered() {}, held() {}, refused, demoted },
    }
  }

  /** Starts on whatever the disk holds; a start that a crash overtakes ends quietly. */
  async start(): Promise<void> {
    this.#state = 'starting'
    await this.#start().catch((error: Error) => this.#fail(error))
  }

  #fail(error: Error): void {
    if (!this.isDead) this.#options.failed(this, error)
  }

  async #start(): Promise<void> {
    const { clock, open, holds, ready } = this.#options
    const fail = (error: Error): void => this.#fail(error)
    const late = lateHooks(fail)
    const { store, replayed } = await openStore({
      backend: open(this),
      hooks: late.hooks,
      clock,
      schedule: (callback) => void clock.after(0, callback),
      limits: TINY_STORE,
      holds: (partition, key) => holds(this, partition, key),
    })
    if (this.isDead) return store.abandon()
    this.#store = store
    const engine = createRelay(this.#ports(), store, TINY_RULES, fail)
    late.attach(engine)
    await engine.takeOver(replayed)
    if (this.isDead) return store.abandon()
    this.#engine = engine
    this.#state = 'up'
    engine.heard().then(
      () => {
        this.#isHeard = true
      },
      () => undefined,
    )
    this.#tick()
    ready(this)
  }

  #tick(): void {
    this.clock.after(TINY_RULES.tickMs, () => {
      if (!this.#engine) return
      this.call((relay) => relay.tick())
      this.#tick()
    })
  }

  /** SIGKILL. What the disk makes of what was under way is the disk's business. */
  kill(): void {
    this.#state = 'dead'
    this.#store?.abandon()
    this.#store = undefined
    this.#engine = undefined
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    for (const session of sessions) session.close(undefined)
  }

  openSession(session: DeviceSession): void {
    this.#sessions.set(session.id, session)
    this.clock.run(() => this.call((relay) => relay.openSession(session)))
  }

  closeSession(id: string): void {
    this.#sessions.delete(id)
    this.clock.run(() => this.call((relay) => relay.closeSession(id)))
  }
}
