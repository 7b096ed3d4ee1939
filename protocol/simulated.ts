// Simulated twins of Clock and Random: same seed, same run.
import type { Clock, Random, Timer } from './clock.ts'

type Due = { at: number; order: number; callback: (() => void) | undefined }

/** mulberry32: small, fast, good enough to pick schedules; never for keys. */
export function simulatedRandom(seed: number): Random {
  let state = seed | 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (t ^ (t >>> 14)) >>> 0
  }
  return {
    fraction: () => next() / 2 ** 32,
    bytes(length) {
      const out = new Uint8Array(length)
      for (let i = 0; i < length; i++) out[i] = next() >>> 24
      return out
    },
  }
}

/** A clock that moves only when it is told to; what is due runs in order of time, then of request. */
export class SimulatedClock implements Clock {
  #now: number
  #order = 0
  readonly #heap: Due[] = []
  readonly #start: number

  constructor(startMs: number) {
    this.#start = startMs
    this.#now = startMs
  }

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#now - this.#start
  }

  after(ms: number, callback: () => void): Timer {
    const due: Due = { at: this.#now + Math.max(0, ms), order: this.#order++, callback }
    this.#push(due)
    return {
      cancel: () => {
        due.callback = undefined
      },
    }
  }

  /** Runs the next thing that is due and moves the clock to it; false when nothing waits or it lies beyond `until`. */
  step(until = Number.POSITIVE_INFINITY): boolean {
    for (;;) {
      const first = this.#heap[0]
      if (!first || first.at > until) return false
      this.#pop()
      if (!first.callback) continue
      this.#now = Math.max(this.#now, first.at)
      first.callback()
      return true
    }
  }

  /** Moves the clock forward without running anything; only sensible after `step(until)` has returned false. */
  advanceTo(ms: number): void {
    if (ms > this.#now) this.#now = ms
  }

  #before(a: Due, b: Due): boolean {
    return a.at < b.at || (a.at === b.at && a.order < b.order)
  }

  #push(due: Due): void {
    const heap = this.#heap
    let i = heap.push(due) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!this.#before(due, heap[parent]!)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = due
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.#before(heap[child + 1]!, heap[child]!)) child++
      if (!this.#before(heap[child]!, last)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
  }
}
