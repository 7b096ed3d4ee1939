import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Random, type RegionId, simulatedRandom } from '#protocol'
import { makeRegion } from '../fixtures.ts'
import {
  type Acceptor,
  type BallotNumber,
  compareBallots,
  isChosen,
  majorityOf,
  mayPropose,
  newAcceptor,
  newProposer,
  onAccept,
  onAccepted,
  onPrepare,
  onPromise,
  type Proposer,
  propose,
  roundAfter,
} from './ballots.ts'

const [A, B, C] = [makeRegion(), makeRegion(), makeRegion()].map((r) => r.regionId) as [RegionId, RegionId, RegionId]
const value = (n: number): Uint8Array => new Uint8Array([n])
const by = (round: number, region = A): BallotNumber => ({ round, region })

test('who promised a ballot takes nothing of a lower one', () => {
  const promised = onPrepare(newAcceptor, by(3))
  assert.deepEqual(promised.answer, { say: 'promise', accepted: undefined })
  assert.deepEqual(onPrepare(promised.acceptor, by(2)).answer, { say: 'refused', promised: by(3) })
  assert.deepEqual(onAccept(promised.acceptor, by(2), value(1)).answer, { say: 'refused', promised: by(3) })
  assert.equal(onAccept(promised.acceptor, by(3), value(1)).answer.say, 'accepted')
  assert.equal(onAccept(promised.acceptor, by(4), value(1)).answer.say, 'accepted', 'a higher one needs no promise')
})

test('what was accepted comes with the next promise, and the same again changes nothing', () => {
  const { acceptor } = onAccept(newAcceptor, by(1), value(1))
  const next = onPrepare(acceptor, by(2))
  assert.deepEqual(next.answer, { say: 'promise', accepted: { number: by(1), value: value(1) } })
  assert.deepEqual(onAccept(acceptor, by(1), value(1)).acceptor, acceptor)
  assert.equal(onAccept(acceptor, by(1), value(2)).answer.say, 'refused', 'one number, two values')
})

test('a proposer proposes what was accepted under the highest ballot', () => {
  let proposer = newProposer([A, B, C], by(5))
  assert.equal(mayPropose(proposer), false)
  proposer = onPromise(proposer, A, by(5), { number: by(1), value: value(1) })
  proposer = onPromise(proposer, A, by(5), { number: by(1), value: value(1) })
  assert.equal(mayPropose(proposer), false, 'one acceptor counts once')
  proposer = onPromise(proposer, makeRegion().regionId, by(5), undefined)
  proposer = onPromise(proposer, B, by(4), undefined)
  assert.equal(mayPropose(proposer), false, 'strangers and other numbers count nothing')
  proposer = onPromise(proposer, C, by(5), { number: by(2, B), value: value(2) })
  proposer = propose(proposer, () => value(9))
  assert.deepEqual(proposer.value, value(2))
  proposer = onAccepted(proposer, A, by(5))
  assert.equal(isChosen(proposer), false)
  proposer = onAccepted(proposer, B, by(5))
  assert.equal(isChosen(proposer), true)
  assert.equal(roundAfter(proposer, by(8, B)), 9)
})

test('more than half', () => {
  assert.deepEqual([[A], [A, B], [A, B, C]].map(majorityOf), [1, 2, 2])
})

test('the order of ballots is total', () => {
  assert.ok(compareBallots(by(1), by(2)) < 0)
  assert.equal(compareBallots(by(1), by(1)), 0)
  assert.notEqual(compareBallots(by(1, A), by(1, B)), 0)
})

type Message = { to: 'acceptor' | 'proposer'; index: number; run: () => void }

/** Proposers and acceptors over a network that loses, repeats and reorders; acceptors keep what they said, proposers their round. */
function play({ fraction }: Random, plant: 'none' | 'own value' | 'forgets'): Set<number> {
  const below = (n: number): number => Math.floor(fraction() * n)
  const acceptors: Acceptor[] = Array.from({ length: 3 + 2 * below(2) }, () => newAcceptor)
  const ids = acceptors.map((_, i) => [A, B, C, `${A}x`, `${B}x`][i] as RegionId)
  const seats: { proposer: Proposer; round: number }[] = [A, B, C].map((region) => ({
    proposer: newProposer(ids, { round: 0, region }),
    round: 0,
  }))
  const chosen = new Set<number>()
  let wire: Message[] = []
  const send = (message: Message): void => void wire.push(message)
  const begin = (p: number): void => {
    const seat = seats[p]!
    seat.round++
    seat.proposer = newProposer(ids, { round: seat.round, region: seat.proposer.number.region })
    const { number } = seat.proposer
    for (const a of ids.keys()) send({ to: 'acceptor', index: a, run: () => prepare(p, a, number) })
  }
  const refuse = (p: number, promised: BallotNumber): void => {
    seats[p]!.round = Math.max(seats[p]!.round, promised.round)
  }
  const prepare = (p: number, a: number, number: BallotNumber): void => {
    const step = onPrepare(plant === 'forgets' ? newAcceptor : acceptors[a]!, number)
    acceptors[a] = step.acceptor
    const { answer } = step
    send({
      to: 'proposer',
      index: p,
      run: () => {
        if (answer.say === 'refused') return refuse(p, answer.promised)
        if (answer.say !== 'promise') return
        const seat = seats[p]!
        seat.proposer = onPromise(seat.proposer, ids[a]!, number, answer.accepted)
        if (!mayPropose(seat.proposer)) return
        const own = (): Uint8Array => value(10 * p + (seat.round % 10))
        seat.proposer = plant === 'own value' ? { ...seat.proposer, value: own() } : propose(seat.proposer, own)
        const proposal = seat.proposer.value!
        for (const other of ids.keys())
          send({ to: 'acceptor', index: other, run: () => accept(p, other, number, proposal) })
      },
    })
  }
  const accept = (p: number, a: number, number: BallotNumber, proposal: Uint8Array): void => {
    const step = onAccept(acceptors[a]!, number, proposal)
    acceptors[a] = step.acceptor
    if (step.answer.say !== 'accepted') return
    send({
      to: 'proposer',
      index: p,
      run: () => {
        const seat = seats[p]!
        seat.proposer = onAccepted(seat.proposer, ids[a]!, number)
        if (isChosen(seat.proposer)) chosen.add(seat.proposer.value![0]!)
      },
    })
  }
  for (let step = 0; step < 400; step++) {
    if (wire.length === 0 || below(12) === 0) begin(below(3))
    const i = below(wire.length)
    const message = wire[i]!
    if (below(10) > 0) wire = wire.filter((_, at) => at !== i)
    if (below(10) > 0) message.run()
  }
  return chosen
}

test('however messages are lost, repeated and reordered, one value is decided', () => {
  const SCHEDULES = 400
  let decided = 0
  for (let seed = 1; seed <= SCHEDULES; seed++) {
    const chosen = play(simulatedRandom(seed), 'none')
    assert.ok(chosen.size <= 1, `seed ${seed}: ${[...chosen]}`)
    decided += chosen.size
  }
  assert.ok(decided > SCHEDULES / 2, `only ${decided} schedules decided anything`)
})

for (const plant of ['own value', 'forgets'] as const) {
  test(`a planted error is found: ${plant}`, () => {
    const found = Array.from({ length: 400 }, (_, i) => play(simulatedRandom(i + 1), plant).size > 1)
    assert.ok(found.includes(true))
  })
}
