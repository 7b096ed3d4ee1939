// npm run bench: what a relay and a client can do, measured in one run on this machine, beside what it should be.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { relayRow } from './bench/relay-row.ts'
import { type Figure, isMet, type Row } from './bench/row.ts'
import { openStage } from './bench/stage.ts'

const ROWS: readonly Row[] = [relayRow]

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    json: { type: 'string' },
    dir: { type: 'string' },
    full: { type: 'boolean', default: false },
    pairs: { type: 'string' },
    flight: { type: 'string' },
    seconds: { type: 'string' },
    relay: { type: 'string' },
    'cpu-prof': { type: 'string' },
  },
})

function count(name: 'pairs' | 'flight' | 'seconds'): number | undefined {
  const text = values[name]
  if (text === undefined) return undefined
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${name} is a number above 0, not ${text}`)
  return value
}

const shown = (value: number): string =>
  Math.abs(value) >= 1_000 ? Math.round(value).toLocaleString('en') : value.toFixed(Math.abs(value) >= 100 ? 0 : 2)

function line(figure: Figure): string {
  const { name, value, unit, target } = figure
  const wanted = target ? `${target.is === 'at least' ? '≥' : '≤'} ${shown(target.value)}` : ''
  const met = isMet(figure)
  const verdict = met === undefined ? '' : met ? 'met' : 'MISSED'
  return `  ${name.padEnd(44)}${shown(value).padStart(12)} ${unit.padEnd(12)} ${wanted.padEnd(12)} ${verdict}`
}

async function main(): Promise<void> {
  const options = { pairs: count('pairs'), flight: count('flight'), seconds: count('seconds'), full: values.full }
  const chosen = values.only ? ROWS.filter(({ name }) => values.only!.includes(name)) : ROWS
  const dir = values.dir ?? (await mkdtemp(join(tmpdir(), 'parley-bench-')))
  const say = (text: string): void => void process.stderr.write(`${text}\n`)
  const stage = await openStage({ dir, profiles: values['cpu-prof'], relay: values.relay, say })
  console.log(stage.placed.says)
  try {
    for (const row of chosen) {
      say(`${row.name}: ${row.title}`)
      const { figures, notes } = await row.run(stage, options)
      console.log(row.title)
      for (const figure of figures) console.log(line(figure))
      for (const note of notes) console.log(`  ${note}`)
    }
  } finally {
    if (!values.dir) await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

await main()
