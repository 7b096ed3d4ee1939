// The store above journal and rows. Its parts: memory.ts (what changed), commits.ts (how it becomes durable),
// checkpoint.ts (how it reaches rows), reads.ts (memory over rows).
import { ParleyError } from '#protocol'
import {
  STORE_CHECKPOINT_AGE_MS,
  STORE_CHECKPOINT_BYTES,
  STORE_CHECKPOINT_JOURNAL_BYTES,
  STORE_CHECKPOINT_RECORDS,
  STORE_CHECKPOINT_REST_MS,
  STORE_CLEAN_MAX_BYTES,
  STORE_COMMIT_MAX_BYTES,
  STORE_FREE_CHECK_MS,
  STORE_LOGS,
  STORE_MEMORY_MAX_BYTES,
  STORE_SEAL_BYTES,
  STORE_SLICE_BYTES,
  STORE_SLICE_CHANGES,
  STORE_TRIM_RECORDS,
} from '../limits.ts'
import { Checkpoints } from './checkpoint.ts'
import { Commits } from './commits.ts'
import { type CountedRows, countedRows } from './counted-rows.ts'
import { readEntries } from './log-reads.ts'
import { Memory } from './memory.ts'
import { Reads } from './reads.ts'
import { type Found, replay } from './replay.ts'
import type { RangeOptions, Replayed, Store, StoreHooks, StoreLimits, StoreOptions, StoreStats } from './types.ts'

const LIMITS: StoreLimits = {
  sealBytes: STORE_SEAL_BYTES,
  commitMaxBytes: STORE_COMMIT_MAX_BYTES,
  checkpointBytes: STORE_CHECKPOINT_BYTES,
  checkpointRecords: STORE_CHECKPOINT_RECORDS,
  checkpointJournalBytes: STORE_CHECKPOINT_JOURNAL_BYTES,
  checkpointAgeMs: STORE_CHECKPOINT_AGE_MS,
  checkpointRestMs: STORE_CHECKPOINT_REST_MS,
  sliceChanges: STORE_SLICE_CHANGES,
  sliceBytes: STORE_SLICE_BYTES,
  trimRecords: STORE_TRIM_RECORDS,
  cleanMaxBytes: STORE_CLEAN_MAX_BYTES,
  memoryMaxBytes: STORE_MEMORY_MAX_BYTES,
  freeCheckMs: STORE_FREE_CHECK_MS,
  logs: STORE_LOGS,
}

/**
 * Takes over what former boots left in the backend's journal and opens the store above it. The store owns the backend:
 * disposing the store closes it, and so does a failure to open. Throws ParleyError `store_damaged` when what is read is not what was written.
 */
export async function openStore(options: StoreOptions): Promise<{ store: Store; replayed: Replayed[] }> {
  const limits = { ...LIMITS, ...options.limits }
  const memory = new Memory()
  try {
    const found = await replay(options.backend.journal, memory)
    const store = new JournalledStore(options, limits, memory, found)
    await store.lookAtDisk()
    return { store, replayed: found.replayed }
  } catch (error) {
    await options.backend[Symbol.asyncDispose]()
    throw error
  }
}

class JournalledStore implements Store {
  readonly #options: StoreOptions
  readonly #hooks: StoreHooks
  readonly #limits: StoreLimits
  readonly #memory: Memory
  readonly #commits: Commits
  readonly #checkpoints: Checkpoints
  readonly #reads: Reads
  readonly #rows: CountedRows
  #state: 'open' | 'stopped' = 'open'
  #disposal: Promise<void> | undefined = undefined
  #freeBytes = Number.POSITIVE_INFINITY
  #freeCheckedAt = 0
  #journalBytesThen = 0
  #looking = false

