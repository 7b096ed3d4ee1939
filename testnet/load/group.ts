// Pairs that are told the same, with their counts.
import { systemClock, systemRandom } from '#protocol'
import { each } from './each.ts'
import { Histogram } from './histogram.ts'
import { FIRST_ANSWER_EVERY_MS, SLEEP_LEAST_MS, STOP_MAX_MS } from './limits.ts'
import type { CaughtUp, PairsOrder } from './orders.ts'
import type { Lane, Pair } from './pair.ts'
import { makeParleyPair, type ParleyPair } from './parley-pair.ts'
import { targetAt } from './person.ts'
import { makeRawPair, type RawPair } from './raw-pair.ts'
import { Tally } from './tally.ts'

export class Group {
  readonly tally = new Tally()
  #parley: readonly ParleyPair[] = []
  #raw: readonly RawPair[] = []
  #open = false

  get #lanes(): readonly { readonly pair: Pair; readonly lane: Lane }[] {
    return [...this.#parley, ...this.#raw]
  }

  async makePairs(order: PairsOrder): Promise<void> {
    const authors = await targetAt(order.authors)
    const readers = order.readers === order.authors ? authors : await targetAt(order.readers)
    this.#parley = await each(order.pairs, () => makeParleyPair({ authors, readers }, order, this.tally))
    await each(order.pairs, async (i) => {
      const { author, reader } = this.#parley[i]!
      await Promise.all([author.connect(), order.readersOn && reader.connect()])
    })
  }

  async makeRawPairs(origin: string, pairs: number): Promise<void> {
    this.#raw = await each(pairs, (i) => makeRawPair(origin, i, this.tally))
  }

  startClosed(flight: number): void {
    this.tally.mark()
    for (const { pair, lane } of this.#lanes) {
      pair.start(lane, { is: 'closed', flight, last: Number.POSITIVE_INFINITY })
    }
  }

  /** Each pair sends at an even pace, beginning at a moment of its own. */
  startOpen(rate: number, precise: boolean): void {
    const lanes = this.#lanes
    this.tally.mark()
    const everyMs = (lanes.length * 1_000) / rate
    const now = systemClock.monotonic()
    for (const { pair, lane } of lanes) {
      pair.start(lane, { is: 'open', startMs: now + systemRandom.fraction() * everyMs, everyMs })
    }
    this.#open = true
    // A timer is up to a millisecond late, so it only brings us near the next message.
    const turn = (): void => {
      if (!this.#open) return
      let next = Number.POSITIVE_INFINITY
      for (const { pair } of lanes) {
        pair.pump()
        next = Math.min(next, pair.nextDueMs())
      }
      const waitMs = next - systemClock.monotonic()
      if (precise && waitMs <= SLEEP_LEAST_MS) setImmediate(turn)
      else systemClock.after(Math.max(1, Math.floor(waitMs - SLEEP_LEAST_MS / 2)), turn)
    }
    turn()
  }

  async send(count: number, flight: number): Promise<void> {
    this.tally.mark()
    await Promise.all(this.#lanes.map(({ pair, lane }) => pair.send(lane, count, flight)))
  }

  async stop(): Promise<void> {
    this.#open = false
    const late = Promise.withResolvers<true>()
    const timer = systemClock.after(STOP_MAX_MS, () => late.resolve(true))
    const all = Promise.all(this.#lanes.map(({ pair }) => pair.stop()))
    const isLate = await Promise.race([all.then(() => false), late.promise])
    timer.cancel()
    // Not otherwise: whoever was told to start again meanwhile has something on its way.
    if (!isLate) return
    for (const { pair } of this.#lanes) if (!pair.isIdle) this.tally.fault(`still on its way: ${pair.where}`)
  }

  async readersOn(): Promise<CaughtUp> {
    const began = systemClock.monotonic()
    this.tally.mark()
    await each(this.#parley.length, async (i) => {
      const { reader, pulled, whenRead } = this.#parley[i]!
      Object.assign(pulled, { sinceMs: systemClock.monotonic(), firstPageMs: undefined, pages: 0 })
      await reader.connect(() => {
        pulled.sinceMs = systemClock.monotonic()
      })
      await whenRead()
    })
    const firstPage = new Histogram()
    let pages = 0
    for (const { pulled } of this.#parley) {
      if (pulled.firstPageMs !== undefined) firstPage.record(pulled.firstPageMs * 1_000)
      pages += pulled.pages
    }
    const elapsedMs = systemClock.monotonic() - began
    return { elapsedMs, entries: this.tally.received, pages, firstPage: firstPage.counts() }
  }

  readersOff(): void {
    for (const { reader } of this.#parley) reader.disconnect()
  }

  leave(): void {
    for (const { author } of this.#parley) author.disconnect()
    this.readersOff()
  }

  async firstAnswer(): Promise<void> {
    const first = this.#parley[0]
    if (!first) throw new Error('a group without pairs')
    for (;;) {
      const is = await first.author.connect().then(
        () => true,
        () => false,
      )
      if (is) break
      await new Promise<void>((resolve) => void systemClock.after(FIRST_ANSWER_EVERY_MS, resolve))
    }
    await first.pair.send(first.lane, 1, 1)
  }

  close(): void {
    this.leave()
    for (const pair of this.#raw) pair.close()
  }
}
