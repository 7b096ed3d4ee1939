// Figures of a run: how long it took until messages flowed again, from journals and the times of the kills.
import type { Line } from '../clients/journal.ts'
import type { Written } from './checker.ts'
import type { Killed } from './conductor.ts'
import { HOMES } from './stage.ts'

/** A message on its way, times in `sharedMs`. */
type Arrival = { readonly from: string; readonly to: string; readonly saidMs: number; readonly gotMs: number }

export type Spread = { readonly p50: number; readonly p99: number; readonly max: number }

/** Ascending by arrival. What was taken by a device that died before it wrote it down is not among them. */
function arrivalsOf(written: readonly Written[]): Arrival[] {
  const nameOf = new Map(written.map(({ userId, name }) => [userId, name]))
  const said = new Map<string, number>()
  for (const { lines } of written) for (const line of lines) if (line[0] === 'say') said.set(line[3], line[4])
  const gots = written.flatMap(({ name, lines }) =>
    lines.filter((line): line is Line & { 0: 'got' } => line[0] === 'got').map((line) => ({ to: name, line })),
  )
  return gots
    .flatMap(({ to, line: [, from, , , , text, gotMs] }): Arrival[] => {
      const saidMs = said.get(text)
      return saidMs === undefined ? [] : [{ from: nameOf.get(from) ?? from, to, saidMs, gotMs }]
    })
    .sort((a, b) => a.gotMs - b.gotMs)
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}

/** Whoever lives there, or is it. */
const isOf = (killed: string, person: string): boolean => person === killed || HOMES[person] === killed

/** From each kill until something arrived that was said afterwards, by or to those who were cut off by it. */
function recoveries(kills: readonly Killed[], arrivals: readonly Arrival[]): number[] {
  return kills.flatMap(({ name, atMs, upMs }) => {
    if (upMs === undefined) return []
    const first = arrivals.find(({ from, to, saidMs }) => saidMs > atMs && (isOf(name, from) || isOf(name, to)))
    return first ? [first.gotMs - atMs] : []
  })
}

/** The longest time within `periods` in which nothing came from one person to another. */
function longestPause(arrivals: readonly Arrival[], periods: readonly (readonly [number, number])[]): number {
  const byWay = new Map<string, number[]>()
  for (const { from, to, gotMs } of arrivals) {
    const way = `${from} ${to}`
    const times = byWay.get(way)
    if (times) times.push(gotMs)
    else byWay.set(way, [gotMs])
  }
  let longest = 0
  for (const times of byWay.values()) {
    for (const [began, ended] of periods) {
      const inside = times.filter((ms) => ms > began && ms < ended)
      for (const [i, ms] of [...inside, ended].entries()) longest = Math.max(longest, ms - (inside[i - 1] ?? began))
    }
  }
  return longest
}

export type Figures = {
  /** From a kill to the ready line. */
  readonly ready: Spread
  readonly recovery: Spread
  /** From being said to arriving, whatever happened meanwhile. */
  readonly latency: Spread
  readonly longestPauseMs: number
  readonly draining: Spread
}

export function figuresOf(
  written: readonly Written[],
  kills: readonly Killed[],
  periods: readonly (readonly [number, number])[],
  drainedMs: readonly number[],
): Figures {
  const arrivals = arrivalsOf(written)
  return {
    ready: spreadOf(kills.flatMap(({ atMs, upMs }) => (upMs === undefined ? [] : [upMs - atMs]))),
    recovery: spreadOf(recoveries(kills, arrivals)),
    latency: spreadOf(arrivals.map(({ saidMs, gotMs }) => gotMs - saidMs)),
    longestPauseMs: longestPause(arrivals, periods),
    draining: spreadOf(drainedMs),
  }
}
