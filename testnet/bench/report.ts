// How results look, and how quiet the machine was meanwhile.
import { readFile } from 'node:fs/promises'
import { systemClock } from '#protocol'
import { type Figure, isMet, type Outcome, type Row } from './row.ts'

export type Result = {
  readonly row: Row
  readonly outcome: Outcome | undefined
  readonly error: Error | undefined
  readonly seconds: number
  /** Cores' worth of CPU time that the whole machine used meanwhile, and of it what it waited for its host; NaN if unknown. */
  readonly machineBusy: number
  readonly stolen: number
}

const TICKS_PER_SECOND = 100

/** Seconds of CPU time of the whole machine: used, and stolen by its host. */
async function machineSeconds(): Promise<{ used: number; stolen: number }> {
  const text = await readFile('/proc/stat', 'utf8').catch(() => '')
  const [user, nice, system, , , irq, softirq, steal] = text.split('\n', 1)[0]!.split(/\s+/).slice(1).map(Number)
  const ticks = (user ?? NaN) + (nice ?? 0) + (system ?? 0) + (irq ?? 0) + (softirq ?? 0)
  return { used: ticks / TICKS_PER_SECOND, stolen: (steal ?? NaN) / TICKS_PER_SECOND }
}

/** Begins to listen; the answer says how long it took and how busy the machine was. */
export async function hearing(): Promise<() => Promise<Pick<Result, 'seconds' | 'machineBusy' | 'stolen'>>> {
  const before = { ...(await machineSeconds()), ms: systemClock.monotonic() }
  return async () => {
    const after = await machineSeconds()
    const seconds = (systemClock.monotonic() - before.ms) / 1_000
    return {
      seconds,
      machineBusy: (after.used - before.used) / seconds,
      stolen: (after.stolen - before.stolen) / seconds,
    }
  }
}

export const shown = (value: number): string => {
  if (Number.isNaN(value)) return '–'
  const size = Math.abs(value)
  if (size >= 1_000) return Math.round(value).toLocaleString('en')
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)
}

function line(figure: Figure): string {
  const { name, value, unit, target } = figure
  const wanted = target ? `${target.is === 'at least' ? '≥' : '≤'} ${shown(target.value)}` : ''
  const met = isMet(figure)
  const judged = met === undefined ? (target ? 'not measured' : '') : met ? 'met' : 'MISSED'
  return `  ${name.padEnd(52)}${shown(value).padStart(12)} ${unit.padEnd(11)} ${wanted.padEnd(10)} ${judged}`.trimEnd()
}

export function table({ row, outcome, error, seconds, machineBusy, stolen }: Result): string {
  const busy = `machine: ${shown(machineBusy)} cores busy, ${shown(stolen)} stolen, ${seconds.toFixed(0)} s`
  if (!outcome) return `\n${row.title} [${row.name}]\n  NOT MEASURED: ${error?.message}\n  ${busy}`
  const { figures, notes } = outcome
  return [`\n${row.title} [${row.name}]`, ...figures.map(line), ...[...notes, busy].map((note) => `  ${note}`)].join(
    '\n',
  )
}

export function verdict(results: readonly Result[], ms: number): string {
  const figures = results.flatMap(({ outcome }) => outcome?.figures ?? [])
  const judged = figures.map(isMet).filter((met) => met !== undefined)
  const met = judged.filter((it) => it).length
  const failed = results.filter(({ error }) => error !== undefined).length
  const not = failed > 0 ? `; ${failed} rows could not be measured` : ''
  return `\n${met} of ${judged.length} targets met${not}. ${(ms / 1_000).toFixed(0)} s.`
}

/** The plot's points are in it; a figure says whether its target is met. */
export function asJson({ row, outcome, error, ...more }: Result): object {
  const figures = outcome?.figures.map((it) => ({ ...it, met: isMet(it) }))
  return {
    name: row.name,
    title: row.title,
    ...more,
    ...(outcome ? { ...outcome, figures } : { error: error?.message }),
  }
}
