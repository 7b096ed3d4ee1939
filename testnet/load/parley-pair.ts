// A pair over the device protocol: two devices of two people.
import { systemRandom } from '#protocol'
import { LoadDevice } from './device.ts'
import { Pair } from './pair.ts'
import { type Person, registerPerson, type Target } from './person.ts'
import type { Tally } from './tally.ts'

export type ParleyPair = { readonly pair: Pair; readonly author: LoadDevice; readonly reader: LoadDevice }

const nothing = (): void => {}

function join(people: readonly [Person, Person], bytes: number, tally: Tally): ParleyPair {
  const pair = new Pair(tally)
  const body = systemRandom.bytes(bytes)
  const both = {
    caughtUp: nothing,
    fault: (what: string) => tally.fault(what),
    lost: (reason: string) => tally.fault(`a session was lost: ${reason}`),
    verdict: (field: number) => tally.verdict(field),
  }
  const author = new LoadDevice(people[0], people[1], body, {
    ...both,
    sequenced: (k) => pair.onSequenced(k),
    received: () => tally.fault('the author got a message'),
    frameDone: () => pair.onTurn(),
  })
  const reader = new LoadDevice(people[1], people[0], body, {
    ...both,
    sequenced: () => tally.fault('the reader sent nothing'),
    received: (k) => pair.onReceived(k),
    frameDone() {
      reader.acknowledge()
      pair.onTurn()
    },
  })
  return { pair, author, reader }
}

export async function makeParleyPair(home: Target, other: Target, bytes: number, tally: Tally): Promise<ParleyPair> {
  const people = await Promise.all([registerPerson(home), registerPerson(other)])
  return join(people, bytes, tally)
}
