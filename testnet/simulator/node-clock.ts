// The clock of one process of a simulated network: it is wrong by a constant, and it stands still while the process is
// paused (SIGSTOP): what becomes due meanwhile, timers, disk and wires alike, happens when the process goes on.
import type { Clock, Timer } from '#protocol'

export class NodeClock implements Clock {
  readonly #world: Clock
  readonly #skewMs: number
  readonly #waiting: (() => void)[] = []
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

  pause(ms: number): void {
    if (this.#paused) return
    this.#paused = true
    this.#world.after(ms, () => this.#resume())
  }

  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    // Each in a turn of its own: what one brings about may come between.
    for (const step of this.#waiting.splice(0)) this.#world.after(0, () => this.run(step))
  }
}
