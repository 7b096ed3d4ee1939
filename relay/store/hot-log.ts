// What is in memory of one log: the entries that no checkpoint has written yet. An entry that is trimmed before one
// begins is never written at all.
//
// A checkpoint freezes a log by noting where it ends. What comes later lies beyond; before something is trimmed or cut,
// what the checkpoint has not written yet is taken aside, since rows must get what memory held at its commit.

/** Entries after `after`, up to and with `last`, that never were. */
export type Cut = { readonly after: number; readonly last: number }

/** What a checkpoint writes of a log. */
export type FrozenLog = {
  readonly places: readonly number[]
  readonly entries: readonly Uint8Array[]
  /** Everything up to here is gone. */
  readonly low: number
  /** What rows may hold of these is void. */
  readonly cuts: readonly Cut[]
  readonly end: number
}

/** What a commit brings of a log: first what is cut, then what is new, then how far it is trimmed. */
export type LogChanges = {
  readonly cuts: readonly Cut[]
  /** The place before the first new one. */
  readonly before: number
  readonly places: readonly number[]
  readonly entries: readonly Uint8Array[]
  readonly low: number | undefined
  /** Where the log ends. */
  readonly last: number
}

/** What a log costs in memory, and an entry beside its bytes; roughly. */
export const LOG_BYTES = 500
const ENTRY_BYTES = 40
const COMPACT_AT = 64
const NOTHING = new Uint8Array(0)

export class HotLog {
  readonly name: string
  /** Ascending, from `#start` on. */
  #places: number[] = []
  #entries: Uint8Array[] = []
  #start = 0
  #last: number
  /** Everything up to here is gone, as far as memory knows. */
  low = 0
  /** Entries up to here are in rows, or gone; those beyond are in memory. */
  written: number
  /** Rows hold no entry beyond this place … */
  #rowsTop: number
  /** … and none of their rows ends at or before this one. */
  #rowsLow = 0
  #cuts: Cut[] = []
  bytes = LOG_BYTES

  /** The commit being gathered when it was last changed, and what that brings. */
  commit = -1
  #freshFrom = Number.POSITIVE_INFINITY
  #freshBefore = 0
  #freshCuts: Cut[] = []
  #trimmed = false

  /** Its checkpoint; see HotLogs. */
  epoch = -1
  #frozenEnd: number | undefined = undefined
  #frozen: FrozenLog | undefined = undefined

  /** `before`: rows hold nothing beyond this place; 0 if there is nothing in rows at all. */
  constructor(name: string, before: number) {
    this.name = name
    this.#last = before
    this.written = before
    this.#rowsTop = before
  }

  get size(): number {
    return this.#places.length - this.#start
  }

  /** The last place that it ever had. */
  get last(): number {
    return this.#last
  }

  append(at: number, entry: Uint8Array): void {
    if (at <= this.#last) throw new Error(`a log cannot take place ${at} after ${this.#last}`)
    if (at < this.#freshFrom) {
      this.#freshFrom = at
      this.#freshBefore = this.#last
    }
    this.#last = at
    this.#places.push(at)
    this.#entries.push(entry)
    this.bytes += ENTRY_BYTES + entry.length
  }

  /** The first index whose place lies beyond `at`. */
  #after(at: number): number {
    const places = this.#places
    let low = this.#start
    let high = places.length
    if (low === high || places[low]! > at) return low
    if (places[high - 1]! <= at) return high
    while (low < high) {
      const middle = (low + high) >> 1
      if (places[middle]! <= at) low = middle + 1
      else high = middle
    }
    return low
  }

