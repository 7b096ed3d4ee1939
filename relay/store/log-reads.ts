// Reads of a log: rows first, then memory. While rows are asked a checkpoint may move entries from memory to rows, so
// what rows still owe is asked again until both meet, and memory is added in one synchronous step.
import type { HotLogs } from './hot-logs.ts'
import { logKey, readLogRow, rowKeyAt } from './log-rows.ts'
import { openRow } from './record.ts'
import type { Rows } from './types.ts'

const FIRST_ROWS = 4
const MOST_ROWS = 64

export type Wanted = { readonly after: number; readonly to: number; readonly maxBytes: number }

export async function readEntries(
  logs: HotLogs,
  rows: Pick<Rows, 'range'>,
  name: string,
  wanted: Wanted,
): Promise<Uint8Array[]> {
  for (;;) {
    const cuts = logs.cutCount
    const read = new Read(logs, rows, name, wanted)
    while (await read.page());
    if (logs.cutCount === cuts) return read.out
  }
}

class Read {
  readonly out: Uint8Array[] = []
  readonly #logs: HotLogs
  readonly #rows: Pick<Rows, 'range'>
  readonly #name: string
  readonly #wanted: Wanted
  #bytes = 0
  /** Everything up to here was looked at. */
  #after: number
  #from: string
  #limit = FIRST_ROWS

  constructor(logs: HotLogs, rows: Pick<Rows, 'range'>, name: string, wanted: Wanted) {
    this.#logs = logs
    this.#rows = rows
    this.#name = name
    this.#wanted = wanted
    this.#after = wanted.after
    this.#from = rowKeyAt(wanted.after + 1)
  }

  /** False when there is no more to be read. */
  async page(): Promise<boolean> {
    const { to, maxBytes } = this.#wanted
    const log = this.#logs.find(this.#name)
    const end = Math.min(to, log ? log.written : to)
    if (this.#after >= end) {
      log?.collect(this.#after, to, maxBytes, this.out, this.#bytes)
      return false
    }
    const options = { from: this.#from, to: logKey(end + 1), limit: this.#limit, reverse: false }
    const page = await this.#rows.range(this.#name, options)
    for (const [key, sealed] of page) if (!this.#take(key, sealed, end)) return false
    const last = page.at(-1)?.[0]
    if (last === undefined || page.length < options.limit) {
      this.#after = end
      this.#from = rowKeyAt(end + 1)
    } else this.#from = `${last}\0`
    this.#limit = Math.min(2 * this.#limit, MOST_ROWS)
    return this.#bytes < maxBytes
  }

  /** False when it is enough. */
  #take(key: string, sealed: Uint8Array, end: number): boolean {
    const log = this.#logs.find(this.#name)
    for (const { at, entry } of readLogRow(key, openRow(this.#name, key, sealed))) {
      // Rows may overlap after a checkpoint that was interrupted.
      if (at <= this.#after || at > end || (log && (at <= log.low || log.isVoid(at)))) continue
      if (this.out.length > 0 && this.#bytes + entry.length > this.#wanted.maxBytes) return false
      this.out.push(entry)
      this.#bytes += entry.length
      this.#after = at
    }
    return true
  }
}
