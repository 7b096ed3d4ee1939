// One stretch of load: warmed up, counted between two marks, with what the processes used meanwhile.
import { Histogram } from '../load/histogram.ts'
import type { Loader } from '../load/loader.ts'
import type { Marked } from '../load/orders.ts'
import { cpuMs } from './cpu.ts'
import type { Server, Stage } from './stage.ts'

export type Stretch = {
  readonly perSecond: number
  readonly done: number
  /** Of the server process, microseconds a message. */
  readonly cpuUs: number
  /** Shares of a core. */
  readonly serverBusy: number
  readonly loadBusy: number
  readonly latency: Histogram
  readonly verdicts: Readonly<Record<string, number>>
  readonly faults: readonly string[]
}

/** Of a core, by all that are looked at together: what is beside a row, not in it. */
const IDLE_SHARE = 0.1
const IDLE_EVERY_MS = 1_000
/** One after the other: a relay that waits for an answer is still for a second as well. */
const IDLE_SECONDS = 3
/** At most; what goes on for longer is part of the row. */
const IDLE_WAIT_MS = 20_000

/** The records of new accounts go to the DHT for a while, and what was closed is cleared away: neither is what a row measures. */
export async function untilIdle(
  stage: Stage,
  servers: readonly (Server | undefined)[],
  maxMs = IDLE_WAIT_MS,
): Promise<void> {
  const pids = servers.flatMap((it) => it?.process.pid ?? [])
  const usedByAll = async (): Promise<number> => (await Promise.all(pids.map(cpuMs))).reduce((sum, it) => sum + it, 0)
  let before = await usedByAll()
  let still = 0
  for (let passed = 0; passed < maxMs && still < IDLE_SECONDS; passed += IDLE_EVERY_MS) {
    await stage.pause(IDLE_EVERY_MS)
    const now = await usedByAll()
    still = now - before >= IDLE_SHARE * IDLE_EVERY_MS ? 0 : still + 1
    before = now
  }
}

export type Measured = {
  readonly loader: Loader
  readonly group: string
  /** Of the server; undefined when it is not ours. */
  readonly pid: number | undefined
}

const usedMs = async (pid: number | undefined): Promise<number> => (pid === undefined ? Number.NaN : cpuMs(pid))

/** What was done while something else went on, and what it cost. */
export async function measureDuring(it: Measured, during: () => Promise<void>): Promise<Stretch> {
  const { loader, group, pid } = it
  await loader.ask<Marked>({ do: 'mark', group })
  const before = [await usedMs(pid), await cpuMs(loader.pid)] as const
  await during()
  const marked = await loader.ask<Marked>({ do: 'mark', group })
  const after = [await usedMs(pid), await cpuMs(loader.pid)] as const
  const [server, load] = [after[0] - before[0], after[1] - before[1]]
  const { done, elapsedMs, verdicts, faults } = marked
  return {
    perSecond: (done * 1_000) / elapsedMs,
    done,
    cpuUs: (server * 1_000) / done,
    serverBusy: server / elapsedMs,
    loadBusy: load / elapsedMs,
    latency: new Histogram().add(marked.latency),
    verdicts,
    faults,
  }
}

export async function measure(stage: Stage, it: Measured, warmUpMs: number, ms: number): Promise<Stretch> {
  await stage.pause(warmUpMs)
  return measureDuring(it, () => stage.pause(ms))
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Ends the load of a stretch; what goes wrong with what was still on its way counts as its fault too. */
export async function stop({ loader, group }: Pick<Measured, 'loader' | 'group'>, found: Stretch): Promise<Stretch> {
  await loader.ask({ do: 'stop', group })
  const { faults } = await loader.ask<Marked>({ do: 'mark', group })
  return { ...found, faults: faultsOf(found, { faults }) }
}

/** Several stretches as one: medians, and all latencies together. */
export function together(stretches: readonly Stretch[]): Stretch {
  const of = (pick: (it: Stretch) => number): number => median(stretches.map(pick))
  const latency = new Histogram()
  const verdicts: Record<string, number> = {}
  for (const it of stretches) {
    latency.add(it.latency.counts())
    for (const [field, count] of Object.entries(it.verdicts)) verdicts[field] = (verdicts[field] ?? 0) + count
  }
  return {
    perSecond: of((it) => it.perSecond),
    done: stretches.reduce((sum, it) => sum + it.done, 0),
    cpuUs: of((it) => it.cpuUs),
    serverBusy: of((it) => it.serverBusy),
    loadBusy: of((it) => it.loadBusy),
    latency,
    verdicts,
    faults: faultsOf(...stretches),
  }
}

/** Field of a verdict on the wire -> its name. */
const VERDICTS: Readonly<Record<string, string>> = {
  5: 'held',
  6: 'past',
  7: 'behind',
  9: 'wait',
  10: 'stale',
  11: 'final',
  12: 'moved',
}

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`

export const busyNote = (what: string, { serverBusy, loadBusy }: Stretch): string =>
  `${what}: ${Number.isNaN(serverBusy) ? 'server not ours' : `server ${percent(serverBusy)} of a core`}, load ${percent(loadBusy)}`

/** Messages that were not taken at once: there may be reasons for it. */
export const verdictNotes = (...stretches: readonly Stretch[]): string[] =>
  stretches.flatMap(({ verdicts }) =>
    Object.entries(verdicts).map(([field, count]) => `${count} times "${VERDICTS[field] ?? field}"`),
  )

/** What must not happen at all. A load process tells all of it again each time. */
export const faultsOf = (...found: readonly Pick<Stretch, 'faults'>[]): string[] => [
  ...new Set(found.flatMap(({ faults }) => faults)),
]

export const msOf = (histogram: Histogram, share: number): number => histogram.percentile(share) / 1_000
