// A disk for the simulator: it outlives the backends that are opened on it, loses what was not synced when it crashes,
// and misbehaves on demand. Everything takes time on the given clock; same random, same run.
import { type Clock, ParleyError, type Random } from '#protocol'
import type { Backend, Journal, RangeOptions, RowChange, Rows } from './types.ts'

export type SimulatedFaults = {
  /** An operation takes from the first to the second, in ms. */
  writeMs: readonly [least: number, most: number]
  /** The same for appends alone. */
  appendMs: readonly [least: number, most: number]
  readMs: readonly [least: number, most: number]
  /** What the next append does, once: fail for sure, be lost or not without saying which, or never answer. */
  nextAppend: 'good' | 'failing' | 'unknown' | 'silent'
  /** A crash may leave a part of a batch of row changes behind. */
  tornBatches: boolean
  /** What journal and rows may take together, and what of it is the reserve. */
  capacityBytes: number
  reserveBytes: number
}

const GOOD: SimulatedFaults = {
  writeMs: [0.1, 2],
  appendMs: [0.1, 2],
  readMs: [0, 1],
  nextAppend: 'good',
  tornBatches: false,
  capacityBytes: Number.POSITIVE_INFINITY,
  reserveBytes: 0,
}

type Pending = {
  readonly owner: number
  readonly silent?: true
  perform(part: number): void
  reject(error: Error): void
}

export class SimulatedDisk {
  readonly #clock: Clock
  readonly #random: Random
  readonly faults: SimulatedFaults
  /** What is durable; tests flip bits here. */
  readonly records = new Map<number, Uint8Array>()
  readonly rows = new Map<string, Map<string, Uint8Array>>()
  readonly #pending = new Set<Pending>()
  #owner = 0
  usedBytes = 0

  constructor(ports: { clock: Clock; random: Random; faults?: Partial<SimulatedFaults> | undefined }) {
    this.#clock = ports.clock
    this.#random = ports.random
    this.faults = { ...GOOD, ...ports.faults }
  }

  /** What is committed now is not acknowledged. */
  get isSilent(): boolean {
    return this.faults.nextAppend === 'silent' || [...this.#pending].some(({ silent }) => silent)
  }

  /** A new owner: whoever had the disk open is fenced, what it had under way is decided by chance. */
  open(): Backend {
    this.#decide(new ParleyError('store_in_use', 'another owner has taken the store over'))
    const owner = ++this.#owner
    return {
      journal: this.#journal(owner),
      rows: this.#rowsOf(owner),
      freeBytes: async () => this.faults.capacityBytes - this.faults.reserveBytes - this.usedBytes,
      [Symbol.asyncDispose]: async () => {
        if (owner === this.#owner) this.crash()
      },
    }
  }

  /** The power fails: what was acknowledged stays, what was under way may or may not, and its callers never hear of it. */
  crash(): void {
    this.#owner++
    this.#decide(undefined)
  }

  #decide(error: Error | undefined): void {
    const pending = [...this.#pending]
    this.#pending.clear()
    for (const operation of pending) {
      try {
        if (this.#random.fraction() < 0.5) operation.perform(this.faults.tornBatches ? this.#random.fraction() : 1)
      } catch {
        // Nobody hears of it: the disk is full, or the append was to fail anyway.
      }
      if (error) operation.reject(error)
    }
  }

  #duration([least, most]: readonly [number, number]): number {
    return least + (most - least) * this.#random.fraction()
  }

  #read<T>(owner: number, look: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const answer = look()
      this.#clock.after(this.#duration(this.faults.readMs), () => {
        if (owner === this.#owner) resolve(answer)
        else reject(new ParleyError('store_in_use', 'another owner has taken the store over'))
      })
    })
  }

  #write(owner: number, ms: readonly [number, number], perform: (part: number) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (owner !== this.#owner) {
        reject(new ParleyError('store_in_use', 'another owner has taken the store over'))
        return
      }
      const operation: Pending = { owner, perform, reject }
      this.#pending.add(operation)
      this.#clock.after(this.#duration(ms), () => {
        if (!this.#pending.delete(operation)) return
        try {
          perform(1)
          resolve()
        } catch (error) {
          reject(error)
        }
      })
    })
  }

  #grow(bytes: number): void {
    if (bytes > 0 && this.usedBytes + bytes > this.faults.capacityBytes)
      throw new Error('ENOSPC: no space left on device')
    this.usedBytes += bytes
  }

  #journal(owner: number): Journal {
    return {
      append: (number, record) => {
        const bytes = new Uint8Array(record)
        const keep = (): void => {
          if (this.records.has(number)) throw new Error(`record ${number} was written twice`)
          this.#grow(bytes.length)
          this.records.set(number, bytes)
        }
        const way = this.faults.nextAppend
        this.faults.nextAppend = 'good'
        // Whoever was fenced is told so as ever: nothing of theirs comes to the disk later.
        if (way === 'silent' && owner === this.#owner) {
          this.#pending.add({ owner, silent: true, perform: keep, reject: () => {} })
          return new Promise(() => {})
        }
        const lost = way === 'failing' || (way === 'unknown' && this.#random.fraction() < 0.5)
        return this.#write(owner, this.faults.appendMs, (part) => {
          if (!lost) keep()
          if (way !== 'good' && part === 1) throw new Error('the append failed, or its answer was lost')
        })
      },
      replay: (from) => this.#replay(owner, from),
      trim: (below) =>
        this.#write(owner, this.faults.writeMs, () => {
          for (const [number, record] of this.records) {
            if (number >= below) continue
            this.#grow(-record.length)
            this.records.delete(number)
          }
        }),
    }
  }

  async *#replay(owner: number, from: number): AsyncGenerator<{ number: number; record: Uint8Array }> {
    // All of the journal takes longer than a row.
    await this.#read(owner, () => undefined)
    const numbers = await this.#read(owner, () => [...this.records.keys()].filter((number) => number >= from))
    for (const number of numbers.sort((a, b) => a - b)) yield { number, record: this.records.get(number)! }
  }

  #rowsOf(owner: number): Rows {
    return {
      get: (partition, key) => this.#read(owner, () => this.rows.get(partition)?.get(key)),
      range: (partition, options) => this.#read(owner, () => this.#range(partition, options)),
      apply: (changes) => {
        if (hasTwice(changes)) throw new Error('two changes of one key in a batch')
        return this.#write(owner, this.faults.writeMs, (part) => {
          for (const change of changes.slice(0, Math.ceil(changes.length * part))) this.#change(change)
        })
      },
    }
  }

  #range(partition: string, { from, to, limit, reverse }: RangeOptions): [string, Uint8Array][] {
    const rows: [string, Uint8Array][] = []
    for (const row of this.rows.get(partition) ?? []) {
      if ((from === undefined || row[0] >= from) && (to === undefined || row[0] < to)) rows.push(row)
    }
    rows.sort(([a], [b]) => (a < b ? -1 : 1))
    if (reverse) rows.reverse()
    return rows.length > limit ? rows.slice(0, limit) : rows
  }

  #change({ partition, key, value }: RowChange): void {
    const rows = this.rows.get(partition) ?? new Map<string, Uint8Array>()
    this.rows.set(partition, rows)
    this.#grow((value ? value.length : 0) - (rows.get(key)?.length ?? 0))
    if (value) rows.set(key, new Uint8Array(value))
    else rows.delete(key)
    if (rows.size === 0) this.rows.delete(partition)
  }
}

function hasTwice(changes: readonly RowChange[]): boolean {
  return changes.some(({ partition, key }, i) =>
    changes.some((other, j) => j < i && other.key === key && other.partition === partition),
  )
}
