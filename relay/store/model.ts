// A model checker for the store: random schedules of changes, reads, checkpoints, trims, faults and crashes on a
// simulated disk, against the plainest possible truth: the list of all changes, each with the commit it went into.
//
// Checked: reads equal the pending truth when they resolve; commits are reported in order and only when they are on the
// disk; a record changes a key once; after a crash the store holds exactly the changes up to one commit, none reported
// before is missing, and every annotation that feeds still need comes back; after a clean end rows hold exactly the truth.
import { type Random, SimulatedClock, simulatedRandom } from '#protocol'
import { isLog, LogTruth } from './log-model.ts'
import { readRecord } from './record.ts'
import { SimulatedDisk } from './simulated.ts'
import type { openStore as OpenStore } from './store.ts'
import type { RangeOptions, Replayed, Store, StoreHooks, StoreLimits } from './types.ts'

type Change = { readonly commit: number; readonly partition: string; readonly key: string; readonly value: number }
type State = Map<string, Map<string, number>>

const GONE = -1
const HOOK_PARTITION = 'hook'
const PARTITIONS = ['a', 'a\0', 'ab', '']
const TINY: Partial<StoreLimits> = {
  sealBytes: 300,
  commitMaxBytes: 2_000,
  checkpointBytes: 4_000,
  checkpointRecords: 12,
  checkpointAgeMs: 50,
  sliceChanges: 3,
  sliceBytes: 100,
  trimRecords: 2,
  cleanMaxBytes: 700,
  logs: 1,
}

export type Reach = {
  commits: number
  crashes: number
  checkpoints: number
  elided: number
  failures: number
  reads: number
}

export class Violation extends Error {
  override readonly name = 'Violation'
}

/** Throws a Violation when the store of `openStore` broke a promise under this seed. */
export async function runSchedule(openStore: typeof OpenStore, seed: number, steps: number): Promise<Reach> {
  const schedule = new Schedule(openStore, seed)
  await schedule.start()
  for (let step = 0; step < steps; step++) await schedule.step()
  await schedule.end()
  return schedule.reach
}

class Schedule {
  readonly reach: Reach = { commits: 0, crashes: 0, checkpoints: 0, elided: 0, failures: 0, reads: 0 }
  readonly #openStore: typeof OpenStore
  readonly #random: Random
  readonly #clock = new SimulatedClock(0)
  readonly #disk: SimulatedDisk
  #store!: Store
  #boot = 0
  #changes: Change[] = []
  readonly #logs = new LogTruth()
  #notes: { commit: number; mark: number }[] = []
  #pending: State = new Map()
  #value = 0
  #reported = 0
  #trimBelow = 0
  #failed = false
  #violation: Violation | undefined = undefined

