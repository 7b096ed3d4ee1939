// What rules changed since rows were last written, and a bounded cache of what rows hold.
//
// A checkpoint freezes what is dirty: O(1), by starting a new epoch. A frozen cell that is changed before the
// checkpoint has written it keeps its frozen value beside the new one, since rows must get what memory held at the
// checkpoint's commit and nothing that may never be committed.
//
// `absent` says that rows do not hold the key and nothing under way will write it. Only then may a deleted key be
// forgotten; otherwise its cell stays as a tombstone until a checkpoint has deleted the row.
//
// A row read may return what rows held before a checkpoint's batch. So cells that became clean by batch number b stay
// until every read that began before b has come back (`reading`, `evict`).

import { HotLogs } from './hot-logs.ts'

const CLEAN = -1
/** What a key costs in memory beside its characters and its value, in bytes; roughly. */
const CELL_BYTES = 200
const SPLICE_MAX = 32

export class Cell {
  readonly part: Part
  readonly key: string
  value: Uint8Array | undefined = undefined
  absent: boolean
  /** The commit being gathered when it was last changed. */
  commit = -1
  /** It had no value, and rows had none, before that commit. */
  born = false
  epoch = CLEAN
  /** Its place in the list of what is dirty. */
  place = -1
  frozen: Uint8Array | undefined = undefined
  changedSinceFrozen = false
  cleanSince = 0

  constructor(part: Part, key: string, absent: boolean) {
    this.part = part
    this.key = key
    this.absent = absent
  }

  get bytes(): number {
    return CELL_BYTES + this.key.length + (this.value ? this.value.length : 0)
  }
}

/** A partition's cells, put into key order when somebody asks for a range. */
export class Part {
  readonly name: string
  readonly cells = new Map<string, Cell>()
  #ordered: string[] | undefined = undefined
  #tail: string[] = []
  #stale = 0

  constructor(name: string) {
    this.name = name
  }

  add(cell: Cell): void {
    this.cells.set(cell.key, cell)
    const ordered = this.#ordered
    if (!ordered) return
    if (ordered.length === 0 || cell.key > ordered[ordered.length - 1]!) ordered.push(cell.key)
    else this.#tail.push(cell.key)
  }

  remove(cell: Cell): void {
    this.cells.delete(cell.key)
    if (this.#ordered && ++this.#stale > this.cells.size + SPLICE_MAX) this.#ordered = undefined
  }

  /** Ascending; may contain keys that are no longer here. */
  keys(): readonly string[] {
    let ordered = this.#ordered
    if (!ordered || this.#tail.length > SPLICE_MAX) {
      ordered = this.#ordered = [...this.cells.keys()].sort()
      this.#stale = 0
    } else {
      for (const key of this.#tail) {
        const at = lowerBound(ordered, key)
        if (ordered[at] !== key) ordered.splice(at, 0, key)
      }
    }
    this.#tail = []
    return ordered
  }
}

/** The first place whose key is not below `key`. */
export function lowerBound(keys: readonly string[], key: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (keys[middle]! < key) low = middle + 1
    else high = middle
  }
  return low
}

function ensureLatin1(text: string): void {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 255) throw new Error('keys and partitions are Latin-1')
}

export class Memory {
  readonly logs = new HotLogs()
  readonly #parts = new Map<string, Part>()
  #dirty: Cell[] = []
  #epoch = 0
  readonly #clean = new Set<Cell>()
  #bytes = 0
  #cleanBytes = 0
  #frozenBytes = 0
  #keys = 0
  #batches = 0
  /** Batch number at the start of a read -> how many such reads are under way; ascending. */
  readonly #reads = new Map<number, number>()
  elided = 0

  get keys(): number {
    return this.#keys
  }
  get bytes(): number {
    return this.#bytes + this.#frozenBytes + this.logs.bytes
  }
  get dirtyBytes(): number {
    return this.#bytes - this.#cleanBytes + this.logs.bytes
  }
  /** The same without what is in memory of logs that have nothing to write. */
  get waitingBytes(): number {
    return this.#bytes - this.#cleanBytes + this.logs.waitingBytes
  }
  get dirtyKeys(): number {
    return this.#dirty.length
  }

  part(partition: string): Part | undefined {
    return this.#parts.get(partition)
  }

  find(partition: string, key: string): Cell | undefined {
    return this.#parts.get(partition)?.cells.get(key)
  }

