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
  /** How long a fixed piece of work took before and after, on average, ms: how fast the machine was meanwhile. */
  readonly workMs: number
}

/** CPU time a message of a server that only passes frames on, where the targets were set; and where it is measured. */
const FORWARDER_US = 11
const FORWARDER_ROW = 'relay'
const FORWARDER_FIGURE = 'CPU a message, forwarder'

const TICKS_PER_SECOND = 100

/** Seconds of CPU time of the whole machine: used, and stolen by its host. */
async function machineSeconds(): Promise<{ used: number; stolen: number }> {
  const text = await readFile('/proc/stat', 'utf8').catch(() => '')
  const [user, nice, system, , , irq, softirq, steal] = text.split('\n', 1)[0]!.split(/\s+/).slice(1).map(Number)
  const ticks = (user ?? NaN) + (nice ?? 0) + (system ?? 0) + (irq ?? 0) + (softirq ?? 0)
  return { used: ticks / TICKS_PER_SECOND, stolen: (steal ?? NaN) / TICKS_PER_SECOND }
}

const WORK_STEPS = 5_000_000
const WORK_TIMES = 5

/** A fixed piece of work, the fastest of a few times: a clock of what one core does. */
function workMs(): number {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < WORK_TIMES; i++) {
    const from = systemClock.monotonic()
    let sum = 1
    for (let step = 0; step < WORK_STEPS; step++) sum = Math.imul(sum ^ step, 0x9e3779b1) >>> 1
    if (sum >= 0) best = Math.min(best, systemClock.monotonic() - from)
  }
  return best
}

/** Begins to listen; the answer says how long it took, and how busy and how fast the machine was. */
export async function hearing(): Promise<() => Promise<Pick<Result, 'seconds' | 'machineBusy' | 'stolen' | 'workMs'>>> {
  const worked = workMs()
  const before = { ...(await machineSeconds()), ms: systemClock.monotonic() }
  return async () => {
    const after = await machineSeconds()
    const seconds = (systemClock.monotonic() - before.ms) / 1_000
    return {
      seconds,
      machineBusy: (after.used - before.used) / seconds,
      stolen: (after.stolen - before.stolen) / seconds,
      workMs: (worked + workMs()) / 2,
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

export function table({ row, outcome, error, seconds, machineBusy, stolen, workMs }: Result): string {
  const speed = `a fixed piece of work in ${shown(workMs)} ms`
  const busy = `machine: ${shown(machineBusy)} cores busy, ${shown(stolen)} stolen, ${speed}; ${seconds.toFixed(0)} s`
  if (!outcome) return `\n${row.title} [${row.name}]\n  NOT MEASURED: ${error?.message}\n  ${busy}`
  const { figures, notes, faults } = outcome
  const said = [...notes, ...faults.map((fault) => `FAULT: ${fault}`), busy].map((text) => `  ${text}`)
  return [`\n${row.title} [${row.name}]`, ...figures.map(line), ...said].join('\n')
}

/** Units of what a slower machine does more slowly. */
const TIMED: ReadonlySet<string> = new Set(['messages/s', 'sends/s', 'receives/s', 'µs', 'ms', 's'])

/** How long this machine takes to pass a frame on, µs, and the fixed piece of work meanwhile; if that row was run. */
function forwarderOf(results: readonly Result[]): { us: number; workMs: number } | undefined {
  const relay = results.find(({ row }) => row.name === FORWARDER_ROW)
  const us = relay?.outcome?.figures.find(({ name }) => name === FORWARDER_FIGURE)?.value
  return relay && us !== undefined && us > 0 ? { us, workMs: relay.workMs } : undefined
}

/** Which of the missed targets a machine would meet that is as fast as the one they are for, and as slow as this in nothing else. */
function atTheirPace(results: readonly Result[]): string[] {
  const forwarder = forwarderOf(results)
  if (!forwarder) return []
  const lines = results.flatMap(({ row, outcome, workMs }) => {
    const times = (forwarder.us / FORWARDER_US) * (workMs / forwarder.workMs)
    return (outcome?.figures ?? []).flatMap((figure) => {
      const { name, value, unit, target } = figure
      if (isMet(figure) !== false || !TIMED.has(unit)) return []
      const scaled = { ...figure, value: target!.is === 'at least' ? value * times : value / times }
      const judged = isMet(scaled) ? 'met' : 'MISSED'
      return `  ${row.name}, ${name}: ${shown(value)} → ${shown(scaled.value)} ${unit} (× ${shown(times)}), ${judged}`
    })
  })
  const here = `passing a frame on takes ${shown(forwarder.us)} µs here and ${FORWARDER_US} µs there`
  return [`\nWhat is missed, at the pace of the machine that the targets are for (${here}):`, ...lines]
}

/** It was measured, and nothing happened that must not; targets are another matter. */
export const isGood = ({ outcome }: Pick<Result, 'outcome'>): boolean => outcome?.faults.length === 0

export function verdict(results: readonly Result[], ms: number): string {
  const figures = results.flatMap(({ outcome }) => outcome?.figures ?? [])
  const judged = figures.map(isMet).filter((met) => met !== undefined)
  const met = judged.filter((it) => it).length
  const failed = results.filter(({ error }) => error !== undefined).length
  const not = failed > 0 ? `; ${failed} rows could not be measured` : ''
  const faulty = results.filter(({ outcome }) => (outcome?.faults.length ?? 0) > 0).map(({ row }) => row.name)
  const faults = faulty.length > 0 ? `; FAULTS in ${faulty.join(', ')}` : ''
  const sum = `\n${met} of ${judged.length} targets met${not}${faults}. ${(ms / 1_000).toFixed(0)} s.`
  return [...atTheirPace(results), sum].join('\n')
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
