// The logs that memory knows something of, and which of them the next checkpoint has to write.
import { type Cut, HotLog, LOG_BYTES } from './hot-log.ts'

const CLEAN = -1

export class HotLogs {
  readonly #logs = new Map<string, HotLog>()
  #dirty: HotLog[] = []
  #epoch = 0
  #bytes = 0
  elided = 0
  /** How often a log was cut, and rows were: what a read has collected before may be void. */
  cutCount = 0

  get bytes(): number {
    return this.#bytes
  }

  /** Of entries that no checkpoint has written yet. */
  get waitingBytes(): number {
    return this.#bytes - this.#logs.size * LOG_BYTES
  }

  find(name: string): HotLog | undefined {
    return this.#logs.get(name)
  }

  /** `before`: what is appended comes right after this place, which is 0 if there never was anything. */
  append(name: string, before: number, at: number, entry: Uint8Array): HotLog {
    const log = this.#logs.get(name) ?? this.#add(name, before)
    const was = log.bytes
    this.#soil(log)
    log.append(at, entry)
    this.#bytes += log.bytes - was
    return log
  }

  /** `last`: where the log ends. */
  trim(name: string, low: number, last: number): HotLog {
    const log = this.#logs.get(name) ?? this.#add(name, last)
    const was = log.bytes
    this.#soil(log)
    this.elided += log.trim(low)
    this.#bytes += log.bytes - was
    return log
  }

  cut(name: string, cut: Cut, low: number): HotLog {
    const log = this.#logs.get(name) ?? this.#add(name, cut.last)
    const was = log.bytes
    this.#soil(log)
    log.cut(cut, low)
    this.cutCount++
    this.#bytes += log.bytes - was
    return log
  }

  #add(name: string, before: number): HotLog {
    const log = new HotLog(name, before)
    this.#logs.set(name, log)
    this.#bytes += log.bytes
    return log
  }

  #soil(log: HotLog): void {
    if (log.epoch === this.#epoch) return
    log.epoch = this.#epoch
    this.#dirty.push(log)
  }

  get dirtyCount(): number {
    return this.#dirty.length
  }

  /** What a checkpoint has to write. The one before must have been written. */
  freeze(): HotLog[] {
    const frozen = this.#dirty
    this.#dirty = []
    this.#epoch++
    for (const log of frozen) log.freeze()
    return frozen
  }

  /** Rows durably hold what was frozen of it. */
  wrote(log: HotLog): void {
    const was = log.bytes
    // A read that is under way may have seen rows as they were before.
    if (log.frozen().cuts.length > 0) this.cutCount++
    log.wrote()
    this.#bytes += log.bytes - was
    if (log.epoch !== this.#epoch) log.epoch = CLEAN
  }

  /** Forgets logs of which everything is in rows, until at most so many are left. */
  evict(most: number): void {
    if (this.#logs.size <= most) return
    for (const [name, log] of this.#logs) {
      if (this.#logs.size <= most) return
      if (log.epoch !== CLEAN || log.size > 0) continue
      this.#logs.delete(name)
      this.#bytes -= log.bytes
    }
  }
}
