// An author and a reader, and how messages go between them: closed loop (so many in flight) or open loop (when they are due,
// whatever has become of those before). A message is done when the author has its number and the reader has the message
// and has acknowledged it.
import { systemClock } from '#protocol'
import { TIMES_KEPT } from './limits.ts'
import type { Tally } from './tally.ts'

/** How a pair sends: messages of the device protocol, or bare frames. */
export type Lane = {
  /** The next messages, k from..to, at once. */
  submit(from: number, to: number): void
  /** After each turn in which something came. */
  acknowledge(): void
}

export type Loop =
  | { readonly is: 'closed'; readonly flight: number }
  /** Times are those of the monotonic clock, ms. */
  | { readonly is: 'open'; readonly startMs: number; readonly everyMs: number }

export class Pair {
  readonly #tally: Tally
  readonly #sentMs = new Float64Array(TIMES_KEPT)
  #lane: Lane | undefined
  #loop: Loop | undefined
  /** k of the first message of an open loop. */
  #firstK = 1
  sent = 0
  sequenced = 0
  received = 0
  done = 0
  #idle: (() => void)[] = []

  constructor(tally: Tally) {
    this.#tally = tally
  }

  start(lane: Lane, loop: Loop | undefined): void {
    this.#lane = lane
    this.#loop = loop
    this.#firstK = this.sent + 1
    this.pump()
  }

  /** Resolves when nothing is on its way any more. */
  stop(): Promise<void> {
    this.#loop = undefined
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#idle.push(resolve)
    this.#tellIdle()
    return promise
  }

  /** How many messages are due by now and have not been sent. */
  #due(): number {
    const loop = this.#loop
    if (!loop) return 0
    const room = TIMES_KEPT - (this.sent - this.done)
    if (loop.is === 'closed') return Math.min(room, loop.flight - (this.sent - this.done))
    const due = Math.floor((systemClock.monotonic() - loop.startMs) / loop.everyMs) + 1
    return Math.min(room, Math.max(0, due - (this.sent - this.#firstK + 1)))
  }

  /** Sends what is due. Returns whether it sent anything. */
  pump(): boolean {
    const count = this.#due()
    if (count <= 0 || !this.#lane) return false
    this.send(count)
    return true
  }

  send(count: number): void {
    const from = this.sent + 1
    const to = this.sent + count
    const now = systemClock.monotonic()
    const loop = this.#loop
    for (let k = from; k <= to; k++) {
      const due = loop?.is === 'open' ? loop.startMs + (k - this.#firstK) * loop.everyMs : now
      this.#sentMs[k % TIMES_KEPT] = due
    }
    this.sent = to
    this.#lane!.submit(from, to)
  }

  onSequenced(k: number): void {
    if (k <= this.sequenced) return
    this.#tally.sequenced += k - this.sequenced
    this.sequenced = k
  }

  onReceived(k: number): void {
    if (k !== this.received + 1) this.#tally.fault(`k ${k} came after ${this.received}`)
    this.#tally.received++
    this.received = k
  }

  /** After a turn in which either side heard something. */
  onTurn(): void {
    const upTo = Math.min(this.sequenced, this.received)
    if (upTo > this.done) {
      const now = systemClock.monotonic()
      for (let k = this.done + 1; k <= upTo; k++)
        this.#tally.latency.record((now - this.#sentMs[k % TIMES_KEPT]!) * 1_000)
      this.#tally.done += upTo - this.done
      this.done = upTo
      this.#tellIdle()
    }
    if (!this.pump()) this.#lane?.acknowledge()
  }

  #tellIdle(): void {
    if (this.done < this.sent || this.#loop) return
    for (const resolve of this.#idle.splice(0)) resolve()
  }
}
