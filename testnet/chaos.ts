// `npm run chaos`: relays, entry node and clients as real processes with faults between them, and a judge who reads only
// what the clients wrote down and what their devices hold. See --help.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, systemRandom } from '#protocol'
import { FAULTS_A_MINUTE_MIN, KILLS, ROUNDS } from './chaos/limits.ts'
import { STORE_PLANTS } from './chaos/plants.ts'
import { summaryOf, table } from './chaos/report.ts'
import { type Run, run } from './chaos/run.ts'
import type { Planted } from './chaos/stage.ts'
import { PLANTS } from './simulator/plants.ts'
import { readOptions, Usage, wholeNumber } from './usage.ts'

const HELP = `npm run chaos -- [options]

Five relays, an entry node and six clients, all real processes, at half of the load that they can bear, while they are
killed, stopped and cut off, their disks fail and their clocks are wrong. Ends with 0 if no message that was acknowledged
is lost, doubled, out of order or different at its two ends, and everything has arrived once all is well again.

  --kills N      how many processes are killed; default ${KILLS}. More than ${KILLS} are several runs, each with a new network
  --minutes M    how many rounds, of about a minute each, with --kills divided among them; default one for each ${Math.round(KILLS / ROUNDS)} kills
  --seed S       what happens when; default: by chance, and printed
  --json FILE    writes everything that was measured there
  --plant NAME   runs with a bug planted, and ends with 0 if it is found; ${STORE_PLANTS.map(({ id }) => id).join(', ')},
                 or one of the simulator's
  --keep         keeps data, logs and journals even if all went well

Examples:
  npm run chaos                        ${KILLS} kills in ${ROUNDS} rounds
  npm run chaos -- --minutes 1         a short one
  npm run chaos -- --kills 5000        some hours
  npm run chaos -- --minutes 1 --plant commit-not-synced`

const SEEDS = 2 ** 31
const SHOWN_MAX = 20
const say = (line: string): void => console.log(line)

/** One of this run's own, or of the simulator's: both patch sources as they load. */
function planted(id: string | undefined): Planted | undefined {
  if (id === undefined) return undefined
  const all = [...STORE_PLANTS, ...PLANTS]
  const plant = all.find((it) => it.id === id)
  if (!plant) throw new Usage(`no plant is called ${id}; there are ${all.map((it) => it.id).join(', ')}`)
  const hook = new URL('simulator/plant-hook.ts', import.meta.url).href
  const preload = { args: ['--import', hook], env: { SIM_PLANT: id } }
  return { in: plant.file.startsWith('client/') ? 'clients' : 'relays', preload }
}

const OPTIONS = {
  kills: { type: 'string' },
  minutes: { type: 'string' },
  seed: { type: 'string' },
  json: { type: 'string' },
  plant: { type: 'string' },
  keep: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

function optionsOf() {
  const values = readOptions(OPTIONS)
  const minutes = values.minutes === undefined ? undefined : wholeNumber(values.minutes, 'minutes', 1)
  const kills =
    values.kills === undefined
      ? Math.round((KILLS / ROUNDS) * (minutes ?? ROUNDS))
      : wholeNumber(values.kills, 'kills', 0)
  const rounds = minutes ?? Math.max(1, Math.ceil((kills / KILLS) * ROUNDS))
  const seed =
    values.seed === undefined ? Math.floor(systemRandom.fraction() * SEEDS) : wholeNumber(values.seed, 'seed', 0)
  return { kills, rounds, seed, json: values.json, keep: values.keep, plant: planted(values.plant), help: values.help }
}

type Options = ReturnType<typeof optionsOf>

/** Each with a network of its own, so that nothing grows without end. */
async function runAll({ kills, rounds, seed, plant, keep }: Options, dir: string): Promise<Run[]> {
  const runs: Run[] = []
  const count = Math.ceil(rounds / ROUNDS)
  const hung = (): void => {
    say(`\nFAILED: it hangs. Data, logs and journals are in ${dir}`)
    process.exit(1)
  }
  for (let i = 0; i < count; i++) {
    const share = (whole: number, at: number): number => Math.floor((whole * at) / count)
    const options = { kills: share(kills, i + 1) - share(kills, i), rounds: share(rounds, i + 1) - share(rounds, i) }
    const done = await run({ ...options, seed: seed + i, dir: join(dir, `${seed + i}`), plant, say, hung })
    runs.push(done)
    if (done.violations.length > 0) break
    if (!keep) await rm(join(dir, `${seed + i}`), { recursive: true, force: true, maxRetries: 5 })
  }
  return runs
}

async function main(options: Options): Promise<boolean> {
  const dir = await mkdtemp(join(tmpdir(), 'parley-chaos-'))
  try {
    return await runIn(dir, options)
  } catch (error) {
    say(`\nFAILED: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    say(`data, logs and journals are in ${dir}`)
    return false
  }
}

async function runIn(dir: string, options: Options): Promise<boolean> {
  const { json, keep, seed, plant } = options
  const began = systemClock.monotonic()
  const runs = await runAll(options, dir)
  const summary = summaryOf(runs)
  say(`\n${table(summary)}`)
  if (json !== undefined) await writeFile(json, `${JSON.stringify({ seed, summary, runs }, undefined, 1)}\n`)
  const violations = runs.flatMap((it) => it.violations)
  for (const { class: kind, what } of violations.slice(0, SHOWN_MAX)) say(`  ${kind}: ${what}`)
  if (violations.length > SHOWN_MAX) say(`  … and ${violations.length - SHOWN_MAX} more`)
  const held = violations.length === 0
  const good = plant ? !held : held && summary.faultsAMinute >= FAULTS_A_MINUTE_MIN
  if (good && !keep) await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  else say(`data, logs and journals are in ${dir}`)
  const seconds = `${((systemClock.monotonic() - began) / 1000).toFixed(0)} s, seed ${seed}`
  if (plant) say(`\nThe planted bug was ${held ? 'NOT found' : 'found'}. ${seconds}`)
  else say(good ? `\nAll promises held. ${seconds}` : `\nFAILED. ${seconds}`)
  return good
}

try {
  const options = optionsOf()
  if (options.help) say(HELP)
  else process.exitCode = (await main(options)) ? 0 : 1
} catch (error) {
  if (!(error instanceof Usage)) throw error
  console.error(`chaos: ${error.message}. See npm run chaos -- --help`)
  process.exitCode = 2
}
