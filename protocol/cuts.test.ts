import assert from 'node:assert/strict'
import { it } from 'node:test'
import { type Cut, cutAt, hashBefore, isVoid, keptOf, nextPlace } from './cuts.ts'
import { epochHash } from './entry.ts'
import { NOWHERE, type Position, positionOf } from './position.ts'

const at = (epoch: number, n: number): Position => positionOf(epoch, n)
const cutOf = (epoch: number, cut: Position): Cut => ({ epoch, cut, payload: new Uint8Array([epoch]) })

it('a log without cuts counts on', () => {
  assert.equal(nextPlace(at(1, 7), []), at(1, 8))
  assert.equal(nextPlace(NOWHERE, []), at(1, 1))
  assert.equal(nextPlace(NOWHERE, [cutOf(2, at(1, 3))]), at(1, 1))
  assert.equal(isVoid(at(1, 7), []), false)
  assert.equal(keptOf(at(1, 7), []), at(1, 7))
})

it('behind a cut the new epoch begins, and what stood there is void', () => {
  const cuts = [cutOf(2, at(1, 7)), cutOf(4, at(2, 3))]
  assert.equal(nextPlace(at(1, 6), cuts), at(1, 7))
  assert.equal(nextPlace(at(1, 7), cuts), at(2, 1))
  assert.equal(nextPlace(at(2, 3), cuts), at(4, 1))
  assert.equal(nextPlace(at(4, 1), cuts), at(4, 2))
  assert.deepEqual(
    [at(1, 7), at(1, 8), at(2, 3), at(2, 4), at(4, 9)].map((p) => isVoid(p, cuts)),
    [false, true, false, true, false],
  )
  assert.equal(keptOf(at(1, 9), cuts), at(1, 7))
  assert.equal(keptOf(at(2, 9), cuts), at(2, 3))
  assert.equal(keptOf(at(1, 2), cuts), at(1, 2))
})

it('an epoch of which nobody had anything is stepped over, and what was said in it is void', () => {
  const cuts = [cutOf(2, at(1, 7)), cutOf(3, at(1, 7))]
  assert.equal(nextPlace(at(1, 7), cuts), at(3, 1))
  assert.equal(isVoid(at(2, 1), cuts), true)
  assert.equal(keptOf(at(2, 1), cuts), at(1, 7))
})

it('a later cut may lie before an earlier one', () => {
  const cuts = [cutOf(2, at(1, 7)), cutOf(3, at(1, 5))]
  assert.equal(keptOf(at(2, 4), cuts), at(1, 5))
  assert.equal(nextPlace(at(1, 5), cuts), at(3, 1))
  assert.equal(nextPlace(at(1, 6), cuts), at(1, 7), 'void as it is: whoever stands there has to go back first')
  assert.equal(isVoid(at(1, 6), cuts), true)
})

it('a conversation of which nothing was there begins with its register', () => {
  const cuts = [cutOf(3, NOWHERE)]
  assert.equal(nextPlace(NOWHERE, cuts), at(3, 1))
})

it('the chain of a new epoch begins with the register', () => {
  const cuts = [cutOf(2, at(1, 7))]
  const hash = new Uint8Array(32).fill(9)
  assert.equal(cutAt(at(1, 7), cuts), cuts[0])
  assert.deepEqual(hashBefore(at(1, 7), hash, cuts), epochHash(hash, cuts[0]!.payload))
  assert.equal(hashBefore(at(1, 6), hash, cuts), hash)
})
