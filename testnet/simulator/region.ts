// A region of a simulated network: one disk, and the processes that have it open. The newest of them owns it; an older
// one may not have noticed yet.
import { type Home, type Manifest, type Random, regionIdBytes, type UserId } from '#protocol'
import { beginNextLife, type DirectoryPort, type LinkPort, lateHooks, openStore, SimulatedDisk } from '#relay/rules'
import { type SimRecords, type SimRegion, signerOf } from './cast.ts'
import { Kept, watched } from './durable.ts'
import type { Homes } from './homes.ts'
import { type NodeClock, ROUNDING_MS } from './node-clock.ts'
import { RelayNode } from './relay-node.ts'
import type { World } from './world.ts'

export type RegionOptions = {
  readonly world: World
  readonly is: SimRegion
  readonly random: (name: string) => Random
  readonly homes: Homes
  readonly newClock: (name: string) => NodeClock
  readonly links: (node: () => RelayNode) => LinkPort
}

/** What the text of every region's id begins with. */
const REGION_PREFIX = 'parleyr1'
/** A region that has nothing running starts a process after this long, ms. */
const RESTART_MS = 150

export class SimRegionNodes {
  readonly is: SimRegion
  readonly disk: SimulatedDisk
  readonly kept = new Kept()
  /** Processes that are not dead, the newest last. */
  readonly nodes: RelayNode[] = []
  /** One clock for a machine: a process that starts again keeps it. */
  readonly #options: RegionOptions
  /** The newest version of each person's records that has come here. */
  readonly #versions = new Map<UserId, number>()
  /** What somebody copied off the disk. */
  #copy: { records: Map<number, Uint8Array>; rows: Map<string, Map<string, Uint8Array>> } | undefined
  #started = 0
  #downUntil = 0
  /** Its disk is destroyed: no process ever starts again. */
  isGone = false
  /** Its disk was an old backup, and it goes on from that. */
  isRestored = false
  /** Whose accounts are of before it was restored. */
  readonly awaited = new Set<UserId>()
  #clock: NodeClock

  constructor(options: RegionOptions) {
    this.is = options.is
    this.#options = options
    this.#clock = options.newClock(options.is.name)
    this.disk = new SimulatedDisk({ clock: options.world.clock, random: options.random(`disk ${options.is.name}`) })
  }

  /** The owner of the disk, if it has taken over; what devices and other regions find. */
  get serving(): RelayNode | undefined {
    const newest = this.nodes.at(-1)
    return newest?.isServing ? newest : undefined
  }

  get newest(): RelayNode | undefined {
    return this.nodes.at(-1)
  }

  get clock(): NodeClock {
    return this.newest?.clock ?? this.#clock
  }

