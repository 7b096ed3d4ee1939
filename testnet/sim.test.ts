// A thousand seeds of the simulator, and that a seed is the same story wherever it is told. `npm run sim` tells more of them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { neverReached, type Reach } from './simulator/reach.ts'
import { type Outcome, runSeed } from './simulator/run.ts'
import { runSeeds } from './simulator/run-seeds.ts'
import FAILED_ONCE from './simulator/seeds.json' with { type: 'json' }

const SEEDS = 1_000

const range = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i)

test('every promise holds in every seed', { timeout: 300_000 }, async (t) => {
  const bad: string[] = []
  let done = 0
  await runSeeds({
    seeds: [...new Set([...FAILED_ONCE, ...range(1, SEEDS)])],
    processes: 2,
    outcome: ({ seed, violations }) => {
      done++
      for (const what of violations) bad.push(`seed ${seed}: ${what} (npm run sim -- --seed ${seed} --trace)`)
      return false
    },
  })
  t.diagnostic(`${done} seeds`)
  assert.ok(done >= SEEDS)
  assert.deepEqual(bad, [])
})

test('the same seed is the same story, after others and in another process', async () => {
  const elsewhere: Outcome[] = []
  await runSeeds({ seeds: [3, 5, 8], processes: 1, outcome: (it) => elsewhere.push(it) > 3 })
  const [, , again] = [await runSeed(5), await runSeed(8), await runSeed(3)]
  assert.equal(again!.traceHash, elsewhere.find(({ seed }) => seed === 3)!.traceHash)
  const [first, second] = [await runSeed(5), await runSeed(5)]
  assert.deepEqual(first, second)
  assert.equal(first.traceHash, elsewhere.find(({ seed }) => seed === 5)!.traceHash)
  assert.notEqual(first.traceHash, again!.traceHash)
})

test('what was never reached is said', () => {
  const reach: Reach = {}
  assert.ok(neverReached(reach).includes('verdict stale'))
  reach['verdict stale'] = 1
  assert.ok(!neverReached(reach).includes('verdict stale'))
})
