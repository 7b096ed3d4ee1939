// npm run sim: runs the simulator and says what it found. See --help.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { systemClock } from '#protocol'
import { ABOUT, type About, seedsAbout } from './simulator/about.ts'
import type { Scene } from './simulator/acts.ts'
import { findPlant } from './simulator/find-plant.ts'
import { PLANTS, type Plant } from './simulator/plants.ts'
import { addReach, neverReached, type Reach } from './simulator/reach.ts'
import { runScene } from './simulator/run.ts'
import { runSeeds } from './simulator/run-seeds.ts'
import { sceneOf } from './simulator/scene.ts'
import FAILED_ONCE from './simulator/seeds.json' with { type: 'json' }
import { shrink, tell } from './simulator/shrink.ts'
import { STORIES, storyOf } from './simulator/stories.ts'
import { wholeNumber } from './usage.ts'

const PROCESSES = 2
const PROGRESS_MS = 10_000
const SHOWN_MAX = 6
/** From so many seeds on everything must have been reached. */
const REACH_SEEDS = 1_000
const SHRINK_PLAYS = 1_500

const KINDS = Object.keys(ABOUT) as About[]

const HELP = `npm run sim -- [options]

Runs the rules of relays and clients in one process, on a virtual clock, over a network, disks and processes that fail,
and checks what Parley promises. One seed is one story: at least 3 regions, 12 people, 100 messages and 5 faults.

  --seeds N      how many seeds (1000); those that ever failed come first
  --first S      the first of them (1)
  --about KIND   only stories in which ${KINDS.map((it) => `${ABOUT[it]} (${it})`).join(',\n                 ')}
  --seed S       only this one; the same seed ends with the same trace hash on every machine
    --trace      what happens, line by line
    --shrink     if it fails: a story as short as possible that fails in the same way, in words
    --story      of this seed the kept story, as it was shrunk when it failed
    --plays N    how often it may be played for that (${SHRINK_PLAYS})
  --plants       looks for planted bugs, each within its number of seeds; --only ID for one of them
  --plant ID     runs with this bug in place
  --help`

const OPTIONS = {
  seeds: { type: 'string', default: '1000' },
  first: { type: 'string', default: '1' },
  about: { type: 'string' },
  seed: { type: 'string' },
  trace: { type: 'boolean', default: false },
  shrink: { type: 'boolean', default: false },
  story: { type: 'boolean', default: false },
  plays: { type: 'string', default: `${SHRINK_PLAYS}` },
  plants: { type: 'boolean', default: false },
  plant: { type: 'string' },
  only: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

const values = readOptions()

function readOptions() {
  try {
    return parseArgs({ options: OPTIONS }).values
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${HELP}`)
    process.exit(2)
  }
}

function aboutOf(text: string | undefined): About | undefined {
  const kind = KINDS.find((it) => it === text)
  if (text !== undefined && !kind) throw new Error(`--about takes one of ${KINDS.join(', ')}, not "${text}"`)
  return kind
}

function show(seed: number, violations: readonly string[]): void {
  const kept = STORIES.some((story) => story.seed === seed) ? ' [--story]' : ''
  console.log(`seed ${seed}: ${violations.length} violations; in short: npm run sim -- --seed ${seed} --shrink${kept}`)
  for (const what of violations.slice(0, SHOWN_MAX)) console.log(`  ${what}`)
  if (violations.length > SHOWN_MAX) console.log(`  … and ${violations.length - SHOWN_MAX} more`)
}

const sceneFor = (seed: number): Scene => (values.story ? storyOf(seed) : sceneOf(seed))

/** One seed, here. */
async function replay(seed: number): Promise<boolean> {
  const told = values.trace ? (line: string) => console.log(line) : undefined
  const outcome = await runScene(sceneFor(seed), told)
  const { violations, traceHash, reach } = outcome
  const faults = Object.entries(reach).filter(([what]) => what.startsWith('act ')).length
  if (violations.length > 0) show(seed, violations)
  else console.log(`seed ${seed}: ${reach.said} messages, ${faults} kinds of acts, all promises held`)
  console.log(`trace ${traceHash}`)
  return violations.length === 0
}

async function inShort(seed: number): Promise<boolean> {
  const plays = wholeNumber(values.plays, 'plays', 0)
  const shrunk = await shrink(sceneFor(seed), { plays, progress: (line) => console.log(`  ${line}`) })
  if (!shrunk) {
    console.log(`seed ${seed}: all promises held, there is nothing to shrink`)
    return true
  }
  console.log(`seed ${seed} in ${shrunk.scene.acts.length} acts, after ${shrunk.played} plays:`)
  for (const line of tell(shrunk)) console.log(line)
  return false
}

async function many(first: number, count: number, about: About | undefined): Promise<boolean> {
  const range = seedsAbout(about, first, count)
  const seeds = about ? range : [...STORIES, ...new Set([...FAILED_ONCE, ...range])]
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
  for (const [what, n] of Object.entries(reach).sort()) console.log(`  ${what.padEnd(44)} ${n}`)
  const never = count < REACH_SEEDS || about ? [] : neverReached(reach)
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
          ? `${plant.id}: found with seed ${finding.seed}, number ${finding.tried} of ${plant.seeds}: ${finding.what.slice(0, 160)}`
          : `${plant.id}: NOT found with ${plant.seeds} seeds (${plant.explain})`,
      )
    }
  }
  await Promise.all(Array.from({ length: PROCESSES }, work))
  console.log(`${found} of ${list.length} planted bugs found`)
  return list.length > 0 && found === list.length
}

/** The same again in a process that patches the rules as it loads them. */
function withPlant(id: string): boolean {
  const hook = new URL('./simulator/plant-hook.ts', import.meta.url).href
  const args = ['--import', hook, fileURLToPath(import.meta.url), ...process.argv.slice(2)]
  const { status } = spawnSync(process.execPath, args, {
    env: { ...process.env, SIM_PLANT: id },
    stdio: 'inherit',
  })
  return status === 0
}

async function main(): Promise<boolean> {
  if (values.help) {
    console.log(HELP)
    return true
  }
  if (values.plant !== undefined && process.env.SIM_PLANT === undefined) return withPlant(values.plant)
  if (values.plants) return plants(values.only ? PLANTS.filter(({ id }) => id === values.only) : PLANTS)
  if (values.seed === undefined)
    return many(wholeNumber(values.first, 'first', 0), wholeNumber(values.seeds, 'seeds', 0), aboutOf(values.about))
  const seed = wholeNumber(values.seed, 'seed', 0)
  return values.shrink ? inShort(seed) : replay(seed)
}

try {
  if (!(await main())) process.exitCode = 1
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
