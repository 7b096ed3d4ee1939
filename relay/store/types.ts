// Two small backends, and the store that rules see above them.

/** One journal belongs to one boot of one node. Numbers are dense from `first`. */
export type Journal = {
  /** Resolves when the record is durable **and** no other owner has fenced this journal. Rejects when that is not known. */
  append(number: number, record: Uint8Array): Promise<void>
  /** Ascending from `from`. */
  replay(from: number): AsyncIterable<{ number: number; record: Uint8Array }>
  /** Forgets every record below. */
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
  /** All of them or none, durable when it resolves. */
  apply(changes: readonly RowChange[]): Promise<void>
}

export type Backend = AsyncDisposable & {
  readonly journal: Journal
  readonly rows: Rows
  /** Bytes that may still be written before the reserve is touched. */
  freeBytes(): Promise<number>
}

/**
 * What rules see. `put` and `delete` change the **pending** state at once; reads see it. Everything that was put since
 * the last commit was closed lies in commit number `gate()`; it is durable when `committed()` has reached that number.
 */
export type Store = AsyncDisposable & {
  put(partition: string, key: string, value: Uint8Array): void
  delete(partition: string, key: string): void
  /** Adds an opaque annotation to the commit being gathered (which destinations it concerns); handed back at replay. */
  note(annotation: Uint8Array): void
  /**
   * Pending state. The value when memory knows it, `null` when memory knows that the key is absent, `undefined` when
   * rows must be asked.
   */
  peek(partition: string, key: string): Uint8Array | null | undefined
  get(partition: string, key: string): Promise<Uint8Array | undefined>
  range(partition: string, options: RangeOptions): Promise<[key: string, value: Uint8Array][]>
  /** The commit that everything computed from the pending state so far waits for. */
  gate(): number
  /** The newest commit that counts. */
  committed(): number
  /** Resolves when `gate()`, as it is now, is committed. */
  flushed(): Promise<void>
  /** False below the reserve: refuse what would grow. */
  hasRoom(): boolean
  readonly stats: () => { commits: number; journalBytes: number; memoryKeys: number; checkpoints: number; elided: number }
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
