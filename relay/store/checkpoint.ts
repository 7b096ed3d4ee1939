// Memory must not grow with the journal, nor the journal with time: now and then what is dirty is written to rows, and
// what the journal need not repeat any more is trimmed.
//
// A crash may fall anywhere: between two batches, or between the last one and the trim. Replay then folds changes again
// whose rows are there already. That is harmless, but for one thing: a key that is put and deleted in the part that is
// replayed may stand in rows from the first, interrupted try, and must not be forgotten as if it had never been there.
// So the commit with which a checkpoint begins is marked and durable before the first row is written, and replay takes
// for unknown whatever lies up to the last such mark. The marked record itself is never trimmed: it also carries the
// numbering over a restart. Every record says which checkpoint had finished: what feeds keep of the journal before that
// is read again for its annotations only.
import type { Clock } from '#protocol'
import type { HotLog } from './hot-log.ts'
import { writeLogs } from './log-checkpoint.ts'
import type { Cell, Memory } from './memory.ts'
import { sealRow } from './record.ts'
import { Rests } from './rests.ts'
import type { Backend, RowChange, StoreHooks, StoreLimits } from './types.ts'

/** What memory held when the checkpoint began. */
export type Frozen = { readonly cells: readonly Cell[]; readonly logs: readonly HotLog[] }

export type CheckpointPorts = {
  readonly memory: Memory
  readonly backend: Backend
  readonly hooks: StoreHooks
  readonly limits: StoreLimits
  readonly clock: Clock
  isStopped(): boolean
  fail(error: unknown): void
}

export class Checkpoints {
  readonly #ports: CheckpointPorts
  #underWay = false
  #wanted = false
  #since: number
  #records = 0
  #journalBytes = 0
  /** The last commit of which rows hold everything. */
  #finished: number
  #trimmed: number
  #trimming: Promise<void> | undefined = undefined
  count = 0
  readonly #rests: Rests
  #idle: (() => void)[] = []

  constructor(ports: CheckpointPorts, found: { low: number; next: number; finished: number }) {
    this.#ports = ports
    this.#rests = new Rests(ports.clock)
    this.#since = ports.clock.monotonic()
    this.#trimmed = found.low
    this.#finished = found.finished
    this.#records = found.next - 1 - found.finished
  }

  /** Asked when a commit is closed. */
  begins(bytes: number): boolean {
    this.#records++
    this.#journalBytes += bytes
    if (this.#underWay) return false
    const { memory, limits, clock } = this.#ports
    const ageMs = clock.monotonic() - this.#since
    const due =
      this.#wanted ||
      memory.dirtyBytes >= limits.checkpointBytes ||
      this.#records >= limits.checkpointRecords ||
      this.#journalBytes >= limits.checkpointJournalBytes ||
      ageMs >= limits.checkpointAgeMs ||
      // What came in a rush does not stay in memory for as long as what comes now and then.
      memory.waitingBytes * ageMs >= limits.checkpointBytes * limits.checkpointRestMs
    if (!due) return false
    this.#wanted = false
    this.#underWay = true
    this.#rests.leisurely()
    this.#records = 0
    this.#journalBytes = 0
    this.#since = clock.monotonic()
    return true
  }

  /** The commit that `begins` said yes to is durable. */
  async write(commit: number, { cells, logs }: Frozen): Promise<void> {
    const { memory, limits } = this.#ports
    try {
      for (let at = 0; at < cells.length; ) at = await this.#slice(cells, at)
      await writeLogs(this.#ports, logs, (changes) => this.#apply(changes))
      if (this.#ports.isStopped()) return
      memory.logs.evict(limits.logs)
      this.#finished = commit
      this.count++
      await this.#trimming
      this.#trim(1)
      await this.#trimming
      if (this.#ports.isStopped()) return
      this.#underWay = false
      this.stop()
    } catch (error) {
      this.#ports.fail(error)
    }
  }

  /** Nobody waits any longer. */
  stop(): void {
    this.#rests.hurry()
    const idle = this.#idle
    this.#idle = []
    for (const resolve of idle) resolve()
  }

  /** After a commit: feeds may have let go of more. */
  afterCommit(): void {
    if (!this.#underWay) this.#trim(this.#ports.limits.trimRecords)
  }

  want(): void {
    this.#wanted = true
  }

  get finished(): number {
    return this.#finished
  }

  idle(): Promise<void> {
    if (this.#underWay) {
      this.#rests.hurry()
      return new Promise((resolve) => this.#idle.push(resolve))
    }
    return this.#trimming ?? Promise.resolve()
  }

  async #slice(frozen: readonly Cell[], from: number): Promise<number> {
    const { memory, limits } = this.#ports
    const changes: RowChange[] = []
    let at = from
    for (let bytes = 0; at < frozen.length && changes.length < limits.sliceChanges && bytes < limits.sliceBytes; at++) {
      const cell = frozen[at]!
      const value = memory.frozenValue(cell)
      const partition = cell.part.name
      changes.push({ partition, key: cell.key, value: value && sealRow(partition, cell.key, value) })
      bytes += cell.key.length + (value ? value.length : 0)
    }
    if (this.#ports.isStopped()) return frozen.length
    await this.#apply(changes)
    if (this.#ports.isStopped()) return frozen.length
    memory.written(frozen.slice(from, at))
    memory.evict(limits.cleanMaxBytes)
    return at
  }

  async #apply(changes: readonly RowChange[]): Promise<void> {
    const { backend, memory, limits } = this.#ports
    // More comes in than rests leave time to write.
    if (memory.waitingBytes >= limits.checkpointBytes) this.#rests.hurry()
    await this.#rests.after(() => backend.rows.apply(changes))
  }

  #trim(least: number): void {
    if (this.#trimming) return
    const below = Math.min(this.#finished, this.#ports.hooks.trimBelow())
    if (below - this.#trimmed < least) return
    const { backend, fail } = this.#ports
    this.#trimming = backend.journal.trim(below).then(() => {
      this.#trimming = undefined
      this.#trimmed = below
    }, fail)
  }
}
