// What `npm run bench` is told, and what it does not take.
import { readOptions, Usage } from '../usage.ts'
import type { Row } from './row.ts'
import { ROWS } from './rows.ts'

export const HELP = `npm run bench -- [options]

  --only NAME       one row; may be given several times
  --json FILE       everything as JSON, for programs
  --plots DIR       drawings (SVG) of latency over load
  --full            the large sizes (an hour rather than minutes)
  --dir DIR         where stores go while it runs, in a directory of their own below it: on the disk that is to be measured
  --relay ORIGIN    rows that can do it drive this relay instead of starting one (no figures of its CPU time then)
  --cpu-prof DIR    relays write a CPU profile when they end
  --pairs N, --flight N, --seconds N   instead of what a row would take
  --help

Rows:
${ROWS.map(({ name, title }) => `  ${name.padEnd(17)} ${title}`).join('\n')}

A target that is missed is shown as missed; it is not an error. A row that could not be measured is one, and so is a FAULT:
what a relay did that none may do. Then it ends with 1. testnet/bench/README.md says how each row is measured.`

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

type Values = ReturnType<typeof readOptions<typeof OPTIONS>>

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
  if (relay === undefined) return chosen
  const able = ROWS.filter(({ elsewhere }) => elsewhere).map(({ name }) => name)
  const not = only?.find((name) => !able.includes(name))
  if (not !== undefined)
    throw new Usage(`the row ${not} cannot drive a relay that runs already; ${able.join(', ')} can`)
  return chosen.filter(({ elsewhere }) => elsewhere)
}

function relayOrigin({ relay }: Values): string | undefined {
  if (relay === undefined) return undefined
  const url = URL.parse(relay)
  if (!url || !/^https?:$/.test(url.protocol)) throw new Usage(`--relay is an origin like http://127.0.0.1:4100`)
  return url.origin
}

/** Throws Usage. */
export function benchOptions(args: readonly string[]) {
  const values = readOptions(OPTIONS, args)
  return {
    ...values,
    relay: relayOrigin(values),
    rows: chosenRows(values),
    measured: {
      pairs: count(values, 'pairs'),
      flight: count(values, 'flight'),
      seconds: count(values, 'seconds'),
      full: values.full,
    },
  }
}

export type BenchOptions = ReturnType<typeof benchOptions>