  constructor(openStore: typeof OpenStore, seed: number) {
    this.#openStore = openStore
    this.#random = simulatedRandom(seed)
    const appendMs = [0.5, 3, 30][this.#below(3)]!
    const readMs = [2, 10, 40][this.#below(3)]!
    if (this.#random.fraction() < 0.3) this.#trimBelow = Number.POSITIVE_INFINITY
    this.#disk = new SimulatedDisk({
      clock: this.#clock,
      random: this.#random,
      faults: {
        writeMs: [0, 3],
        appendMs: [0, appendMs],
        readMs: [0, readMs],
        tornBatches: this.#random.fraction() < 0.5,
      },
    })
  }

  async start(): Promise<void> {
    const boot = ++this.#boot
    this.#failed = false
    const replayed: { found: Replayed[] | undefined } = { found: undefined }
    const opening = this.#openStore({
      backend: this.#disk.open(),
      hooks: this.#hooks(boot),
      clock: this.#clock,
      schedule: (callback) => void this.#clock.after(this.#below(3), callback),
      limits: TINY,
      holds: (partition, key) => this.#disk.rows.get(partition)?.has(key) ?? false,
    }).then(({ store, replayed: found }) => {
      this.#store = store
      replayed.found = found
    })
    await this.#settle(opening)
    await this.#checkRestart(replayed.found!)
  }

  async step(): Promise<void> {
    const dice = this.#random.fraction()
    if (dice < 0.55) this.#change()
    else if (dice < 0.65) this.#read()
    else if (dice < 0.75) this.#range()
    else if (dice < 0.78) this.#note()
    else if (dice < 0.81) this.#store.checkpoint().catch(() => {})
    else if (dice < 0.83) await this.#crash()
    else if (dice < 0.84) await this.#restart()
    else if (dice < 0.845) this.#disk.faults.nextAppend = this.#random.fraction() < 0.5 ? 'failing' : 'unknown'
    else if (dice < 0.9) this.#trimBelow += this.#below(Math.max(1, this.#reported - this.#trimBelow))
    this.#log()
    this.#peek()
    await new Promise((resolve) => setImmediate(resolve))
    for (let ticks = this.#below(5); ticks > 0; ticks--) await this.#tick()
    if (this.#failed) {
      this.#change()
      for (let ticks = 0; ticks < 5; ticks++) await this.#tick()
      await this.#crash()
    }
    this.#check()
  }

  /** Ends cleanly or by a crash, with nothing after it that could heal a loss. */
  async end(): Promise<void> {
    this.#disk.faults.nextAppend = 'good'
    if (this.#failed || this.#random.fraction() < 0.5) await this.#crash()
    if (!(await this.#restart())) return this.#check()
    for (const [partition, rows] of this.#disk.rows) {
      const wrong = this.#logs.rowsLeft(partition, rows)
      if (wrong) this.#broken(wrong)
      for (const key of rows.keys()) {
        if (!isLog(partition) && partition !== HOOK_PARTITION && !this.#pending.get(partition)?.has(key))
          this.#broken('a deleted row is still there')
      }
    }
    this.#check()
  }

  #below(limit: number): number {
    return Math.floor(this.#random.fraction() * limit)
  }

  #broken(what: string): void {
    this.#violation ??= new Violation(what)
  }

  #check(): void {
    if (this.#violation) throw this.#violation
  }

  async #tick(): Promise<void> {
    this.#clock.step()
    await new Promise((resolve) => setImmediate(resolve))
  }

  async #settle(work: Promise<unknown>): Promise<void> {
    let done = false
    const finished = work.finally(() => {
      done = true
    })
    finished.catch(() => {})
    for (let ticks = 0; !done; ticks++) {
      if (ticks > 20_000) throw new Violation('something never ends')
      await this.#tick()
      if (this.#failed && ticks > 100) return
    }
    await finished
  }

  #hooks(boot: number): StoreHooks {
    return {
      closing: (commit) => {
        if (boot !== this.#boot) return this.#broken('a commit after the end')
        const value = ++this.#value
        this.#store.put(HOOK_PARTITION, 'commit', bytesOf(value))
        this.#record(HOOK_PARTITION, 'commit', value, commit)
      },
      committed: (commit) => {
        if (boot !== this.#boot || this.#failed) return this.#broken('a report after the end')
        if (commit !== this.#reported + 1) this.#broken('commits reported out of order')
        this.#reported = commit
        this.reach.commits++
        const record = this.#disk.records.get(commit)
        if (!record) return this.#broken('reported before it was durable')
        const keys = new Set<string>()
        readRecord(commit, record, {
          change: (_kind, partition, key) => {
            if (keys.has(`${partition}/${key}`)) this.#broken('two changes of one key in a record')
            keys.add(`${partition}/${key}`)
          },
          append() {},
          trim() {},
          cut() {},
        })
      },
      trimBelow: () => this.#trimBelow,
      failed: () => {
        if (this.#failed) this.#broken('failed twice')
        this.#failed = true
        this.reach.failures++
      },
    }
  }

  #record(partition: string, key: string, value: number, commit: number): void {
    this.#changes.push({ commit, partition, key, value })
    apply(this.#pending, partition, key, value)
  }

  #place(): { partition: string; key: string } {
    const partition = PARTITIONS[this.#below(PARTITIONS.length)]!
    // A few keys that come back all the time, and many that are used once.
    const key = this.#random.fraction() < 0.7 ? `k${this.#below(6)}` : `n${this.#value}`
    return { partition, key }
  }

  #change(): void {
    for (let count = 1 + this.#below(4); count > 0; count--) {
      const { partition, key } = this.#place()
      const present = this.#pending.get(partition)?.has(key) ?? false
      const dice = this.#random.fraction()
      const value = dice < 0.45 ? GONE : ++this.#value
      try {
        if (value === GONE) this.#store.delete(partition, key)
        else if (!present && dice < 0.9) this.#store.create(partition, key, bytesOf(value))
        else this.#store.put(partition, key, bytesOf(value))
      } catch (error) {
        if (!this.#failed) this.#broken(String(error))
        return
      }
      if (this.#failed) {
        this.#broken('a change was taken after the failure')
        return
      }
      this.#record(partition, key, value, this.#store.gate())
    }
  }

  #log(): void {
    const boot = this.#boot
    if (this.#failed) return
    this.#logs.change(this.#store, this.#random)
    this.#logs
      .read(this.#store, this.#random, () => boot === this.#boot)
      .then(
        (wrong) => {
          this.reach.reads++
          if (wrong) this.#broken(wrong)
        },
        () => {},
      )
  }

  #note(): void {
    if (this.#failed) return
    this.#store.note(bytesOf(++this.#value))
    this.#notes.push({ commit: this.#store.gate(), mark: this.#value })
  }

  #peek(): void {
    const { partition, key } = this.#place()
    const value = this.#store.peek(partition, key)
    if (value !== undefined && numberOf(value ?? undefined) !== this.#pending.get(partition)?.get(key)) {
      this.#broken(`peek of ${partition}/${key} is wrong`)
    }
  }

  #read(): void {
    const { partition, key } = this.#place()
    const boot = this.#boot
    this.#store.get(partition, key).then(
      (value) => {
        this.reach.reads++
        if (boot !== this.#boot) return
        if (numberOf(value) !== this.#pending.get(partition)?.get(key))
          this.#broken(`get of ${partition}/${key} is wrong`)
      },
      () => {},
    )
  }

  #range(): void {
    const partition = PARTITIONS[this.#below(PARTITIONS.length)]!
    const options: RangeOptions = {
      from: this.#random.fraction() < 0.5 ? undefined : `k${this.#below(6)}`,
      to: this.#random.fraction() < 0.5 ? undefined : `n${this.#below(this.#value + 1)}`,
      limit: 1 + this.#below(5),
      reverse: this.#random.fraction() < 0.5,
    }
    const boot = this.#boot
    this.#store.range(partition, options).then(
      (found) => {
        this.reach.reads++
        if (boot !== this.#boot) return
        const expected = rangeOf(this.#pending, partition, options)
        const text = found.map(([key, value]) => `${key}=${numberOf(value)}`).join()
        if (text !== expected.map(([key, value]) => `${key}=${value}`).join())
          this.#broken(`range of ${partition} is wrong`)
      },
      () => {},
    )
  }

  async #crash(): Promise<void> {
    this.reach.crashes++
    this.#leave()
    this.#store.abandon()
    this.#disk.crash()
    await this.start()
  }

  /** Whether the end was a clean one. */
  async #restart(): Promise<boolean> {
    await this.#settle(Promise.resolve(this.#store[Symbol.asyncDispose]()).catch(() => {}))
    const clean = !this.#failed
    if (clean && this.#reported !== this.#store.gate()) this.#broken('closed before everything was committed')
    this.#leave()
    await this.start()
    return clean
  }

  #leave(): void {
    const { checkpoints, elided } = this.#store.stats()
    this.reach.checkpoints += checkpoints
    this.reach.elided += elided
    this.#disk.faults.nextAppend = 'good'
    this.#boot++
  }

  async #checkRestart(replayed: readonly Replayed[]): Promise<void> {
    const last = this.#store.gate()
    if (last < this.#reported) this.#broken('a reported commit is lost')
    this.#reported = last
    this.#changes = this.#changes.filter(({ commit }) => commit <= last)
    this.#notes = this.#notes.filter(({ commit }) => commit <= last)
    this.#pending = new Map()
    for (const { partition, key, value } of this.#changes) apply(this.#pending, partition, key, value)
    this.#logs.restart(last)
    const marks = new Set(replayed.flatMap(({ annotations }) => annotations.map((note) => numberOf(note))))
    for (const { commit, mark } of this.#notes) {
      if (commit >= this.#trimBelow && !marks.has(mark)) this.#broken('an annotation that feeds still need is lost')
    }
    // Half of the restarts look at everything at once; the others go on with what is not loaded yet.
    if (this.#random.fraction() < 0.5) return
    const options: RangeOptions = { from: undefined, to: undefined, limit: 1_000_000, reverse: false }
    for (const partition of [...PARTITIONS, HOOK_PARTITION]) {
      const range = this.#store.range(partition, options)
      await this.#settle(range)
      const text = (await range).map(([key, value]) => `${key}=${numberOf(value)}`).join()
      const expected = rangeOf(this.#pending, partition, options)
      if (text !== expected.map(([key, value]) => `${key}=${value}`).join())
        this.#broken('a restart changed what was there')
    }
    const logs = this.#logs.readAll(this.#store)
    await this.#settle(logs)
    const wrong = await logs
    if (wrong) this.#broken(`after a restart: ${wrong}`)
    this.#check()
  }
}

function apply(state: State, partition: string, key: string, value: number): void {
  const keys = state.get(partition) ?? new Map<string, number>()
  state.set(partition, keys)
  if (value === GONE) keys.delete(key)
  else keys.set(key, value)
}

function rangeOf(state: State, partition: string, { from, to, limit, reverse }: RangeOptions): [string, number][] {
  const found = [...(state.get(partition) ?? [])].filter(
    ([key]) => (from === undefined || key >= from) && (to === undefined || key < to),
  )
  found.sort(([a], [b]) => (a < b ? -1 : 1))
  return (reverse ? found.reverse() : found).slice(0, limit)
}

function bytesOf(value: number): Uint8Array {
  return Buffer.from(String(value).padEnd(1 + (value % 40), ' '))
}

function numberOf(value: Uint8Array | undefined): number | undefined {
  return value && Number(Buffer.from(value).toString())
}
