// npm run sim -- [--seeds N] [--first S] [--seed S [--trace]] [--plants [ID]]: runs the simulator and says what it found.
import { parseArgs } from 'node:util'
import { systemClock } from '#protocol'
import { findPlant } from './simulator/find-plant.ts'
import { PLANTS, type Plant } from './simulator/plants.ts'
import { addReach, neverReached, type Reach } from './simulator/reach.ts'
import { runSeed } from './simulator/run.ts'
import { runSeeds } from './simulator/run-seeds.ts'
import FAILED_ONCE from './simulator/seeds.json' with { type: 'json' }

const PROCESSES = 2
const PROGRESS_MS = 10_000
const SHOWN_MAX = 6
/** From so many seeds on everything must have been reached. */
const REACH_SEEDS = 500

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    first: { type: 'string', default: '1' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
    plants: { type: 'boolean', default: false },
    only: { type: 'string' },
  },
})

function show(seed: number, violations: readonly string[]): void {
  console.log(`seed ${seed}: ${violations.length} violations; replay: npm run sim -- --seed ${seed} --trace`)
  for (const what of violations.slice(0, SHOWN_MAX)) console.log(`  ${what}`)
  if (violations.length > SHOWN_MAX) console.log(`  … and ${violations.length - SHOWN_MAX} more`)
}

/** One seed, here. */
async function replay(seed: number): Promise<boolean> {
  const { violations, traceHash } = await runSeed(seed, values.trace ? { trace: (line) => console.log(line) } : {})
  if (violations.length > 0) show(seed, violations)
  else console.log(`seed ${seed}: all promises held`)
  console.log(`trace ${traceHash}`)
  return violations.length === 0
}

async function many(first: number, count: number): Promise<boolean> {
  const range = Array.from({ length: count }, (_, i) => first + i)
  const seeds = [...new Set([...FAILED_ONCE, ...range])]
  const reach: Reach = {}
  const failed: number[] = []
  const started = systemClock.monotonic()
  const rate = (done: number): string => (done / ((systemClock.monotonic() - started) / 1_000)).toFixed(1)
  let done = 0
  let shownAt = started
  await runSeeds({
    seeds,
    processes: PROCESSES,
    outcome: (outcome) => {
      done++
      addReach(reach, outcome.reach)
      if (outcome.violations.length > 0) {
        failed.push(outcome.seed)
        show(outcome.seed, outcome.violations)
      }
      if (systemClock.monotonic() - shownAt > PROGRESS_MS) {
        shownAt = systemClock.monotonic()
        console.log(`${done} of ${seeds.length} seeds, ${rate(done)}/s, ${failed.length} with violations`)
      }
      return false
    },
  })
  for (const [what, n] of Object.entries(reach).sort()) console.log(`  ${what.padEnd(36)} ${n}`)
  const never = count < REACH_SEEDS ? [] : neverReached(reach)
  for (const what of never) console.log(`never reached: ${what}`)
  const names = failed.length > 0 ? `: ${failed.join(' ')} (to be kept in testnet/simulator/seeds.json)` : ''
  console.log(`${done} seeds, ${rate(done)}/s, ${failed.length} with violations${names}`)
  return failed.length === 0 && never.length === 0
}

async function plants(list: readonly Plant[]): Promise<boolean> {
  const queue = [...list]
  let found = 0
  const work = async (): Promise<void> => {
    for (let plant = queue.shift(); plant; plant = queue.shift()) {
      const finding = await findPlant(plant)
      if (finding) found++
      console.log(
        finding
          ? `${plant.id}: found with seed ${finding.seed} of ${plant.seeds}: ${finding.what.slice(0, 160)}`
          : `${plant.id}: NOT found with ${plant.seeds} seeds (${plant.explain})`,
      )
    }
  }
  await Promise.all(Array.from({ length: PROCESSES }, work))
  console.log(`${found} of ${list.length} planted bugs found`)
  return found === list.length
}

const only = values.only
const good = values.plants
  ? await plants(only ? PLANTS.filter(({ id }) => id === only) : PLANTS)
  : values.seed
    ? await replay(Number(values.seed))
    : await many(Number(values.first), Number(values.seeds))
if (!good) process.exitCode = 1
