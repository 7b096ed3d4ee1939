import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type ConvId,
  chainHash,
  convIdBytes,
  convIdOf,
  NOWHERE,
  type Position,
  positionOf,
  writeEntry,
} from '#protocol'
import { type ReaderState, readBehindHole, readRun } from './reader.ts'

const conv: ConvId = convIdOf(new Uint8Array(32).fill(7))
const start: ReaderState = { cursor: NOWHERE, hash: convIdBytes(conv) }

function entry(n: number, epoch = 1): Uint8Array {
  const device = { device: 1, registrationEpoch: 1, registrationVersion: 1 }
  const header = { ...device, kind: 1, at: positionOf(epoch, n), member: 0, k: n, tag: new Uint8Array(8) }
  return writeEntry({ ...header, membershipVersion: 0, timeMs: 1 }, [])
}

const places = (taken: readonly { at: Position }[]): number[] => taken.map(({ at }) => at)

test('dense and ascending is taken, with the chain of hashes; what is known already is passed over', () => {
  const first = readRun(start, conv, [entry(1), entry(2)])
  assert.deepEqual(places(first.taken), [positionOf(1, 1), positionOf(1, 2)])
  const expected = chainHash(chainHash(convIdBytes(conv), entry(1)), entry(2))
  assert.deepEqual(first.state, { cursor: positionOf(1, 2), hash: expected })
  const again = readRun(first.state, conv, [entry(1), entry(2), entry(3)])
  assert.deepEqual(places(again.taken), [positionOf(1, 3)])
  assert.deepEqual(again.state.hash, chainHash(expected, entry(3)))
})

test('what does not follow is dropped with all behind it, and named', () => {
  const run = readRun(start, conv, [entry(1), entry(3), entry(4)])
  assert.deepEqual(places(run.taken), [positionOf(1, 1)])
  assert.equal(run.gap, positionOf(1, 3))
  assert.equal(readRun(start, conv, [entry(2)]).gap, positionOf(1, 2))
  assert.equal(readRun(run.state, conv, [entry(1, 2)]).gap, positionOf(2, 1), 'an epoch does not begin by itself')
})

test('behind a hole the chain goes on from the home’s word, and what follows must be dense again', () => {
  const hash = new Uint8Array(32).fill(1)
  const run = readBehindHole([entry(5), entry(6)], hash)
  assert.deepEqual(run?.state, { cursor: positionOf(1, 6), hash })
  assert.equal(readBehindHole([entry(5), entry(7)], hash), undefined)
  assert.equal(
    readBehindHole([entry(5)], new Uint8Array(0)),
    undefined,
    'without a hash there is nothing to go on from',
  )
  assert.equal(readBehindHole([], hash), undefined)
})

test('bytes that are no entry are refused', () => {
  assert.throws(() => readRun(start, conv, [entry(1).subarray(0, 20)]), { code: 'malformed' })
})
