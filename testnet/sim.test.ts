// Seeds of the simulator, and that a seed is the same story wherever it is told. `npm run sim` tells more of them.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { isFault } from './simulator/acts.ts'
import { neverReached, type Reach } from './simulator/reach.ts'
import { type Outcome, runScene, runSeed } from './simulator/run.ts'
import { runSeeds } from './simulator/run-seeds.ts'
import { LEAST, sceneOf } from './simulator/scene.ts'
import FAILED_ONCE from './simulator/seeds.json' with { type: 'json' }

const SEEDS = 200
/** A shrunk story has at most so many acts. */
const SHORT = 12

const range = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i)

test('every promise holds in every seed', { timeout: 300_000 }, async (t) => {
  const bad: string[] = []
  let done = 0
  await runSeeds({
    seeds: [...new Set([...FAILED_ONCE, ...range(1, SEEDS)])],
    processes: 2,
    outcome: ({ seed, violations }) => {
      done++
      for (const what of violations) bad.push(`seed ${seed}: ${what} (npm run sim -- --seed ${seed} --shrink)`)
      return false
    },
  })
  t.diagnostic(`${done} seeds`)
  assert.ok(done >= SEEDS)
  assert.deepEqual(bad, [])
})

test('every scene is as large as it has to be, and says so when it is not', async () => {
  for (const seed of range(1, 300)) {
    const { counts, people, acts } = sceneOf(seed)
    assert.ok(counts.length >= LEAST.regions && people.length >= LEAST.people)
    const said = acts.reduce((sum, act) => sum + (act.what === 'say' ? act.count : 0), 0)
    assert.ok(said >= LEAST.messages, `seed ${seed}: ${said} messages`)
    assert.ok(acts.filter(isFault).length >= LEAST.faults, `seed ${seed}`)
  }
  const { violations } = await runScene({ ...sceneOf(1), acts: [] })
  assert.deepEqual(violations, ['scene: only 100 messages and 0 faults'])
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

test('whether the trace is shown changes nothing', async () => {
  const lines: string[] = []
  const shown = await runSeed(4, { show: (line) => lines.push(line) })
  assert.equal(shown.traceHash, (await runSeed(4)).traceHash)
  assert.ok(lines.some((line) => line.includes('everything heals')))
})

test('a seed that fails is told as a short story', { timeout: 120_000 }, (t) => {
  const sim = new URL('./sim.ts', import.meta.url).pathname
  const args = [sim, '--plant', 'restart-without-lag-rows', '--seed', '1', '--shrink', '--plays', '150']
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  t.diagnostic(stdout)
  assert.equal(status, 1)
  const acts = Number(/in (\d+) acts/.exec(stdout)?.[1])
  assert.ok(acts >= 1 && acts <= SHORT, stdout)
  assert.match(stdout, /R\d is home to/)
  assert.match(stdout, /says|crashes/)
  assert.match(stdout, /What goes wrong:\n {2}\S+/)
})

test('what was never reached is said', () => {
  const reach: Reach = {}
  assert.ok(neverReached(reach).includes('verdict stale'))
  reach['verdict stale'] = 1
  assert.ok(!neverReached(reach).includes('verdict stale'))
})
