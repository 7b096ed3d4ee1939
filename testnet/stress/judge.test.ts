import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Heard, judge } from './judge.ts'

const ALLOWED = { p99Factor: 2, loaded: false }
const heard = (before: number, during: number, after: number): Heard => ({
  before: [before, before, before],
  during: [during, during, during],
  after: [after, after, after],
})
const verdict = (it: Heard, allowed = ALLOWED): string => {
  const { slow, noisy, faults } = judge(it, allowed)
  return [slow && 'slow', noisy && 'noisy', faults.length > 0 && 'silent'].filter(Boolean).join(' ') || 'held'
}

test('what honest people waited is compared with the slower of the two quiet times', () => {
  assert.equal(verdict(heard(10, 21, 10)), 'slow')
  assert.equal(verdict(heard(10, 21, 11)), 'held')
  assert.equal(verdict(heard(11, 21, 10)), 'held')
  // Below the floor nobody notices a difference.
  assert.equal(verdict(heard(1, 9, 4)), 'held')
  assert.equal(verdict(heard(1, 11, 4)), 'slow')
})

test('quiet times that are further apart than the row allows say nothing about slowness', () => {
  for (const it of [heard(10, 100, 21), heard(21, 100, 10), heard(1, 100, 11)]) assert.equal(verdict(it), 'noisy')
  assert.match(judge(heard(10, 100, 21), ALLOWED).noisy ?? '', /10\.0 ms before and 21\.0 ms after/)
})

test('a load that ends with the attack makes the time after it faster, which is no noise', () => {
  const loaded = { ...ALLOWED, loaded: true }
  assert.equal(verdict(heard(30, 50, 6), loaded), 'held')
  assert.equal(verdict(heard(30, 61, 6), loaded), 'slow')
  assert.equal(verdict(heard(30, 61, 61), loaded), 'noisy')
  assert.equal(verdict(heard(190, 21, 8), loaded), 'noisy')
})

test('one bad second decides nothing, one in which nothing arrived does, also in the quiet', () => {
  assert.equal(verdict({ ...heard(10, 10, 10), during: [10, 400, 10] }), 'held')
  for (const when of ['before', 'during', 'after'] as const) {
    const it = { ...heard(10, 10, 10), [when]: [10, Number.POSITIVE_INFINITY, 10] }
    assert.deepEqual(judge(it, ALLOWED).faults, [`honest people heard nothing for 1 of 3 s ${when} it`])
  }
})
