// Two small backends, and the store that rules see above them.
import type { Clock } from '#protocol'

/** One journal belongs to one boot of one node. Numbers are dense and go on from those of the boots before it. */
export type Journal = {
  /**
   * Resolves when the record is durable **and** no other owner has fenced this journal. Rejects when that is not known.
   * The record's bytes may be used again by the caller once the promise has settled.
   */
  append(number: number, record: Uint8Array): Promise<void>
  /** Ascending from `from`: what former boots left, then what this one wrote. */
  replay(from: number): AsyncIterable<{ number: number; record: Uint8Array }>
  /** Forgets every record below, those of former boots included. */
  trim(below: number): Promise<void>
}

export type RowChange = { readonly partition: string; readonly key: string; readonly value: Uint8Array | undefined }

export type RangeOptions = {
  /** Inclusive. */
  readonly from: string | undefined
  /** Exclusive. */
  readonly to: string | undefined
  readonly limit: number
  readonly reverse: boolean
}

/** (partition, key) -> bytes, ordered by key (code units, Latin-1 only) within a partition. */
export type Rows = {
  get(partition: string, key: string): Promise<Uint8Array | undefined>
  range(partition: string, options: RangeOptions): Promise<[key: string, value: Uint8Array][]>
  /** All of them or none, durable when it resolves. At most one change per key. */
  apply(changes: readonly RowChange[]): Promise<void>
}

export type Backend = AsyncDisposable & {
  readonly journal: Journal
  readonly rows: Rows
  /** Bytes that may still be written before the reserve is touched. */
  freeBytes(): Promise<number>
}

export type StoreStats = {
  commits: number
  journalBytes: number
  memoryKeys: number
  memoryBytes: number
  checkpoints: number
  /** Keys that were put and deleted without ever touching rows. */
  elided: number
  /** Times that rows were asked for a key or a range. */
  rowReads: number
}

/**
 * What rules see. `put` and `delete` change the **pending** state at once; reads see it. Everything that was put since
 * the last commit was closed lies in commit number `gate()`; it is durable when `committed()` has reached that number.
 *
 * What is put in one synchronous run lies in one commit, as long as it is below STORE_STEP_MAX_BYTES. Values that are put and
 * values that are read belong to the store: nobody changes their bytes. Keys and partitions are Latin-1. After a
 * commit has failed, and after the store was closed, every change throws.
 */
export type Store = AsyncDisposable & {
  put(partition: string, key: string, value: Uint8Array): void
  /**
   * `put` of a key of which the caller knows that it has no value now, for instance because such keys are never used
   * twice. If it is deleted before a checkpoint begins, it never touches rows. A wrong claim lets an old row reappear.
   */
  create(partition: string, key: string, value: Uint8Array): void
  delete(partition: string, key: string): void
  /**
   * Appends an entry to the log of that name, whose rows lie in the partition of the same name below LOG_KEY. Places
   * only rise. `before` is the place that was the last so far, 0 if the log never had one.
   */
  append(log: string, before: number, at: number, entry: Uint8Array): void
  /** Of a log in memory the last place that it ever had, else 0: nothing up to there can be appended any more. */
  lastOf(log: string): number
  /** Entries up to `low` are gone. `last`: where the log ends. What is trimmed before a checkpoint never touches rows. */
  trim(log: string, low: number, last: number): void
  /**
   * Entries after `after` up to `last`, where the log ends, never were; what is appended later lies beyond `last`.
   * `low`: how far it was trimmed.
   */
  cut(log: string, after: number, last: number, low: number): void
  /**
   * Entries after `after` up to `to`, ascending, cut at `maxBytes` but for the first: the pending state of a moment in
   * which the promise resolves. May be fewer.
   */
  entries(log: string, after: number, to: number, maxBytes: number): Promise<Uint8Array[]>
  /** The same at once, if memory has all of it; else undefined. */
  peekEntries(log: string, after: number, to: number, maxBytes: number): Uint8Array[] | undefined
  /** Adds an opaque annotation to the commit being gathered (which destinations it concerns); handed back at replay. */
  note(annotation: Uint8Array): void
  /**
   * Pending state. The value when memory knows it, `null` when memory knows that the key is absent, `undefined` when
   * rows must be asked.
   */
  peek(partition: string, key: string): Uint8Array | null | undefined
  /**
   * Pending state as it is when the promise resolves. What was read stays in memory for a while, so that whoever was
   * awaiting several things can `peek` at all of them before it decides.
   */
  get(partition: string, key: string): Promise<Uint8Array | undefined>
  /** Pending state as it is when the promise resolves, in key order (descending when reversed). */
  range(partition: string, options: RangeOptions): Promise<[key: string, value: Uint8Array][]>
  /** The commit that everything computed from the pending state so far waits for. */
  gate(): number
  /** The newest commit that counts. */
  committed(): number
  /** Resolves when `gate()`, as it is now, is committed; rejects when the store fails before. */
  flushed(): Promise<void>
  /** False below the disk's reserve or when rows are too slow for what comes in: refuse what would grow. */
  hasRoom(): boolean
  /** Writes everything that is pending now to rows and trims the journal. It happens by itself too, and on disposal. */
  checkpoint(): Promise<void>
  /** Stops at once, as a crash would: nothing more is written, no hook is called again. The backend is not closed. */
  abandon(): void
  stats(): StoreStats
}

export type StoreHooks = {
  /** Called before a commit is closed; may put, delete and note. Called with the number that the commit will have. */
  closing(commit: number): void
  /** Called after a commit counts, in order. */
  committed(commit: number): void
  /** The journal may be trimmed below this (feeds still need what is above). */
  trimBelow(): number
  /** A commit failed or its outcome is unknown: the process must end. */
  failed(error: Error): void
}

/** What replay found: the number of the commit and its annotations, ascending. */
export type Replayed = { readonly commit: number; readonly annotations: readonly Uint8Array[] }

export type StoreLimits = {
  readonly sealBytes: number
  readonly commitMaxBytes: number
  readonly checkpointBytes: number
  readonly checkpointRecords: number
  readonly checkpointJournalBytes: number
  readonly checkpointAgeMs: number
  /** So long as much as `checkpointBytes` may wait, half of it twice as long, and so on. */
  readonly checkpointRestMs: number
  readonly sliceChanges: number
  readonly sliceBytes: number
  readonly trimRecords: number
  readonly cleanMaxBytes: number
  readonly memoryMaxBytes: number
  readonly freeCheckMs: number
  /** Logs that memory knows something of though everything is in rows. */
  readonly logs: number
}

export type StoreOptions = {
  readonly backend: Backend
  readonly hooks: StoreHooks
  readonly clock: Clock
  /** Runs a callback soon, after what is at hand: setImmediate unless told. What is put until then shares a commit. */
  readonly schedule?: ((callback: () => void) => void) | undefined
  readonly limits?: Partial<StoreLimits> | undefined
  /** Whether rows hold a key; where this is known at once, as in a simulator, wrong claims of `create` throw. */
  readonly holds?: ((partition: string, key: string) => boolean) | undefined
}
