// An author and a reader, and how messages go between them: closed loop (so many in flight) or open loop (when they are due,
// whatever has become of those before). A message is done when the author has its number and the reader has the message
// and has acknowledged it, unless the measurement wants something else.
import { type Clock, systemClock } from '#protocol'
import { TIMES_KEPT } from './limits.ts'
import type { Tally } from './tally.ts'

/** How a pair sends: messages of the device protocol, or bare frames. */
export type Lane = {
  /** The next messages, k from..to, at once. */
  submit(from: number, to: number): void
}

export type Loop =
  /** `last`: the k to end with. */
  | { readonly is: 'closed'; readonly flight: number; readonly last: number }
  /** Times are those of the monotonic clock, ms. */
  | { readonly is: 'open'; readonly startMs: number; readonly everyMs: number }

/** `safe`: the author was told that every member region has it, durably. */
export type DoneWhen = 'sequenced' | 'received' | 'safe'

export class Pair {
  readonly #tally: Tally
  readonly #doneWhen: readonly DoneWhen[]
  readonly #clock: Clock
  readonly #sentMs = new Float64Array(TIMES_KEPT)
  readonly #reached: Record<DoneWhen, number> = { sequenced: 0, received: 0, safe: 0 }
  #lane: Lane | undefined
  #loop: Loop | undefined
  /** k of the first message of an open loop. */
  #firstK = 1
  #idle: (() => void)[] = []
  sent = 0
  done = 0

  constructor(tally: Tally, doneWhen: readonly DoneWhen[], clock: Clock = systemClock) {
    this.#tally = tally
    this.#clock = clock
    this.#doneWhen = doneWhen
  }

  /** The reader has everything that was sent. */
  get isRead(): boolean {
    return this.#reached.received === this.sent
  }

  /** In words. */
  get where(): string {
    const { sequenced, received, safe } = this.#reached
    return `k ${this.sent} was sent, ${sequenced} has its number, ${received} was read, ${safe} is safe`
  }

  /** What the home has not numbered yet, as far as is known here. */
  get unnumbered(): { readonly from: number; readonly to: number } {
    return { from: this.#reached.sequenced + 1, to: this.sent }
  }

  get isIdle(): boolean {
    return this.done === this.sent
  }

  start(lane: Lane, loop: Loop): void {
    this.#lane = lane
    this.#loop = loop
    this.#firstK = this.sent + 1
    this.pump()
  }

  /** Resolves when nothing is on its way any more. */
  stop(): Promise<void> {
    this.#loop = undefined
    return this.#whenIdle()
  }

  /** Sends so many; resolves when they are done. */
  send(lane: Lane, count: number, flight: number): Promise<void> {
    this.start(lane, { is: 'closed', flight, last: this.sent + count })
    return this.#whenIdle()
  }

  #whenIdle(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#idle.push(resolve)
    this.#tellIdle()
    return promise
  }

  #tellIdle(): void {
    const loop = this.#loop
    if (!this.isIdle || (loop && (loop.is === 'open' || this.sent < loop.last))) return
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  /** How many messages are due by now and have not been sent. */
  #due(): number {
    const loop = this.#loop
    if (!loop) return 0
    const flying = this.sent - this.done
    const room = TIMES_KEPT - flying
    if (loop.is === 'closed') return Math.min(room, loop.flight - flying, loop.last - this.sent)
    const due = Math.floor((this.#clock.monotonic() - loop.startMs) / loop.everyMs) + 1
    return Math.min(room, due - (this.sent - this.#firstK + 1))
  }

  /** When the next message of an open loop is due, ms of the monotonic clock. */
  nextDueMs(): number {
    const loop = this.#loop
    if (loop?.is !== 'open') return Number.POSITIVE_INFINITY
    return loop.startMs + (this.sent + 1 - this.#firstK) * loop.everyMs
  }

  /** Sends what is due. */
  pump(): void {
    const count = this.#due()
    if (count <= 0 || !this.#lane) return
    const from = this.sent + 1
    const to = this.sent + count
    const now = this.#clock.monotonic()
    const loop = this.#loop
    for (let k = from; k <= to; k++) {
      const due = loop?.is === 'open' ? loop.startMs + (k - this.#firstK) * loop.everyMs : now
      this.#sentMs[k % TIMES_KEPT] = due
    }
    this.sent = to
    this.#lane.submit(from, to)
  }

  onSequenced(k: number): void {
    if (k > this.#reached.sequenced) this.#reached.sequenced = k
  }

  onSafe(k: number): void {
    if (k > this.#reached.safe) this.#reached.safe = k
  }

  onReceived(k: number): void {
    if (k !== this.#reached.received + 1) this.#tally.fault(`k ${k} came after ${this.#reached.received}`)
    this.#tally.received++
    this.#reached.received = k
  }

  /** After a turn in which either side heard something. */
  onTurn(): void {
    let upTo = this.sent
    for (const what of this.#doneWhen) upTo = Math.min(upTo, this.#reached[what])
    if (upTo > this.done) {
      const now = this.#clock.monotonic()
      for (let k = this.done + 1; k <= upTo; k++)
        this.#tally.latency.record((now - this.#sentMs[k % TIMES_KEPT]!) * 1_000)
      this.#tally.done += upTo - this.done
      this.done = upTo
      this.#tellIdle()
    }
    this.pump()
  }
}
