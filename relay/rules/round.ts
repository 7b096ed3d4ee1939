// A walk over rows that has to be made again and again, because somebody may not have heard: page by page, and from the
// beginning ever more rarely.
import type { Core } from './core.ts'

/** The beginnings come up to so many times less often. */
const RARER_MAX = 32

export type RoundOf = {
  readonly partition: string
  /** The rows behind this key … */
  readonly behind: string
  /** … and before this one. */
  readonly to: string | undefined
  readonly pageRows: number
  readonly againMs: number
}

export class Round {
  readonly #of: RoundOf
  #after: string
  #rarer = 1
  #reading = false
  dueMs: number

  constructor(of: RoundOf, dueMs: number) {
    this.#of = of
    this.#after = of.behind
    this.dueMs = dueMs
  }

  isDue(nowMs: number): boolean {
    return !this.#reading && this.dueMs <= nowMs
  }

  /** Reads the next page. `none`: there are no rows at all. */
  next({ load, store, ports }: Core, page: (keys: readonly string[], none: boolean) => void): void {
    const { partition, behind, to, pageRows, againMs } = this.#of
    this.#reading = true
    load(store.range(partition, { from: `${this.#after}\0`, to, limit: pageRows, reverse: false }), (rows) => {
      this.#reading = false
      const none = rows.length === 0 && this.#after === behind
      this.#after = rows[pageRows - 1]?.[0] ?? behind
      if (this.#after === behind) {
        this.dueMs = ports.clock.monotonic() + againMs * this.#rarer
        this.#rarer = Math.min(2 * this.#rarer, RARER_MAX)
      }
      page(
        rows.map(([key]) => key),
        none,
      )
    })
  }
}