  constructor(options: StoreOptions, limits: StoreLimits, memory: Memory, found: Found) {
    const { backend, hooks, clock } = options
    this.#options = options
    this.#hooks = hooks
    this.#limits = limits
    this.#memory = memory
    this.#rows = countedRows(backend.rows)
    this.#reads = new Reads(memory, this.#rows, limits.cleanMaxBytes)
    const shared = { memory, limits, hooks, fail: (error: unknown) => this.#fail(error) }
    this.#checkpoints = new Checkpoints(
      { ...shared, backend, clock, isStopped: () => this.#state === 'stopped' },
      found,
    )
    this.#commits = new Commits(
      {
        ...shared,
        journal: backend.journal,
        schedule: options.schedule ?? setImmediate,
        wantsCheckpoint: (bytes) => this.#checkpoints.begins(bytes),
        finished: () => this.#checkpoints.finished,
        begun: (commit, frozen) => void this.#checkpoints.write(commit, frozen),
        hooks: { ...hooksOf(hooks), committed: (commit) => this.#committed(commit) },
      },
      found.next,
    )
  }

  put(partition: string, key: string, value: Uint8Array): void {
    this.#commits.change(partition, key, value, false)
  }

  create(partition: string, key: string, value: Uint8Array): void {
    if (this.#options.holds && !this.#memory.find(partition, key) && this.#options.holds(partition, key)) {
      throw new Error(`create of ${partition}/${key}, which rows hold`)
    }
    this.#commits.change(partition, key, value, true)
  }

  delete(partition: string, key: string): void {
    this.#commits.change(partition, key, undefined, false)
  }

  append(log: string, before: number, at: number, entry: Uint8Array): void {
    this.#commits.append(log, before, at, entry)
  }

  lastOf(log: string): number {
    return this.#memory.logs.find(log)?.last ?? 0
  }

  trim(log: string, low: number, last: number): void {
    this.#commits.trim(log, low, last)
  }

  cut(log: string, after: number, last: number, low: number): void {
    this.#commits.cut(log, { after, last }, low)
  }

  entries(log: string, after: number, to: number, maxBytes: number): Promise<Uint8Array[]> {
    const known = this.peekEntries(log, after, to, maxBytes)
    return known ? Promise.resolve(known) : readEntries(this.#memory.logs, this.#rows, log, { after, to, maxBytes })
  }

  peekEntries(log: string, after: number, to: number, maxBytes: number): Uint8Array[] | undefined {
    const hot = this.#memory.logs.find(log)
    if (!hot || after < hot.written) return undefined
    const out: Uint8Array[] = []
    hot.collect(after, to, maxBytes, out, 0)
    return out
  }

  note(annotation: Uint8Array): void {
    this.#commits.note(annotation)
  }

  peek(partition: string, key: string): Uint8Array | null | undefined {
    const cell = this.#memory.find(partition, key)
    return cell ? (cell.value ?? null) : undefined
  }

  get(partition: string, key: string): Promise<Uint8Array | undefined> {
    return this.#reads.get(partition, key)
  }

  range(partition: string, options: RangeOptions): Promise<[key: string, value: Uint8Array][]> {
    return this.#reads.range(partition, options)
  }

  gate(): number {
    return this.#commits.gate()
  }

  committed(): number {
    return this.#commits.committed
  }

  flushed(): Promise<void> {
    return this.#commits.flushed()
  }

  hasRoom(): boolean {
    const { clock } = this.#options
    if (clock.monotonic() - this.#freeCheckedAt >= this.#limits.freeCheckMs && this.#state === 'open') {
      this.lookAtDisk().catch((error) => this.#fail(error))
    }
    const written = this.#commits.journalBytes - this.#journalBytesThen
    return this.#freeBytes > written && this.#memory.bytes < this.#limits.memoryMaxBytes
  }

  async checkpoint(): Promise<void> {
    await this.#checkpoints.idle()
    this.#checkpoints.want()
    this.#commits.ask()
    await this.#commits.flushed()
    await this.#checkpoints.idle()
    this.#commits.ensureRunning()
  }

  abandon(): void {
    this.#stop(new ParleyError('closing', 'the store was abandoned'))
  }

  stats(): StoreStats {
    return {
      commits: this.#commits.count,
      journalBytes: this.#commits.journalBytes,
      memoryKeys: this.#memory.keys,
      memoryBytes: this.#memory.bytes,
      checkpoints: this.#checkpoints.count,
      elided: this.#memory.elided + this.#memory.logs.elided,
      rowReads: this.#rows.asked,
    }
  }

  async lookAtDisk(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    this.#freeCheckedAt = this.#options.clock.monotonic()
    const written = this.#commits.journalBytes
    this.#freeBytes = await this.#options.backend.freeBytes()
    this.#journalBytesThen = written
    this.#looking = false
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#dispose()
    return this.#disposal
  }

  async #dispose(): Promise<void> {
    try {
      if (this.#state === 'open') await this.checkpoint()
    } finally {
      this.#stop(new ParleyError('closing', 'the store is closed'))
      await this.#options.backend[Symbol.asyncDispose]()
    }
  }

  #committed(commit: number): void {
    this.#hooks.committed(commit)
    this.#checkpoints.afterCommit()
  }

  #stop(error: Error): void {
    this.#state = 'stopped'
    this.#commits.stop(error)
    this.#checkpoints.stop()
  }

  #fail(reason: unknown): void {
    if (this.#state === 'stopped') return
    const error = reason instanceof Error ? reason : new Error(String(reason))
    this.#stop(error)
    this.#hooks.failed(error)
  }
}

/** Hooks may be an object with a prototype. */
function hooksOf(hooks: StoreHooks): StoreHooks {
  return {
    closing: (commit) => hooks.closing(commit),
    committed: (commit) => hooks.committed(commit),
    trimBelow: () => hooks.trimBelow(),
    failed: (error) => hooks.failed(error),
  }
}