  /** As far as this region knows. */
  #versionOf(user: UserId): number {
    return this.#versions.get(user) ?? 1
  }

  recordsOf(user: UserId): SimRecords | undefined {
    return this.#options.homes.records(user, this.#versionOf(user))
  }

  /** Newer records of somebody have come. */
  learn(user: UserId, version: number): boolean {
    const before = this.recordsOf(user)
    if (!before || version <= this.#versionOf(user)) return false
    this.#versions.set(user, version)
    const { manifest, home } = this.recordsOf(user)!
    if (home.homeRegion === this.is.id) for (const node of this.nodes) node.manifestChanged(manifest)
    return true
  }

  /** The DHT has the newest; of its own people a region believes nobody but itself. */
  lookUp(user: UserId): void {
    const { homes } = this.#options
    if (this.recordsOf(user)?.home.homeRegion === this.is.id) return
    this.#options.world.count('looked up anew')
    this.learn(user, homes.version(user))
  }

  /** Somebody registers here who lived elsewhere. */
  welcome(user: UserId): void {
    this.learn(user, this.#options.homes.version(user))
    for (const node of this.nodes) node.homeChanged(user)
  }

  /** Of an account that is no more, or not any more, there is none. */
  #manifestOf(user: UserId): Manifest | undefined {
    return this.awaited.has(user) ? undefined : this.recordsOf(user)?.manifest
  }

  #directory(): DirectoryPort {
    // What is found is as new as the person's home has it.
    return {
      knownHome: (user): Home | undefined => this.recordsOf(user)?.home,
      findHome: async (user, found): Promise<Home | undefined> => {
        if (found?.fresh) this.lookUp(user)
        return this.recordsOf(user)?.home
      },
      knownManifest: (user): Manifest | undefined => this.#manifestOf(user),
      findManifest: async (user): Promise<Manifest | undefined> => this.#manifestOf(user),
      learnHome: (home) => this.learn(home.userId, home.version),
      formerHome: (user) =>
        this.recordsOf(user)?.home.homeRegion === this.is.id
          ? this.#options.homes.former(user, this.is.id, this.#versionOf(user))
          : undefined,
      findFormerHome: async (user) => this.#options.homes.former(user, this.is.id, this.#versionOf(user)),
    }
  }

  /** Another process opens the disk; `clock` is that of another machine, unless the old one starts again. */
  start(clock: NodeClock = this.#clock): RelayNode {
    const { world, is, random, links } = this.#options
    const name = `${is.name}${++this.#started > 1 ? `#${this.#started}` : ''}`
    const node: RelayNode = new RelayNode({
      ...{ region: is.id, name, clock },
      random: random(name),
      directory: this.#directory(),
      signer: signerOf(is),
      noteSecret: regionIdBytes(is.id),
      links: links(() => node),
      open: (opener) => this.#open(opener),
      // Whoever does not own the disk any more learns nothing from what it holds by now.
      holds: (asks, partition, key) => asks.deposedAt === undefined && this.disk.rows.get(partition)?.has(key) === true,
      refused: (code) => world.count(`refused ${code}`),
      demoted: () => world.count('demoted'),
      ready: () => world.nodeReady(node),
      failed: (_, error) => world.nodeFailed(this, node, error),
    })
    this.#clock = clock
    world.trace.note('start', () => `${name} starts`, this.#started)
    this.nodes.push(node)
    void node.start()
    return node
  }

  /** A standby on another machine takes over; the old process does not know. */
  takeOver(): RelayNode {
    return this.start(this.#options.newClock(`${this.is.name} ${this.#started}`))
  }

  #open(opener: RelayNode) {
    const backend = this.disk.open()
    for (const node of this.nodes) if (node !== opener) node.deposedAt ??= this.kept.order
    const { world } = this.#options
    return watched(backend, {
      kept: this.kept,
      isDeposed: () => opener.deposedAt !== undefined,
      wroteDeposed: () => world.failures.push(`promise 4: ${opener.name} wrote to its disk after it was deposed`),
      awake: () => (opener.clock.isPaused ? new Promise((resolve) => opener.clock.run(resolve)) : undefined),
    })
  }

  /** The process is gone; what its owner had under way is decided by the disk. */
  kill(node: RelayNode): void {
    const at = this.nodes.indexOf(node)
    if (at < 0) return
    if (at === this.nodes.length - 1) this.disk.crash()
    this.nodes.splice(at, 1)
    node.kill()
  }

  /** All processes die, and none starts for a while. */
  crash(forMs: number): void {
    const { clock } = this.#options.world
    this.#downUntil = clock.monotonic() + forMs
    for (const node of [...this.nodes].reverse()) this.kill(node)
    clock.after(forMs, () => this.ensure())
  }

  /** Soon after the last process died by itself. */
  restartSoon(): void {
    this.#options.world.clock.after(RESTART_MS, () => this.ensure())
  }

  copyDisk(): void {
    const rows = [...this.disk.rows].map(([partition, keys]) => [partition, new Map(keys)] as const)
    this.#copy = { records: new Map(this.disk.records), rows: new Map(rows) }
  }

  /**
   * The last commit that the copy has; undefined when there is no copy, or one from before it knew any other region: then
   * it serves at once, since nobody can know better.
   */
  get copied(): number | undefined {
    if (!this.#copy) return undefined
    const { records, rows } = this.#copy
    const isNote = (text: string): boolean => text.includes(`k${REGION_PREFIX}`)
    const inRecords = [...records.values()].some((record) => isNote(Buffer.from(record).toString('latin1')))
    return inRecords || [...(rows.get('n')?.keys() ?? [])].some(isNote) ? Math.max(0, ...records.keys()) : undefined
  }

  /** What the operator does before the relay is started again. */
  restore(): void {
    const { world } = this.#options
    const failed = (error: Error): void => void world.failures.push(`restore: ${error.message}`)
    const { hooks } = lateHooks(failed)
    const { clock } = world
    const schedule = (callback: () => void): void => void clock.after(0, callback)
    const restoring = openStore({ backend: this.disk.open(), hooks, clock, schedule }).then(async ({ store }) => {
      await beginNextLife(store)
      store.abandon()
      this.ensure()
    })
    restoring.catch(failed)
  }

  /** The disk is what was copied off it, whatever came since. */
  goBack(): void {
    const { records, rows } = this.disk
    records.clear()
    rows.clear()
    for (const [number, record] of this.#copy!.records) records.set(number, record)
    for (const [partition, keys] of this.#copy!.rows) rows.set(partition, keys)
  }

  /** Fire. */
  destroy(): void {
    this.isGone = true
    this.crash(Number.MAX_SAFE_INTEGER)
  }

  ensure(): void {
    if (this.isGone) return
    const newest = this.newest
    const isOwned = newest !== undefined && newest.deposedAt === undefined
    if (!isOwned && this.#options.world.clock.monotonic() >= this.#downUntil - ROUNDING_MS) this.start()
  }

  /** Nothing is held down any longer. */
  heal(): void {
    this.#downUntil = 0
    this.disk.faults.nextAppend = 'good'
    this.disk.faults.capacityBytes = Number.POSITIVE_INFINITY
    this.ensure()
  }
}