  /** `absent` counts only if memory knows nothing of the key. The cell's `commit` is the caller's to set. */
  change(partition: string, key: string, value: Uint8Array | undefined, commit: number, absent: boolean): Cell {
    const cell = this.find(partition, key) ?? this.#add(partition, key, absent)
    if (cell.epoch !== this.#epoch) this.#soil(cell)
    if (cell.commit !== commit) cell.born = cell.absent && cell.value === undefined
    this.#bytes += (value ? value.length : 0) - (cell.value ? cell.value.length : 0)
    cell.value = value
    return cell
  }

  /** What rows answered, kept if memory knows nothing of the key by now. */
  load(partition: string, key: string, value: Uint8Array | undefined): void {
    if (this.find(partition, key)) return
    const cell = this.#add(partition, key, value === undefined)
    cell.value = value
    if (value) this.#bytes += value.length
    this.#toClean(cell)
  }

  /** When the commit in which it was changed is closed: what never touched rows and is gone again is forgotten. */
  settle(cell: Cell): void {
    if (cell.value !== undefined || !cell.absent || cell.epoch !== this.#epoch) return
    const last = this.#dirty.pop()!
    if (last !== cell) {
      this.#dirty[cell.place] = last
      last.place = cell.place
    }
    this.elided++
    // A read that is under way may have seen the row that was deleted before.
    if (cell.cleanSince > this.#oldestRead()) this.#toClean(cell)
    else this.#remove(cell)
  }

  /** What a checkpoint has to write. The one before must have been written. */
  freeze(): Cell[] {
    const frozen = this.#dirty
    this.#dirty = []
    this.#epoch++
    return frozen
  }

  frozenValue(cell: Cell): Uint8Array | undefined {
    return cell.changedSinceFrozen ? cell.frozen : cell.value
  }

  /** Rows durably hold the frozen values of these. */
  written(cells: readonly Cell[]): void {
    this.#batches++
    for (const cell of cells) {
      if (cell.changedSinceFrozen) {
        this.#frozenBytes -= cell.frozen ? cell.frozen.length : 0
        cell.frozen = undefined
        cell.changedSinceFrozen = false
      } else {
        cell.absent = cell.value === undefined
        this.#toClean(cell)
      }
    }
  }

  /** Called when a row read begins; the result is handed to `read` when it has come back and was merged. */
  reading(): number {
    const batch = this.#batches
    this.#reads.set(batch, (this.#reads.get(batch) ?? 0) + 1)
    return batch
  }

  read(batch: number): void {
    const left = this.#reads.get(batch)! - 1
    if (left === 0) this.#reads.delete(batch)
    else this.#reads.set(batch, left)
  }

  evict(maxBytes: number): void {
    if (this.#cleanBytes <= maxBytes) return
    const oldestRead = this.#oldestRead()
    for (const cell of this.#clean) {
      if (this.#cleanBytes <= maxBytes || cell.cleanSince > oldestRead) return
      this.#clean.delete(cell)
      this.#cleanBytes -= cell.bytes
      this.#remove(cell)
    }
  }

  #oldestRead(): number {
    return this.#reads.keys().next().value ?? this.#batches
  }

  #add(partition: string, key: string, absent: boolean): Cell {
    let part = this.#parts.get(partition)
    if (!part) {
      ensureLatin1(partition)
      part = new Part(partition)
      this.#parts.set(partition, part)
    }
    ensureLatin1(key)
    const cell = new Cell(part, key, absent)
    part.add(cell)
    this.#keys++
    this.#bytes += CELL_BYTES + key.length
    return cell
  }

  #remove(cell: Cell): void {
    cell.part.remove(cell)
    if (cell.part.cells.size === 0) this.#parts.delete(cell.part.name)
    this.#keys--
    this.#bytes -= cell.bytes
  }

  #soil(cell: Cell): void {
    if (cell.epoch === CLEAN) {
      if (this.#clean.delete(cell)) this.#cleanBytes -= cell.bytes
    } else {
      cell.frozen = cell.value
      cell.changedSinceFrozen = true
      cell.absent = false
      this.#frozenBytes += cell.value ? cell.value.length : 0
    }
    cell.epoch = this.#epoch
    cell.place = this.#dirty.push(cell) - 1
  }

  #toClean(cell: Cell): void {
    cell.epoch = CLEAN
    cell.cleanSince = this.#batches
    this.#clean.add(cell)
    this.#cleanBytes += cell.bytes
  }
}