  #drop(from: number, to: number): void {
    for (let i = from; i < to; i++) {
      this.bytes -= ENTRY_BYTES + this.#entries[i]!.length
      this.#entries[i] = NOTHING
    }
  }

  /** Entries before this index go; returns how many they were. */
  #forget(to: number): number {
    const dropped = to - this.#start
    this.#drop(this.#start, to)
    this.#start = to
    if (to === this.#places.length) {
      this.#places.length = 0
      this.#entries.length = 0
      this.#start = 0
    } else if (to >= COMPACT_AT && to * 2 >= this.#places.length) {
      this.#places = this.#places.slice(to)
      this.#entries = this.#entries.slice(to)
      this.#start = 0
    }
    return dropped
  }

  /** Returns how many entries are gone that no row has ever held. */
  trim(low: number): number {
    if (low <= this.low) return 0
    this.#setAside()
    this.low = low
    this.#trimmed = true
    return this.#forget(this.#after(low))
  }

  /** `low`: what is gone anyway, so that rows with nothing else can go too. */
  cut(cut: Cut, low: number): void {
    this.#setAside()
    if (low > 0) this.#trimmed = true
    this.low = Math.max(this.low, low)
    const from = this.#after(cut.after)
    this.#drop(from, this.#places.length)
    this.#places.length = from
    this.#entries.length = from
    if (this.#freshFrom > cut.after) this.#freshFrom = Number.POSITIVE_INFINITY
    this.#last = Math.max(this.#last, cut.last)
    this.#freshCuts.push(cut)
    if (Math.max(this.#rowsTop, this.#frozenEnd ?? 0) > cut.after) this.#cuts.push(cut)
  }

  /** A restart does not know how much of it a checkpoint had written that did not finish. */
  mayBeInRows(): void {
    this.#rowsTop = this.#last
  }

  isVoid(at: number): boolean {
    return this.#cuts.some(({ after, last }) => at > after && at <= last)
  }

  /** What the commit that is being closed brings; after that the next one is gathered. */
  takeChanges(): LogChanges {
    const from = this.#freshFrom === Number.POSITIVE_INFINITY ? this.#places.length : this.#after(this.#freshFrom - 1)
    const changes = {
      cuts: this.#freshCuts,
      before: this.#freshBefore,
      places: this.#places.slice(from),
      entries: this.#entries.slice(from),
      low: this.#trimmed ? this.low : undefined,
      last: this.#last,
    }
    this.#freshFrom = Number.POSITIVE_INFINITY
    if (this.#freshCuts.length > 0) this.#freshCuts = []
    this.#trimmed = false
    return changes
  }

  /** Adds entries after `after`, up to `to`, to `out`, until these are `maxBytes`, but at least one; returns their bytes. */
  collect(after: number, to: number, maxBytes: number, out: Uint8Array[], before: number): number {
    let bytes = before
    const places = this.#places
    for (let i = this.#after(after); i < places.length && places[i]! <= to; i++) {
      const entry = this.#entries[i]!
      if (out.length > 0 && bytes + entry.length > maxBytes) break
      out.push(entry)
      bytes += entry.length
    }
    return bytes
  }

  /** A checkpoint begins. The one before has written it. */
  freeze(): void {
    this.#frozenEnd = this.#last
  }

  #setAside(): void {
    if (this.#frozenEnd !== undefined) this.frozen()
  }

  /** What memory held when the checkpoint began. */
  frozen(): FrozenLog {
    if (this.#frozen) return this.#frozen
    const end = this.#after(this.#frozenEnd!)
    this.#frozen = {
      places: this.#places.slice(this.#start, end),
      entries: this.#entries.slice(this.#start, end),
      low: this.low,
      cuts: [...this.#cuts],
      end: this.#frozenEnd!,
    }
    return this.#frozen
  }

  /** Where rows may hold rows of this log that end at or before `low`: from here on; undefined if nowhere. */
  deadFrom(low: number): number | undefined {
    return low > this.#rowsLow && this.#rowsTop > this.#rowsLow ? this.#rowsLow : undefined
  }

  /** Rows durably hold what was frozen. */
  wrote(): void {
    const { places, low, cuts, end } = this.#frozen!
    this.#rowsLow = Math.max(this.#rowsLow, low)
    if (places.length > 0) this.#rowsTop = Math.max(this.#rowsTop, places[places.length - 1]!)
    this.#cuts = this.#cuts.slice(cuts.length)
    this.#frozenEnd = undefined
    this.#frozen = undefined
    this.written = Math.max(this.written, end)
    this.#forget(this.#after(end))
  }
}
