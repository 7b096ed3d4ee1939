// One row: quiet, attack, quiet again; what honest traffic, memory and health were like, and whether that will do.
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { type Clock, ParleyError, systemClock } from '#protocol'
import { behindAll, besideAll, pin } from '../bench/cpu.ts'
import { median, untilIdle } from '../bench/measure.ts'
import { memoryOf } from '../bench/memory.ts'
import type { RelayServer, Stage } from '../bench/stage.ts'
import { Histogram } from '../load/histogram.ts'
import type { Loader } from '../load/loader.ts'
import type { Marked } from '../load/orders.ts'
import type { Done } from './attack.ts'
import {
  AFTER_EVERY_MS,
  AFTER_MAX_MS,
  ATTACKER_READY_MAX_MS,
  ATTACKER_STOP_MAX_MS,
  BACK_WITHIN,
  BEFORE_MS,
  HONEST_ARRIVES_MAX_MS,
  HONEST_PER_SECOND,
  IN_USE_FLIGHT,
  IN_USE_MS,
  LATENCY_FLOOR_MS,
  MEMORY_GROWTH_MAX_BYTES,
  SETTLE_MS,
  SLICE_MS,
} from './limits.ts'
import type { AttackOrder, AttackSays } from './orders.ts'
import { watch } from './watch.ts'
import { lookWhere, type Where } from './where.ts'

/** What happens between the two quiet times. */
export type Pressure = AsyncDisposable & {
  /** Of the process that makes it, if it is one. */
  readonly pid: number | undefined
  go(): void
  /** Ends it. */
  stop(): Promise<Done>
}

export type RowResult = {
  readonly id: string
  readonly did: string
  readonly beforeMs: number
  readonly duringMs: number
  readonly grownBytes: number
  /** Heap afterwards, of what it was before. */
  readonly back: number
  readonly worstHealthMs: number
  readonly where: { readonly before: Where; readonly during: Where } | undefined
  /** Honest people noticed more than they may: what a machine that does other things can cause as well. */
  readonly slow: string | undefined
  readonly faults: readonly string[]
}

/** Pairs of a load process that talk. */
export type Honest = { readonly loader: Loader; readonly group: string }

export type RowOptions = {
  readonly id: string
  /** The first is under pressure; its inspector listens. */
  readonly relays: readonly [RelayServer, ...RelayServer[]]
  /** Where a CPU profile of the relay during the attack goes. */
  readonly profile: string | undefined
  readonly honest: Honest
  readonly p99Factor: number
  readonly attackMs: number
  readonly pressure: Pressure
}

const PROGRAM = join(import.meta.dirname, 'attacker.ts')

/** The attacker says things in an order of its own: each is waited for by name. */
function hearing(child: ChildProcess, clock: Clock): (is: AttackSays['is'], maxMs: number) => Promise<AttackSays> {
  const heard: AttackSays[] = []
  const waiting: ((told: AttackSays | Error) => void)[] = []
  const tell = (told: AttackSays | Error): void => {
    for (const wake of waiting.splice(0)) wake(told)
  }
  child.on('message', (told: AttackSays) => {
    heard.push(told)
    tell(told)
  })
  child.on('exit', (code, signal) => tell(new Error(`the attacker ended (${signal ?? `code ${code}`})`)))
  return async (is, maxMs) => {
    const late = Promise.withResolvers<Error>()
    const timer = clock.after(maxMs, () => late.resolve(new Error(`the attacker is not ${is} after ${maxMs} ms`)))
    try {
      for (;;) {
        const failed = heard.find((told) => told.is === 'failed')
        if (failed?.is === 'failed') throw new Error(failed.error)
        const found = heard.find((told) => told.is === is)
        if (found) return found
        const next = await Promise.race([
          new Promise<AttackSays | Error>((resolve) => waiting.push(resolve)),
          late.promise,
        ])
        if (next instanceof Error) throw new ParleyError('unreachable', next.message)
      }
    } finally {
      timer.cancel()
    }
  }
}

