// The clock of one process of a simulated network: its wall time is wrong and may jump, and its process may be paused
// (SIGSTOP): what becomes due meanwhile, timers, disk and wires alike, happens when the process goes on.
import type { Clock, Timer } from '#protocol'

/** Times are sums of fractions. */
export const ROUNDING_MS = 0.01

export class NodeClock implements Clock {
  readonly #world: Clock
  #skewMs: number
  readonly #waiting: (() => void)[] = []
  #pausedUntil = Number.NEGATIVE_INFINITY
  #paused = false

  constructor(world: Clock, skewMs: number) {
    this.#world = world
    this.#skewMs = skewMs
  }

  now(): number {
    return this.#world.now() + this.#skewMs
  }

  monotonic(): number {
    return this.#world.monotonic()
  }

  after(ms: number, callback: () => void): Timer {
    let cancelled = false
    const timer = this.#world.after(ms, () => {
      this.run(() => {
        if (!cancelled) callback()
      })
    })
    return {
      cancel() {
        cancelled = true
        timer.cancel()
      },
    }
  }

  /** Runs the step, or keeps it until the process goes on. */
  run(step: () => void): void {
    if (this.#paused) this.#waiting.push(step)
    else step()
  }

  get isPaused(): boolean {
    return this.#paused
  }

  /** The wall time jumps; what waits does not notice. */
  jump(ms: number): void {
    this.#skewMs += ms
  }

  pause(ms: number): void {
    this.#paused = true
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#world.monotonic() + ms)
    this.#world.after(ms, () => this.#resume())
  }

  #resume(): void {
    if (!this.#paused || this.#world.monotonic() < this.#pausedUntil - ROUNDING_MS) return
    this.#paused = false
    // Each in a turn of its own: what one brings about may come between.
    for (const step of this.#waiting.splice(0)) this.#world.after(0, () => this.run(step))
  }
}
