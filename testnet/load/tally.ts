// What a load counts: since the last mark, and from the beginning.
import { systemClock } from '#protocol'
import { type Counts, Histogram } from './histogram.ts'

export type Marked = {
  readonly elapsedMs: number
  /** Messages that are done: numbered for the author, and with the reader. */
  readonly done: number
  /** Messages that readers got. */
  readonly received: number
  /** Send to done, microseconds; from when it was due, if there is a schedule. */
  readonly latency: Counts
  /** Verdicts that were neither `sequenced` nor `safe`, by the number of their field. */
  readonly verdicts: Readonly<Record<string, number>>
  readonly faults: readonly string[]
}

const FAULTS_KEPT = 20

export class Tally {
  readonly latency = new Histogram()
  done = 0
  received = 0
  #since = systemClock.monotonic()
  #verdicts = new Map<number, number>()
  readonly #faults: string[] = []

  verdict(field: number): void {
    this.#verdicts.set(field, (this.#verdicts.get(field) ?? 0) + 1)
  }

  fault(what: string): void {
    if (this.#faults.length < FAULTS_KEPT) this.#faults.push(what)
  }

  /** For whoever has to tell the faults of one row from those of another. */
  forgetFaults(): void {
    this.#faults.length = 0
  }

  /** What was counted since the last call; faults stay. */
  mark(): Marked {
    const now = systemClock.monotonic()
    const { done, received } = this
    const marked = {
      elapsedMs: now - this.#since,
      done,
      received,
      latency: this.latency.counts(),
      verdicts: Object.fromEntries(this.#verdicts),
      faults: [...this.#faults],
    }
    this.#since = now
    this.latency.clear()
    this.#verdicts.clear()
    this.done = 0
    this.received = 0
    return marked
  }
}
