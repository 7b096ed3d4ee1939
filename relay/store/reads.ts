// Reads of the pending state: memory over rows. Rows are asked asynchronously and memory may change meanwhile, so
// memory is laid over what rows said only after they have answered, in one synchronous step: the result is the pending
// state of the moment in which the promise resolves.
import { type Cell, lowerBound, type Memory } from './memory.ts'
import { openRow } from './record.ts'
import type { RangeOptions, Rows } from './types.ts'

type Pair = [key: string, value: Uint8Array]

export class Reads {
  readonly #memory: Memory
  readonly #rows: Pick<Rows, 'get' | 'range'>
  readonly #loading = new Map<string, Promise<Uint8Array | undefined>>()

  readonly #cleanMaxBytes: number

  constructor(memory: Memory, rows: Pick<Rows, 'get' | 'range'>, cleanMaxBytes: number) {
    this.#memory = memory
    this.#cleanMaxBytes = cleanMaxBytes
    this.#rows = rows
  }

  get(partition: string, key: string): Promise<Uint8Array | undefined> {
    const known = this.#memory.find(partition, key)
    return known ? Promise.resolve(known.value) : this.#ask(partition, key)
  }

  #ask(partition: string, key: string): Promise<Uint8Array | undefined> {
    const name = `${partition.length}:${partition}${key}`
    let loading = this.#loading.get(name)
    if (!loading) {
      loading = this.#load(name, partition, key)
      this.#loading.set(name, loading)
    }
    return loading
  }

  async #load(name: string, partition: string, key: string): Promise<Uint8Array | undefined> {
    const batch = this.#memory.reading()
    try {
      const row = await this.#rows.get(partition, key)
      const value = row && openRow(partition, key, row)
      // Memory may know better by now.
      this.#memory.load(partition, key, value)
      return this.#memory.find(partition, key)!.value
    } finally {
      this.#loading.delete(name)
      this.#memory.read(batch)
      this.#memory.evict(this.#cleanMaxBytes)
    }
  }

  async range(partition: string, options: RangeOptions): Promise<Pair[]> {
    if (options.limit <= 0) return []
    const batch = this.#memory.reading()
    try {
      const rows: Pair[] = []
      let { from, to } = options
      for (;;) {
        const page = await this.#rows.range(partition, { from, to, limit: options.limit, reverse: options.reverse })
        for (const [key, row] of page) rows.push([key, openRow(partition, key, row)])
        const last = page.at(-1)?.[0]
        const whole = last === undefined || page.length < options.limit
        // Beyond what rows have answered nothing is known yet.
        const edge = whole ? undefined : last
        const merged = this.#merge(partition, rows, options, edge)
        if (whole || merged.length === options.limit) return merged
        if (options.reverse) to = last
        else from = `${last}\0`
      }
    } finally {
      this.#memory.read(batch)
    }
  }

  /** `rows` and memory in the order that was asked for, up to and with `edge`. */
  #merge(partition: string, rows: readonly Pair[], options: RangeOptions, edge: string | undefined): Pair[] {
    const cells = this.#cells(partition, options, edge)
    const { reverse, limit } = options
    const out: Pair[] = []
    let row = 0
    for (const cell of cells) {
      for (; row < rows.length && out.length < limit; row++) {
        const key = rows[row]![0]
        if (reverse ? key <= cell.key : key >= cell.key) break
        out.push(rows[row]!)
      }
      if (out.length === limit) return out
      if (row < rows.length && rows[row]![0] === cell.key) row++
      if (cell.value) out.push([cell.key, cell.value])
      if (out.length === limit) return out
    }
    for (; row < rows.length && out.length < limit; row++) out.push(rows[row]!)
    return out
  }

  *#cells(partition: string, { from, to, reverse }: RangeOptions, edge: string | undefined): Generator<Cell> {
    const part = this.#memory.part(partition)
    if (!part) return
    const keys = part.keys()
    const low = from === undefined ? 0 : lowerBound(keys, from)
    const high = to === undefined ? keys.length : lowerBound(keys, to)
    for (let i = 0; i < high - low; i++) {
      const key = keys[reverse ? high - 1 - i : low + i]!
      if (edge !== undefined && (reverse ? key < edge : key > edge)) return
      const cell = part.cells.get(key)
      if (cell) yield cell
    }
  }
}
