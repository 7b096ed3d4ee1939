import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import {
  type ConvId,
  NOWHERE,
  type Random,
  type RegionId,
  SignedRecordSchema,
  simulatedRandom,
  systemRandom,
} from '#protocol'
import { type Answer, type Arrival, newArrival, onAnswer, planOf, requiring, unanswered } from './arrivals.ts'

const region = (i: number): RegionId => `region ${i}` as RegionId
const HERE = region(0)
const CANDIDATES_MAX = 16

const replica = (candidates: readonly RegionId[]): Arrival =>
  newArrival({
    ...{ opens: 0, here: HERE, hosted: 0, hasSome: false, others: [], homes: [], required: [], candidates },
    sinceMs: 0,
  })
const nothing: Answer = { host: undefined, epoch: 0, closed: undefined, before: undefined }

test('regions that name ever further ones are asked up to a limit, and nobody is waited for after that', () => {
  let arrival = replica([region(1)])
  for (let i = 1; i < 100; i++) {
    arrival = onAnswer(arrival, region(i), { ...nothing, before: region(i + 1), beforeKeeps: true }, i)
    assert.ok(arrival.candidates.length <= CANDIDATES_MAX, `${arrival.candidates.length} candidates`)
    assert.ok(arrival.required.every((one) => arrival.candidates.includes(one)))
  }
  for (const one of arrival.candidates) arrival = onAnswer(arrival, one, nothing, 100)
  assert.deepEqual(planOf(arrival, undefined, true), { do: 'begin', closed: [] })
})

test('whoever is named just now has as much time to answer as the others had', () => {
  const named = onAnswer(replica([region(1)]), region(1), { ...nothing, before: region(2) }, 500)
  assert.equal(named.sinceMs, 500)
  const again = onAnswer(named, region(1), { ...nothing, before: region(2) }, 900)
  assert.equal(again.sinceMs, 500, 'who is named again has no more of it')
})

test('a host does not ask one of before, that has not heard of it, to end what goes on here', () => {
  const before = region(1)
  const closed = { convId: 'it' as ConvId, region: before, beforeEpoch: 4, at: NOWHERE, hash: new Uint8Array(32) }
  const record = create(SignedRecordSchema)
  const arrival: Arrival = { ...replica([before]), opens: 4, hosted: 2 }
  const answer = { ...nothing, host: before, epoch: 1, closed: { ...closed, record } }
  assert.deepEqual(planOf(onAnswer(arrival, before, answer, 0), before, true), { do: 'own' })
  const later = onAnswer(arrival, before, { ...answer, epoch: 3 }, 0)
  assert.equal(planOf(later, before, true).do, 'take', 'it was host since')
})

/** What regions say in some order, truly or not. */
function heard(random: Random): Arrival {
  const upTo = (n: number): number => Math.floor(random.fraction() * n)
  const one = (): RegionId => region(upTo(5))
  const maybe = (): RegionId | undefined => (random.fraction() < 0.5 ? one() : undefined)
  let arrival = replica(Array.from({ length: 1 + upTo(3) }, one))
  if (random.fraction() < 0.3) arrival = requiring(arrival, [one()])
  for (let i = upTo(8); i > 0; i--) {
    const from = arrival.candidates[upTo(arrival.candidates.length)]
    if (from === undefined) break
    const answer = { host: maybe(), epoch: upTo(3), closed: undefined, before: maybe() }
    arrival =
      random.fraction() < 0.1
        ? unanswered(arrival, from)
        : onAnswer(arrival, from, { ...answer, beforeKeeps: random.fraction() < 0.3 }, i)
  }
  return arrival
}

test('it is taken from somebody who has it, and nothing is begun while somebody does or is to be heard', () => {
  const seed = Math.floor(systemRandom.fraction() * 2 ** 32)
  const random = simulatedRandom(seed)
  const seen = new Map<string, number>()
  for (let i = 0; i < 5_000; i++) {
    const arrival = heard(random)
    const { candidates, answers } = arrival
    const has = (from: RegionId): boolean => {
      const answer = answers.get(from)
      return answer?.host !== undefined && (answer.before === undefined || answer.beforeKeeps === true)
    }
    const silent = candidates.filter((from) => !answers.has(from))
    const plan = planOf(arrival, undefined, true)
    const why = `seed ${seed}, number ${i}: ${JSON.stringify({ plan, candidates, answers: [...answers] })}`
    seen.set(plan.do, (seen.get(plan.do) ?? 0) + 1)
    if (plan.do === 'take') assert.ok(has(plan.from), why)
    if (plan.do === 'begin') assert.ok(silent.length === 0 && !candidates.some(has), why)
    if (plan.do === 'ask') assert.ok(plan.regions.length > 0, why)
    assert.ok(!candidates.includes(HERE), why)
  }
  assert.deepEqual([...seen.keys()].sort(), ['ask', 'begin', 'take'], `seed ${seed}`)
})

test('where another member lives is asked to end the epoch, though what the one who came had never came there', () => {
  const [former, first] = [region(1), region(2)]
  // The one who decides came from `former`, where the other lives; before that they lived where it was hosted.
  const arrival: Arrival = {
    ...replica([former, first]),
    ...{ opens: 3, others: [former], homes: [former], required: [former] },
  }
  const closed = { convId: 'it' as ConvId, region: first, beforeEpoch: 3, at: NOWHERE, hash: new Uint8Array(32) }
  const nowhere = { ...nothing, closed: { ...closed, record: create(SignedRecordSchema) } }
  const empty = onAnswer(onAnswer(arrival, former, { ...nothing, before: first }, 0), first, nowhere, 0)
  // It has come there meanwhile, with what was held for the host, which never had anything.
  const told = onAnswer(empty, former, { ...nothing, host: first, epoch: 1, before: first, beforeKeeps: true }, 0)
  assert.deepEqual(planOf(told, former, true), { do: 'ballot', acceptors: [former] })
})
