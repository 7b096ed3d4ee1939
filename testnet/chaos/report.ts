// What the terminal shows at the end.
import { CLASSES } from './checker.ts'
import type { Spread } from './figures.ts'
import { spreadOf } from './figures.ts'
import { FAULTS_MS } from './limits.ts'
import type { Run } from './run.ts'

const MINUTE_MS = 60_000
const ms = (value: number): string => (Number.isNaN(value) ? '–' : `${value.toFixed(0)} ms`)
const spread = ({ p50, p99, max }: Spread): string => `p50 ${ms(p50)}, p99 ${ms(p99)}, max ${ms(max)}`

function counted(list: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const it of list) counts.set(it, (counts.get(it) ?? 0) + 1)
  return [...counts]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([what, count]) => `${count} ${what}`)
    .join(', ')
}

export type Summary = {
  readonly rows: readonly (readonly [what: string, figure: string])[]
  readonly faultsAMinute: number
  readonly kills: number
  readonly violations: number
}

/** Several runs are one table: the worst of the worst, all of the rest. */
export function summaryOf(runs: readonly Run[]): Summary {
  const kills = runs.flatMap(({ conducted }) => conducted.kills)
  const happened = runs.flatMap(({ conducted }) => conducted.happened)
  const violations = runs.flatMap((it) => it.violations)
  const faultsMs = runs.reduce((sum, it) => sum + it.faultsMs, 0)
  // A run that never came to its faults had none.
  const faultsAMinute = faultsMs === 0 ? 0 : ((kills.length + happened.length) / faultsMs) * MINUTE_MS
  const sum = (of: (run: Run) => number): number => runs.reduce((all, it) => all + of(it), 0)
  const worst = (of: (run: Run) => Spread): Spread => {
    const all = runs.map(of)
    return {
      p50: spreadOf(all.map((it) => it.p50)).p50,
      p99: Math.max(...all.map((it) => it.p99)),
      max: Math.max(...all.map((it) => it.max)),
    }
  }
  const power = kills.filter(({ lostBytes }) => lostBytes !== undefined)
  const lost = power.reduce((all, { lostBytes }) => all + (lostBytes ?? 0), 0)
  const counts = CLASSES.map((kind) => `${violations.filter((it) => it.class === kind).length} ${kind}`)
  return {
    rows: [
      [
        'faults',
        `${faultsMs / FAULTS_MS} rounds of ${FAULTS_MS / 1000} s, ${faultsAMinute.toFixed(0)} faults a minute`,
      ],
      ['kills', `${kills.length}: ${counted(kills.map(({ kind }) => kind))}`],
      ['power failures', `${power.length} of them, ${lost} bytes that were not fsynced lost`],
      ['other faults', counted(happened.map(({ what }) => what))],
      ['load', runs.map(({ load, capacity }) => `${load.toFixed(0)}/s of ${capacity.toFixed(0)}/s`).join(', ')],
      [
        'messages',
        `${sum((it) => it.verdict.counts.said)} said, ${sum((it) => it.verdict.counts.held)} held, ${sum((it) => it.verdict.counts.sequenced)} told their place, ${sum((it) => it.verdict.counts.received)} told on arrival`,
      ],
      ['from said to arrived', spread(worst((it) => it.figures.latency))],
      ['from kill to ready', spread(worst((it) => it.figures.ready))],
      ['from kill to delivery', spread(worst((it) => it.figures.recovery))],
      ['longest pause', ms(Math.max(...runs.map((it) => it.figures.longestPauseMs)))],
      ['time to drain', spread(worst((it) => it.figures.draining))],
      ['violations', counts.join(', ')],
    ],
    faultsAMinute,
    kills: kills.length,
    violations: violations.length,
  }
}

export function table({ rows }: Summary): string {
  const width = Math.max(...rows.map(([what]) => what.length))
  return rows.map(([what, figure]) => `${what.padEnd(width)}  ${figure}`).join('\n')
}
