// npm run bench: what a relay and a client can do, measured in one run on this machine, beside what it should be.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '#protocol'
import { svgOf } from './bench/plot.ts'
import { asJson, hearing, type Result, table, verdict } from './bench/report.ts'
import type { Row, RowOptions } from './bench/row.ts'
import { ROWS } from './bench/rows.ts'
import { openStage, type Stage } from './bench/stage.ts'

const HELP = `npm run bench -- [options]

  --only NAME       one row; may be given several times
  --json FILE       everything as JSON, for programs
  --plots DIR       drawings (SVG) of latency over load
  --full            the large sizes (an hour rather than minutes)
  --dir DIR         where stores go while it runs: a directory on the disk that is to be measured
  --relay ORIGIN    rows that can do it drive this relay instead of starting one (no figures of its CPU time then)
  --cpu-prof DIR    relays write a CPU profile when they end
  --pairs N, --flight N, --seconds N   instead of what a row would take
  --help

Rows:
${ROWS.map(({ name, title }) => `  ${name.padEnd(17)} ${title}`).join('\n')}

A target that is missed is shown as missed; it is not an error. testnet/bench/README.md says how each row is measured.`

class Usage extends Error {}

const OPTIONS = {
  only: { type: 'string', multiple: true },
  json: { type: 'string' },
  plots: { type: 'string' },
  full: { type: 'boolean', default: false },
  dir: { type: 'string' },
  relay: { type: 'string' },
  'cpu-prof': { type: 'string' },
  pairs: { type: 'string' },
  flight: { type: 'string' },
  seconds: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

function parsed() {
  try {
    return parseArgs({ options: OPTIONS }).values
  } catch (error) {
    throw new Usage(error instanceof Error ? error.message : String(error))
  }
}

type Values = ReturnType<typeof parsed>

function count(values: Values, name: 'pairs' | 'flight' | 'seconds'): number | undefined {
  const text = values[name]
  if (text === undefined) return undefined
  const value = Number(text)
  if (!(value > 0) || (name !== 'seconds' && !Number.isInteger(value)))
    throw new Usage(`--${name} is a number above 0, not ${text}`)
  return value
}

function chosenRows({ only, relay }: Values): readonly Row[] {
  const unknown = only?.find((name) => !ROWS.some((row) => row.name === name))
  if (unknown !== undefined) throw new Usage(`no row ${unknown}; there are ${ROWS.map(({ name }) => name).join(', ')}`)
  const chosen = only ? ROWS.filter(({ name }) => only.includes(name)) : ROWS
  return relay === undefined ? chosen : chosen.filter((row) => row.elsewhere)
}

function relayOrigin({ relay }: Values): string | undefined {
  if (relay === undefined) return undefined
  const url = URL.parse(relay)
  if (!url || !/^https?:$/.test(url.protocol)) throw new Usage(`--relay is an origin like http://127.0.0.1:4100`)
  return url.origin
}

const say = (text: string): void => void process.stderr.write(`${text}\n`)

async function runRows(rows: readonly Row[], options: RowOptions, stage: Stage): Promise<Result[]> {
  const results: Result[] = []
  for (const [i, row] of rows.entries()) {
    say(`${i + 1} of ${rows.length}, ${row.name}: ${row.title}`)
    const heard = await hearing()
    const result = await row.run(stage, options).then(
      (outcome) => ({ row, outcome, error: undefined }),
      (error: unknown) => ({ row, outcome: undefined, error: error instanceof Error ? error : new Error(`${error}`) }),
    )
    const whole: Result = { ...result, ...(await heard()) }
    results.push(whole)
    console.log(table(whole))
  }
  return results
}

async function write(values: Values, results: readonly Result[], machine: string, atMs: number): Promise<void> {
  if (values.plots !== undefined) {
    await mkdir(values.plots, { recursive: true })
    for (const { row, outcome } of results) {
      if (outcome?.plot) await writeFile(join(values.plots, `${row.name}.svg`), svgOf(outcome.plot))
    }
  }
  if (values.json !== undefined) {
    const rows = results.map(asJson)
    await writeFile(values.json, `${JSON.stringify({ machine, atMs, full: values.full, rows }, undefined, 2)}\n`)
  }
}

async function main(): Promise<boolean> {
  const values = parsed()
  if (values.help) {
    console.log(HELP)
    return true
  }
  const options = {
    pairs: count(values, 'pairs'),
    flight: count(values, 'flight'),
    seconds: count(values, 'seconds'),
    full: values.full,
  }
  const rows = chosenRows(values)
  const dir = values.dir ? join(values.dir, 'parley-bench') : await mkdtemp(join(tmpdir(), 'parley-bench-'))
  const [began, atMs] = [systemClock.monotonic(), systemClock.now()]
  try {
    const stage = await openStage({ dir, profiles: values['cpu-prof'], relay: relayOrigin(values), say })
    const machine = `${stage.placed.says}; Node ${process.versions.node}`
    console.log(machine)
    const results = await runRows(rows, options, stage)
    await write(values, results, machine, atMs)
    console.log(verdict(results, systemClock.monotonic() - began))
    return results.every(({ error }) => error === undefined)
  } finally {
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

try {
  if (!(await main())) process.exitCode = 1
} catch (error) {
  if (!(error instanceof Usage)) throw error
  say(`bench: ${error.message}\nNext: npm run bench -- --help`)
  process.exitCode = 2
}
