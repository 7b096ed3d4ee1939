// The plainest possible truth about logs, for the model checker of the store: all operations, each with its commit.
import type { Random } from '#protocol'
import { readLogRow } from './log-rows.ts'
import { openRow } from './record.ts'
import type { Store } from './types.ts'

type Log = { last: number; low: number; readonly alive: Map<number, string> }
type Operation = { readonly commit: number; readonly name: string; readonly apply: (log: Log) => void }

const LOGS = ['la', 'lb', 'lc']
const ENTRIES_MAX = 4
/** Where places jump to, as if an epoch had ended. */
const JUMP = 64

export const isLog = (partition: string): boolean => LOGS.includes(partition)

export class LogTruth {
  #operations: Operation[] = []
  #logs = new Map<string, Log>()
  readonly #trimmed = new Set<string>()
  #value = 0

  #log(name: string): Log {
    let log = this.#logs.get(name)
    if (!log) {
      log = { last: 0, low: 0, alive: new Map() }
      this.#logs.set(name, log)
    }
    return log
  }

  #did(store: Store, name: string, apply: (log: Log) => void): void {
    apply(this.#log(name))
    this.#operations.push({ commit: store.gate(), name, apply })
  }

  change(store: Store, random: Random): void {
    const below = (limit: number): number => Math.floor(random.fraction() * limit)
    const name = LOGS[below(LOGS.length)]!
    const log = this.#log(name)
    const dice = random.fraction()
    if (dice < 0.4) {
      for (let count = 1 + below(ENTRIES_MAX); count > 0; count--) this.#append(store, name, log, below)
    } else if (dice < 0.6 && log.last > log.low) {
      const low = random.fraction() < 0.4 ? log.last : log.low + 1 + below(log.last - log.low)
      store.trim(name, low, log.last)
      this.#did(store, name, (at) => {
        at.low = low
        for (const [place, value] of at.alive) {
          if (place > low) continue
          at.alive.delete(place)
          this.#trimmed.add(value)
        }
      })
    } else if (dice < 0.65 && log.last > log.low) {
      const after = log.low + below(log.last - log.low)
      const { last } = log
      store.cut(name, after, last, log.low)
      this.#did(store, name, (at) => {
        for (const place of at.alive.keys()) if (place > after) at.alive.delete(place)
      })
    }
  }

  #append(store: Store, name: string, log: Log, below: (limit: number) => number): void {
    const before = log.last
    const at = below(20) === 0 ? before + JUMP - (before % JUMP) + 1 : before + 1
    const value = `${name}${++this.#value}`.padEnd(4 + below(30), '.')
    store.append(name, before, at, Buffer.from(value))
    this.#did(store, name, (now) => {
      now.last = at
      now.alive.set(at, value)
    })
  }

  /** Resolves with what is wrong. */
  async read(store: Store, random: Random, isCurrent: () => boolean): Promise<string | undefined> {
    const name = LOGS[Math.floor(random.fraction() * LOGS.length)]!
    const { last, low } = this.#log(name)
    const after = Math.floor((last + 1) * random.fraction())
    const to = random.fraction() < 0.5 ? last : after + Math.floor((last - after) * random.fraction())
    const maxBytes = random.fraction() < 0.5 ? 1_000_000 : 60
    const peeked = store.peekEntries(name, after, to, maxBytes)
    const wrong = peeked && this.#compare(name, after, to, maxBytes, peeked, low)
    if (wrong) return `a peek: ${wrong}`
    const found = await store.entries(name, after, to, maxBytes)
    return isCurrent() ? this.#compare(name, after, to, maxBytes, found, this.#log(name).low) : undefined
  }

  /** What was trimmed while it was read may have been read. */
  #compare(name: string, after: number, to: number, maxBytes: number, found: readonly Uint8Array[], low: number) {
    const { alive } = this.#log(name)
    const expected = [...alive].filter(([at]) => at > after && at <= to && at > low).map(([, value]) => value)
    const texts = found.map((entry) => Buffer.from(entry).toString())
    const gone = texts.indexOf(expected[0]!)
    // What was cut short may have been trimmed whole.
    const got = gone < 0 ? texts.filter((text) => !this.#trimmed.has(text)) : texts.slice(gone)
    if (got.some((text, i) => text !== expected[i]))
      return `${name} after ${after} to ${to}: ${texts.join()} instead of ${expected.join()}`
    if (found.length === 0 && expected.length > 0)
      return `${name} after ${after}: nothing instead of ${expected.join()}`
    if (maxBytes > 100_000 && got.length < expected.length)
      return `${name} after ${after}: only ${got.length} of ${expected.length}`
    return undefined
  }

  async readAll(store: Store): Promise<string | undefined> {
    for (const name of LOGS) {
      const { last, low } = this.#log(name)
      const found = await store.entries(name, low, last, 1_000_000)
      const wrong = this.#compare(name, low, last, 1_000_000, found, low)
      if (wrong) return wrong
    }
    return undefined
  }

  restart(last: number): void {
    this.#operations = this.#operations.filter(({ commit }) => commit <= last)
    this.#logs = new Map()
    this.#trimmed.clear()
    for (const { name, apply } of this.#operations) apply(this.#log(name))
  }

  /** After a clean end: rows that hold only what is gone. */
  rowsLeft(partition: string, rows: ReadonlyMap<string, Uint8Array>): string | undefined {
    if (!isLog(partition)) return undefined
    const { alive } = this.#log(partition)
    for (const [key, row] of rows) {
      if (!readLogRow(key, openRow(partition, key, row)).some(({ at }) => alive.has(at)))
        return `${partition}: the row ${key} holds nothing that is there`
    }
    return undefined
  }
}
