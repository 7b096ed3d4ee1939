// One stretch of load: warmed up, counted between two marks, with what the processes used meanwhile.
import { Histogram } from '../load/histogram.ts'
import type { Loader } from '../load/loader.ts'
import type { Marked } from '../load/orders.ts'
import { cpuMs } from './cpu.ts'
import type { Stage } from './stage.ts'

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
  readonly elapsedMs: number
}

/** `pid` of the server; undefined when it is not ours. */
export async function measure(
  stage: Stage,
  loader: Loader,
  pid: number | undefined,
  warmUpMs: number,
  ms: number,
): Promise<Stretch> {
  await stage.pause(warmUpMs)
  await loader.ask<Marked>({ do: 'mark' })
  const before = [pid === undefined ? Number.NaN : await cpuMs(pid), await cpuMs(loader.pid)] as const
  await stage.pause(ms)
  const marked = await loader.ask<Marked>({ do: 'mark' })
  const after = [pid === undefined ? Number.NaN : await cpuMs(pid), await cpuMs(loader.pid)] as const
  const [server, load] = [after[0] - before[0], after[1] - before[1]]
  return {
    perSecond: (marked.done * 1_000) / marked.elapsedMs,
    done: marked.done,
    cpuUs: (server * 1_000) / marked.done,
    serverBusy: server / marked.elapsedMs,
    loadBusy: load / marked.elapsedMs,
    latency: new Histogram().add(marked.latency),
    verdicts: marked.verdicts,
    faults: marked.faults,
    elapsedMs: marked.elapsedMs,
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
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
    faults: [...new Set(stretches.flatMap((it) => it.faults))],
    elapsedMs: stretches.reduce((sum, it) => sum + it.elapsedMs, 0),
  }
}
