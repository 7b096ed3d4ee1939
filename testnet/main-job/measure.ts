// Figures of one phase, from what both clients have remembered.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Times } from '../clients/orders.ts'
import { STALL_MS } from './limits.ts'

export type Kill = {
  readonly what: string
  readonly atMs: number
  /** When it ran again. */
  readonly upMs: number
  /** Lines that the sender had handed over and the receiver did not have; undefined: from what both remember. */
  readonly inFlight: number | undefined
}

export type Measured = {
  /** From the first line handed over to the last one received. */
  readonly ms: number
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  /** The longest time in which nothing came, once it had begun. */
  readonly stallMs: number
  readonly kills: readonly Kill[]
  readonly notes: readonly string[]
  readonly faults: readonly string[]
}

export function share(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

type Gap = { readonly from: number; readonly ms: number }

function longestGap(received: readonly (readonly [number, number])[]): Gap {
  let longest = { from: 0, ms: 0 }
  for (let i = 1; i < received.length; i++) {
    const [from, to] = [received[i - 1]![1], received[i]![1]]
    if (to - from > longest.ms) longest = { from, ms: to - from }
  }
  return longest
}

/** `since`: where times are counted from instead of when each was handed over, if that is later. */
export function measure(sent: Times['sent'], received: Times['received'], done: readonly Kill[], since = 0): Measured {
  const before = (list: Times['sent'], end: number): number => list.filter(([, ms]) => ms <= end).length
  const kills = done.map((kill) => ({
    ...kill,
    inFlight: kill.inFlight ?? before(sent, kill.atMs) - before(received, kill.atMs),
  }))
  const at = new Map(sent)
  const delays = received
    .flatMap(([k, ms]) => {
      const from = at.get(k)
      return from === undefined ? [] : [ms - Math.max(from, since)]
    })
    .sort((a, b) => a - b)
  const first = Math.max(since, sent[0]?.[1] ?? since)
  const last = received.at(-1)?.[1] ?? Number.NaN
  const gap = longestGap(received)
  const notes = kills.map((kill, i) => noteOf(kill, received, kills[i + 1]?.atMs ?? Number.POSITIVE_INFINITY))
  const atRest = kills.length === 0 && gap.ms > STALL_MS ? [`nothing came for ${gap.ms.toFixed(0)} ms`] : []
  return {
    ms: last - first,
    perSecond: (received.length / (last - first)) * 1000,
    p50: share(delays, 0.5),
    p99: share(delays, 0.99),
    stallMs: gap.ms,
    kills,
    notes: [...notes, ...atRest],
    faults: kills
      .filter(({ inFlight }) => inFlight <= 0)
      .map(({ what }) => `${what} was killed with nothing in flight`),
  }
}

/** How long the process was away, and what the pause was beyond that. */
function noteOf(kill: Kill & { readonly inFlight: number }, received: Times['received'], until: number): string {
  const after = received.filter(([, ms]) => ms < until)
  const from = after.findLastIndex(([, ms]) => ms < kill.atMs)
  const gap = longestGap(after.slice(Math.max(0, from)))
  const away = kill.upMs - kill.atMs
  const next =
    gap.ms === 0 ? 'no message' : `next message ${(gap.from + gap.ms - kill.upMs).toFixed(0)} ms after it was up`
  return `${kill.what} away ${away.toFixed(0)} ms, ${kill.inFlight} in flight, ${next}`
}

/** Resident memory, bytes; 0 when it cannot be told. */
export async function residentBytes(pid: number): Promise<number> {
  try {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', `${pid}`])
    return Number(stdout.trim()) * 1024
  } catch {
    return 0
  }
}
