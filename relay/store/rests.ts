// What is written for later leaves the disk, most of the time, to what somebody waits for: after each piece a rest that is
// a multiple of what the piece took. Disks that are shared or metered keep everybody waiting for tens of milliseconds when
// one writer takes all that they give.
import type { Clock } from '#protocol'
import { STORE_REST_FACTOR, STORE_REST_MAX_MS } from '../limits.ts'

export class Rests {
  readonly #clock: Clock
  #isHurried = false
  #wake: (() => void) | undefined = undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Writes one piece after another; each earns a rest. Resolves when it is over. */
  async after(piece: () => Promise<void>): Promise<void> {
    const from = this.#clock.monotonic()
    await piece()
    const ms = Math.min(STORE_REST_FACTOR * (this.#clock.monotonic() - from), STORE_REST_MAX_MS)
    if (ms <= 0 || this.#isHurried) return
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(ms, resolve)
      this.#wake = () => {
        timer.cancel()
        resolve()
      }
    })
    this.#wake = undefined
  }

  /** Somebody waits for the end of it: no rests until `leisurely`. */
  hurry(): void {
    this.#isHurried = true
    this.#wake?.()
  }

  leisurely(): void {
    this.#isHurried = false
  }
}
