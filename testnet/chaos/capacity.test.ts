import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Standing } from '../clients/orders.ts'
import type { PersonActor } from './actors.ts'
import { measureCapacity } from './capacity.ts'
import { HOMES, PAIRS, type Stage } from './stage.ts'

const TIMES = { warmUpMs: 1, measuredMs: 1, arrivedMaxMs: 300, drainMaxMs: 300 }
const BEYOND = { timeout: 5_000 }

/** Everybody says one line to each as soon as they may; `arrives`: whether the next one does. */
function fakeStage(arrives: (fast: boolean) => boolean): Stage {
  let said = 0
  let came = 0
  const standings = (name: string): Standing[] =>
    PAIRS.flatMap((pair) => (pair.includes(name) ? pair.filter((it) => it !== name) : [])).map((user) => ({
      user,
      said,
      waiting: 0,
      last: 2 * came,
      delivered: 2 * came,
    }))
  const person = (name: string, isFirst: boolean) => ({
    name,
    person: { userId: name },
    client: () => ({ ask: async () => standings(name) }),
    received: () => (isFirst ? came : 0),
    async pace(perSecond: number) {
      if (perSecond === 0 || !isFirst) return
      said++
      if (arrives(perSecond > 1)) came++
    },
  })
  const people = Object.keys(HOMES).map((name, i) => person(name, i === 0) as unknown as PersonActor)
  return { people, network: { regions: [] } } as unknown as Stage
}

test(
  'a network in which nothing arrives is not waited for without end, and what is missing is told',
  BEYOND,
  async () => {
    const { left } = await measureCapacity(
      fakeStage(() => false),
      TIMES,
    )
    assert.ok(left.includes('ana and ben: ana: has 0 of 2'), left.join('\n'))
  },
)

test(
  'nor is one in which it ends, or becomes too little, when everybody sends as fast as they can',
  BEYOND,
  async () => {
    const none = await measureCapacity(
      fakeStage((fast) => !fast),
      TIMES,
    )
    assert.equal(none.left[0], '0 of 1 messages arrived while everybody sent as fast as they could')
    assert.ok(none.left.includes('kim and lou: lou: has 2 of 4'), none.left.join('\n'))
    const few = await measureCapacity(
      fakeStage(() => true),
      TIMES,
    )
    assert.deepEqual(few.left, ['0 of 1000 messages arrived while everybody sent as fast as they could'])
  },
)
