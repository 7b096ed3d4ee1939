import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Histogram } from './histogram.ts'

test('a percentile is within 1/64 of the one of the sorted values', () => {
  const values = fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { minLength: 1, maxLength: 300 })
  fc.assert(
    fc.property(values, fc.double({ min: 0.01, max: 1, noNaN: true }), (list, share) => {
      const histogram = new Histogram()
      for (const value of list) histogram.record(value)
      const sorted = list.toSorted((a, b) => a - b)
      const exact = sorted[Math.max(1, Math.ceil(share * list.length)) - 1]!
      assert.ok(Math.abs(histogram.percentile(share) - exact) <= exact / 64, `${histogram.percentile(share)} ${exact}`)
    }),
  )
})

test('histograms add up, and what is out of range is kept at the edge', () => {
  const one = new Histogram()
  const other = new Histogram()
  for (let i = 0; i < 1_000; i++) one.record(100)
  for (let i = 0; i < 10; i++) other.record(1_000_000)
  other.record(-5)
  other.record(1e12)
  const both = new Histogram().add(one.counts()).add(structuredClone(other.counts()))
  assert.equal(both.total, 1_012)
  assert.ok(Math.abs(both.percentile(0.5) - 100) <= 2)
  assert.ok(Math.abs(both.percentile(0.995) - 1_000_000) <= 1_000_000 / 64)
  assert.equal(both.percentile(1 / 1_012), 0)
  assert.ok(both.percentile(1) >= (2 ** 32 * 63) / 64)
  both.clear()
  assert.ok(Number.isNaN(both.percentile(0.5)))
})
