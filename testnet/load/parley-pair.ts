// A pair over the device protocol: two devices of two people.
import { compareIds, systemClock, systemRandom } from '#protocol'
import { LoadDevice } from './device.ts'
import { RETRY_MS } from './limits.ts'
import type { PairsOrder } from './orders.ts'
import { type Lane, Pair } from './pair.ts'
import { type Person, registerPerson, type Target } from './person.ts'
import type { Tally } from './tally.ts'

export type ParleyPair = {
  readonly pair: Pair
  readonly lane: Lane
  readonly author: LoadDevice
  readonly reader: LoadDevice
  /** What the reader had to pull. */
  readonly pulled: { sinceMs: number; firstPageMs: number | undefined; pages: number }
  /** Resolves when the reader has everything that was sent. */
  whenRead(): Promise<void>
}

const nothing = (): void => {}
/** Fields of a verdict. */
const BEHIND = 7
const WAIT = 9

function join(people: readonly [Person, Person], order: PairsOrder, tally: Tally): ParleyPair {
  const pair = new Pair(tally, order.doneWhen)
  const body = systemRandom.bytes(order.bytes)
  const pulled: ParleyPair['pulled'] = { sinceMs: 0, firstPageMs: undefined, pages: 0 }
  let read: (() => void) | undefined
  let retrying = false
  /** The same bytes again, as a device does when it was told to wait or where to go on. */
  const sendAgain = (): void => {
    retrying = false
    const { from, to } = pair.unnumbered
    if (from <= to) author.submit(from, to)
  }
  const both = {
    fault: (what: string) => tally.fault(what),
    lost: (reason: string) => tally.fault(`a session was lost: ${reason}`),
    verdict(field: number): void {
      tally.verdict(field)
      if ((field !== BEHIND && field !== WAIT) || retrying) return
      retrying = true
      systemClock.after(RETRY_MS, sendAgain)
    },
  }
  const author = new LoadDevice(people[0], people[1], body, {
    ...both,
    sequenced: (k) => pair.onSequenced(k),
    safe: (k) => pair.onSafe(k),
    page: nothing,
    received: () => tally.fault('the author got a message'),
    frameDone() {
      author.acknowledgeSoon()
      pair.onTurn()
    },
  })
  const reader = new LoadDevice(people[1], people[0], body, {
    ...both,
    sequenced: () => tally.fault('the reader sent nothing'),
    safe: nothing,
    received: (k) => pair.onReceived(k),
    page() {
      pulled.pages++
      pulled.firstPageMs ??= systemClock.monotonic() - pulled.sinceMs
    },
    frameDone() {
      reader.acknowledge()
      pair.onTurn()
      if (read && pair.isRead) read()
    },
  })
  const lane = { submit: author.submit.bind(author) }
  return {
    pair,
    lane,
    author,
    reader,
    pulled,
    whenRead: () => {
      if (pair.isRead) return Promise.resolve()
      return new Promise((resolve) => {
        read = resolve
      })
    },
  }
}

/** Ids come by chance: another person is registered until the wanted home hosts. */
export async function makeParleyPair(
  homes: { readonly authors: Target; readonly readers: Target },
  order: PairsOrder,
  tally: Tally,
): Promise<ParleyPair> {
  let [author, reader] = await Promise.all([registerPerson(homes.authors), registerPerson(homes.readers)])
  const isOther = (): boolean => compareIds(author.userId, reader.userId) > 0 !== (order.host === 'reader')
  while (order.host !== 'any' && homes.authors !== homes.readers && isOther()) {
    author = await registerPerson(homes.authors)
    if (isOther()) reader = await registerPerson(homes.readers)
  }
  return join([author, reader], order, tally)
}
