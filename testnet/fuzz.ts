// npm run fuzz: every decoder of bytes from outside against changed inputs. Says what was found and what was reached.
import { systemClock } from '#protocol'
import { keepInput } from './fuzz/corpus.ts'
import { COVERED_EXECUTIONS, EXECUTIONS, PROGRESS_MS } from './fuzz/limits.ts'
import { decodersOf, FOLDERS, type Folder } from './fuzz/registry.ts'
import { type Outcome, runAll, type Watched } from './fuzz/run.ts'
import { readOptions, Usage, wholeNumber } from './usage.ts'

const HELP = `npm run fuzz -- [--executions N] [--decoder NAME] [--seed N] [--unreached] [--list]

  --executions N   of each decoder (default ${EXECUTIONS})
  --decoder NAME   those whose name has NAME in it (--list shows all)
  --seed N         another choice of inputs (default 1)
  --unreached      show the lines that no input came to
  --list           names of all decoders

What is reached is counted in the first ${COVERED_EXECUTIONS} executions of each.
Failing inputs are kept as files below testnet/fuzz/corpus and are tried first from then on, by npm test too.`

const OPTIONS = {
  executions: { type: 'string', default: `${EXECUTIONS}` },
  decoder: { type: 'string', default: '' },
  seed: { type: 'string', default: '1' },
  unreached: { type: 'boolean', default: false },
  list: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const

type Options = ReturnType<typeof readOptions<typeof OPTIONS>>

const kib = (bytes: number): string => `${(bytes / 1024).toFixed(0)} KiB`

const COLUMNS = ['decoder', 'executions', 'CPU each', 'taken', 'outcomes', 'slowest', 'most memory', 'reached'] as const
const WIDTHS = [34, 10, 8, 7, 9, 9, 22, 0]
const row = (cells: readonly string[]): string =>
  cells.map((cell, i) => (i === 0 ? cell.padEnd(WIDTHS[i]!) : cell.padStart(WIDTHS[i]!))).join(' ')

function show({ findings, covered }: Outcome, unreached: boolean): void {
  const { name, executions, busyMs, accepted, outcomes, slowestMs, most } = findings
  const reached = covered
    ? `  ${covered.functions} functions, ${covered.reachedPercent.toFixed(0)} % of their code`
    : '  ?'
  const each = `${((1_000 * busyMs) / Math.max(1, executions)).toFixed(0)} µs`
  const taken = `${((100 * accepted) / Math.max(1, executions)).toFixed(1)} %`
  const memory = `${kib(most.madeBytes)} of ${most.bytes} B`
  console.log(row([name, `${executions}`, each, taken, `${outcomes}`, `${slowestMs.toFixed(1)} ms`, memory, reached]))
  for (const fault of findings.faults) {
    const file = fault.kept ?? keepInput(findings, fault.bytes)
    console.log(`  FOUND ${fault.what}\n  input of ${fault.bytes.length} bytes: ${file}`)
  }
  if (unreached) for (const line of covered?.unreached ?? []) console.log(`  not reached: ${line}`)
}

async function main(values: Options): Promise<boolean> {
  const executions = wholeNumber(values.executions, 'executions', 1)
  const seed = wholeNumber(values.seed, 'seed', 0)
  const lists = await Promise.all(
    (Object.keys(FOLDERS) as Folder[]).map(async (folder) =>
      (await decodersOf(folder)).map((decoder) => ({ folder, decoder })),
    ),
  )
  const jobs = lists.flat().filter(({ decoder }) => decoder.name.includes(values.decoder))
  if (values.list) for (const { decoder } of jobs) console.log(decoder.name)
  if (values.list) return true
  if (jobs.length === 0) throw new Usage(`no decoder has "${values.decoder}" in its name; --list shows all`)
  console.log(`${jobs.length} decoders, ${executions} executions each, seed ${seed}\n\n${row(COLUMNS)}`)
  const started = systemClock.monotonic()
  const running = new Set<Watched>()
  let found = 0
  let busy = 0
  let done = 0
  const progress = (): void => {
    const shown = [...running].map((it) => `${it.name} ${((100 * it.done()) / executions).toFixed(0)} %`).join(', ')
    console.log(`… ${done} of ${jobs.length} done; ${shown}`)
    timer = systemClock.after(PROGRESS_MS, progress)
  }
  let timer = systemClock.after(PROGRESS_MS, progress)
  const outcome = (one: Outcome): void => {
    done++
    found += one.findings.faults.length
    busy += one.findings.busyMs
    show(one, values.unreached)
  }
  await runAll(jobs, { seed, executions, running, outcome })
  timer.cancel()
  const seconds = ((systemClock.monotonic() - started) / 1_000).toFixed(0)
  console.log(
    `\n${jobs.length} decoders, ${jobs.length * executions} executions in ${seconds} s (${(busy / 1_000).toFixed(0)} s of CPU), ${found} found`,
  )
  return found === 0
}

async function run(): Promise<void> {
  // Some examples wait for a commit in memory, and timers alone keep no process alive.
  const hold = new MessageChannel()
  hold.port1.ref()
  try {
    const values = readOptions(OPTIONS)
    if (values.help) console.log(HELP)
    else if (!(await main(values))) process.exitCode = 1
  } catch (error) {
    if (!(error instanceof Usage)) throw error
    console.error(`fuzz: ${error.message}. See npm run fuzz -- --help`)
    process.exitCode = 2
  } finally {
    hold.port1.close()
  }
}

await run()
