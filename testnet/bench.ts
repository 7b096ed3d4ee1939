// npm run bench: what a relay and a client can do, measured in one run on this machine, beside what it should be.
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '#protocol'
import { ownDirectory } from './bench/directory.ts'
import { type BenchOptions, benchOptions, HELP } from './bench/options.ts'
import { svgOf } from './bench/plot.ts'
import { asJson, hearing, isGood, type Result, table, verdict } from './bench/report.ts'
import type { Row, RowOptions } from './bench/row.ts'
import { openStage, type Stage } from './bench/stage.ts'
import { Usage } from './usage.ts'

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

async function write(values: BenchOptions, results: readonly Result[], machine: string, atMs: number): Promise<void> {
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
  const options = benchOptions(process.argv.slice(2))
  if (options.help) {
    console.log(HELP)
    return true
  }
  const { rows, measured, relay } = options
  const dir = await ownDirectory(options.dir)
  const [began, atMs] = [systemClock.monotonic(), systemClock.now()]
  try {
    const stage = await openStage({ dir, profiles: options['cpu-prof'], relay, say })
    const machine = `${stage.placed.says}; Node ${process.versions.node}`
    console.log(machine)
    const results = await runRows(rows, measured, stage)
    await write(options, results, machine, atMs)
    console.log(verdict(results, systemClock.monotonic() - began))
    return results.every(isGood)
  } finally {
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

try {
  if (!(await main())) process.exitCode = 1
} catch (error) {
  if (!(error instanceof Usage)) throw error
  say(`bench: ${error.message}. See npm run bench -- --help`)
  process.exitCode = 2
}
