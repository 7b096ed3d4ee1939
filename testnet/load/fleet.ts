// The devices of one load process, and what they do when they are told.
import { systemClock, systemRandom } from '#protocol'
import { SIGN_INS_AT_ONCE } from './limits.ts'
import type { Order } from './orders.ts'
import type { Lane, Pair } from './pair.ts'
import { makeParleyPair, type ParleyPair } from './parley-pair.ts'
import { targetAt } from './person.ts'
import { makeRawPair, type RawPair } from './raw-pair.ts'
import { Tally } from './tally.ts'

/** Runs a task for each number, a few at a time. */
async function each<T>(count: number, task: (i: number) => Promise<T>): Promise<T[]> {
  const out: T[] = []
  let next = 0
  const work = async (): Promise<void> => {
    while (next < count) {
      const i = next++
      out[i] = await task(i)
    }
  }
  await Promise.all(Array.from({ length: Math.min(count, SIGN_INS_AT_ONCE) }, work))
  return out
}

type OrderOf<D extends Order['do']> = Extract<Order, { do: D }>

export class Fleet {
  readonly #tally = new Tally()
  #parley: ParleyPair[] = []
  #raw: RawPair[] = []
  #open = false

  #lanes(): { pair: Pair; lane: Lane }[] {
    const parley = this.#parley.map(({ pair, author }) => {
      const lane = { submit: author.submit.bind(author), acknowledge: author.acknowledge.bind(author) }
      return { pair, lane }
    })
    return [...parley, ...this.#raw]
  }

  async obey(order: Order): Promise<unknown> {
    switch (order.do) {
      case 'pairs':
        return this.#pairs(order)
      case 'raw-pairs':
        this.#raw = await each(order.pairs, (i) => makeRawPair(order.origin, i, this.#tally))
        return undefined
      case 'start':
        return this.#start(order)
      case 'mark':
        return this.#tally.mark()
      case 'stop':
        this.#open = false
        await Promise.all(this.#lanes().map(({ pair }) => pair.stop()))
        return undefined
      case 'close':
        for (const { author, reader } of this.#parley) {
          author.disconnect()
          reader.disconnect()
        }
        for (const pair of this.#raw) pair.close()
        return undefined
    }
  }

  async #pairs({ authors, readers, pairs, bytes }: OrderOf<'pairs'>): Promise<void> {
    const [home, other] = [await targetAt(authors), await targetAt(readers)]
    this.#parley = await each(pairs, () => makeParleyPair(home, other, bytes, this.#tally))
    await each(pairs, async (i) => {
      const { author, reader } = this.#parley[i]!
      await Promise.all([author.connect(), reader.connect()])
    })
  }

  #start(order: OrderOf<'start'>): void {
    const lanes = this.#lanes()
    this.#tally.mark()
    if (order.loop === 'closed') {
      for (const { pair, lane } of lanes) pair.start(lane, { is: 'closed', flight: order.flight })
      return
    }
    const everyMs = (lanes.length * 1_000) / order.rate
    const now = systemClock.monotonic()
    for (const { pair, lane } of lanes) {
      pair.start(lane, { is: 'open', startMs: now + systemRandom.fraction() * everyMs, everyMs })
    }
    this.#open = true
    const turn = (): void => {
      if (!this.#open) return
      for (const { pair } of lanes) pair.pump()
      setImmediate(turn)
    }
    turn()
  }
}