/** An attack in a process of its own. Resolves when it is ready. */
export async function attackBy(order: AttackOrder, { placed }: Stage): Promise<Pressure> {
  const child = fork(PROGRAM, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const hear = hearing(child, systemClock)
  if (child.pid !== undefined) {
    await pin(child.pid, placed.load)
  }
  child.send(order)
  await hear('ready', ATTACKER_READY_MAX_MS).catch((error: unknown) => {
    child.kill('SIGKILL')
    throw error
  })
  // Attackers are other machines. Here they have all that is left of the other core, and take nothing from those who
  // measure there.
  if (child.pid !== undefined) await behindAll(child.pid)
  let wentMs = 0
  return {
    pid: child.pid,
    go() {
      wentMs = systemClock.monotonic()
      child.send('go')
    },
    async stop() {
      child.send('stop')
      const seconds = (systemClock.monotonic() - wentMs) / 1_000
      if (child.pid !== undefined) await besideAll(child.pid)
      const told = await hear('done', ATTACKER_STOP_MAX_MS)
      // What it has not sent yet is no part of the quiet afterwards.
      child.kill('SIGKILL')
      if (told.is !== 'done') return { did: '' }
      const { did, times, faults } = told
      return { did: `${did}: ${(times / seconds).toFixed(0)} a second`, faults }
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
    },
  }
}

type Slices = { readonly p99Ms: number; readonly faults: readonly string[] }

/** The median over slices of the 99th percentile in each; a slice in which nothing arrived counts as endless. */
async function slices(stage: Stage, { loader, group }: Honest, ms: number): Promise<Slices> {
  const found: number[] = []
  let faults: readonly string[] = []
  await loader.ask<Marked>({ do: 'mark', group })
  for (let passed = 0; passed < ms; passed += SLICE_MS) {
    await stage.pause(SLICE_MS)
    const marked = await loader.ask<Marked>({ do: 'mark', group })
    const p99 = new Histogram().add(marked.latency).percentile(0.99) / 1_000
    found.push(Number.isNaN(p99) ? Number.POSITIVE_INFINITY : p99)
    faults = marked.faults
  }
  return { p99Ms: median(found), faults }
}

/** Everything that honest people said arrives, once the pressure is over. */
async function arrived(stage: Stage, { loader, group }: Honest): Promise<readonly string[]> {
  const stopped = loader.ask({ do: 'stop', group }).then(() => true)
  stopped.catch(() => undefined)
  if (await Promise.race([stopped, stage.pause(HONEST_ARRIVES_MAX_MS).then(() => false)])) return []
  const { faults } = await loader.ask<Marked>({ do: 'mark', group })
  return [
    `honest messages did not arrive within ${HONEST_ARRIVES_MAX_MS} ms: ${faults.join('; ') || 'no session was lost'}`,
  ]
}

/** What is in use when all garbage is gone. */
async function inUse(inspectorPort: number): Promise<number> {
  const { heapUsed, external } = await memoryOf(inspectorPort)
  return heapUsed + external
}

/** Caches, buffers and the heap become what they are in a relay that people use: what an attack adds to is that. */
async function inUseFor(stage: Stage, { loader, group }: Honest): Promise<void> {
  await loader.ask({ do: 'start', group, loop: 'closed', flight: IN_USE_FLIGHT })
  await stage.pause(IN_USE_MS)
  await loader.ask({ do: 'stop', group })
  await loader.ask<Marked>({ do: 'mark', group })
}

/** Until it is back, or for AFTER_MAX_MS: what has to time out first takes a while. */
async function heapBack(stage: Stage, look: () => Promise<number>, before: number): Promise<number> {
  let heap = await look()
  for (let passed = 0; heap > before * BACK_WITHIN && passed < AFTER_MAX_MS; passed += AFTER_EVERY_MS) {
    await stage.pause(AFTER_EVERY_MS)
    heap = await look()
  }
  return heap
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`

export async function runRow(stage: Stage, options: RowOptions): Promise<RowResult> {
  const { id, honest, p99Factor, attackMs, pressure, profile } = options
  const { loader, group } = honest
  const { origin, process, inspectorPort } = options.relays[0]
  if (process.pid === undefined || inspectorPort === undefined) throw new Error('this relay cannot be looked into')
  const look = (): Promise<number> => inUse(inspectorPort)
  await inUseFor(stage, honest)
  await untilIdle(stage, options.relays, attackMs)
  await loader.ask({ do: 'start', group, loop: 'open', rate: HONEST_PER_SECOND, precise: false })
  await stage.pause(SLICE_MS)
  const pids = { relay: process.pid, load: loader.pid, ...(pressure.pid !== undefined && { attacker: pressure.pid }) }
  const calmWhere = await lookWhere(pids, inspectorPort, undefined)
  const calm = watch(origin)
  const before = await slices(stage, honest, BEFORE_MS)
  const memory = calm.end()
  const whereBefore = await calmWhere.end()
  // Collecting all garbage shrinks a heap, which then grows again by collecting much: that is no part of either time.
  const heapBefore = await look()
  await stage.pause(SETTLE_MS)
  const lookingWhere = await lookWhere(pids, inspectorPort, profile)
  const watching = watch(origin)
  pressure.go()
  const during = await slices(stage, honest, attackMs)
  const whereDuring = await lookingWhere.end()
  const { did, faults: own = [] } = await pressure.stop()
  const { mostRssBytes, worstHealthMs, sick } = watching.end()
  const heap = await heapBack(stage, look, heapBefore)
  const missing = await arrived(stage, honest)
  const grownBytes = mostRssBytes - memory.mostRssBytes
  const ratio = during.p99Ms / Math.max(before.p99Ms, LATENCY_FLOOR_MS)
  const faults = [
    ...missing,
    ...own,
    ...during.faults.map((fault) => `honest traffic: ${fault}`),
    ...sick.map((why) => `health: ${why}`),
  ]
  const slow =
    ratio > p99Factor ? `honest p99 is ${ratio.toFixed(1)} times what it was, at most ${p99Factor}` : undefined
  if (grownBytes > MEMORY_GROWTH_MAX_BYTES) faults.push(`memory grew by ${mib(grownBytes)}`)
  if (heap > heapBefore * BACK_WITHIN) faults.push(`${mib(heap)} are in use afterwards, ${mib(heapBefore)} were before`)
  const back = heap / heapBefore
  const where = { before: whereBefore, during: whereDuring }
  const latency = { beforeMs: before.p99Ms, duringMs: during.p99Ms }
  return { id, did, ...latency, grownBytes, back, worstHealthMs, where, slow, faults }
}
