// One row: quiet, attack, quiet again; what honest traffic, memory and health were like, and whether that will do.
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { type Clock, ParleyError, systemClock } from '#protocol'
import { behindAll, besideAll, cpuMs, pin } from '../bench/cpu.ts'
import { untilIdle } from '../bench/measure.ts'
import { memoryOf } from '../bench/memory.ts'
import type { RelayServer, Stage } from '../bench/stage.ts'
import { Histogram } from '../load/histogram.ts'
import type { Loader } from '../load/loader.ts'
import type { Marked } from '../load/orders.ts'
import type { Done } from './attack.ts'
import { type Allowed, judge, type Verdict } from './judge.ts'
import {
  AFTER_EVERY_MS,
  AFTER_MAX_MS,
  ATTACKER_READY_MAX_MS,
  ATTACKER_STOP_MAX_MS,
  BACK_WITHIN,
  CALM_EVERY_MS,
  CALM_MAX_MS,
  CALM_SECONDS,
  CALM_SHARE,
  HONEST_ARRIVES_MAX_MS,
  HONEST_PER_SECOND,
  IN_USE_FLIGHT,
  IN_USE_MS,
  MEMORY_GROWTH_MAX_BYTES,
  QUIET_MS,
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

export type RowResult = Verdict & {
  readonly id: string
  readonly did: string
  readonly grownBytes: number
  /** Heap afterwards, of what it was before. */
  readonly back: number
  readonly worstHealthMs: number
  readonly where: { readonly before: Where; readonly during: Where; readonly after: Where } | undefined
}

/** Pairs of a load process that talk. */
export type Honest = { readonly loader: Loader; readonly group: string }

export type RowOptions = Allowed & {
  readonly id: string
  /** The first is under pressure; its inspector listens. */
  readonly relays: readonly [RelayServer, ...RelayServer[]]
  /** Where a CPU profile of the relay during the attack goes. */
  readonly profile: string | undefined
  readonly honest: Honest
  readonly attackMs: number
  readonly pressure: Pressure
}

const PROGRAM = join(import.meta.dirname, 'attacker.ts')

/** The attacker says things in an order of its own: each is waited for by name. */
function hearing(child: ChildProcess, clock: Clock): (is: AttackSays['is'], maxMs: number) => Promise<AttackSays> {
  const heard: AttackSays[] = []
  const waiting: ((told: AttackSays | Error) => void)[] = []
  let gone: Error | undefined
  const tell = (told: AttackSays | Error): void => {
    for (const wake of waiting.splice(0)) wake(told)
  }
  child.on('message', (told: AttackSays) => {
    heard.push(told)
    tell(told)
  })
  const lost = (why: string): void => {
    gone ??= new Error(`the attacker ${why}`)
    tell(gone)
  }
  child.on('exit', (code, signal) => lost(`ended (${signal ?? `code ${code}`})`))
  // Also what cannot be handed to it, when it is about to be known that it ended.
  child.on('error', (error) => lost(`cannot be reached: ${error.message}`))
  return async (is, maxMs) => {
    const late = Promise.withResolvers<Error>()
    const timer = clock.after(maxMs, () => late.resolve(new Error(`the attacker is not ${is} after ${maxMs} ms`)))
    try {
      for (;;) {
        const failed = heard.find((told) => told.is === 'failed')
        if (failed?.is === 'failed') throw new Error(failed.error)
        const found = heard.find((told) => told.is === is)
        if (found) return found
        if (gone) throw new ParleyError('unreachable', gone.message)
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
export async function attackBy(order: AttackOrder, { placed }: Pick<Stage, 'placed'>): Promise<Pressure> {
  await using stack = new AsyncDisposableStack()
  const child = fork(PROGRAM, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  stack.defer(() => void child.kill('SIGKILL'))
  const hear = hearing(child, systemClock)
  if (child.pid !== undefined) await pin(child.pid, placed.load)
  child.send(order)
  await hear('ready', ATTACKER_READY_MAX_MS)
  // Attackers are other machines. Here they have all that is left of the other core, and take nothing from those who
  // measure there.
  if (child.pid !== undefined) await behindAll(child.pid)
  const owned = stack.move()
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
      const idle = times === 0 ? ['the attack did nothing at all: whatever was measured is no answer to it'] : []
      return { did: `${did}: ${(times / seconds).toFixed(0)} a second`, faults: [...idle, ...faults] }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** The 99th percentile in each slice, ms; one in which nothing arrived counts as endless. */
async function slices(stage: Stage, { loader, group }: Honest, ms: number): Promise<readonly number[]> {
  const found: number[] = []
  await loader.ask<Marked>({ do: 'mark', group })
  for (let passed = 0; passed < ms; passed += SLICE_MS) {
    await stage.pause(SLICE_MS)
    const { latency } = await loader.ask<Marked>({ do: 'mark', group })
    const p99 = new Histogram().add(latency).percentile(0.99) / 1_000
    found.push(Number.isNaN(p99) ? Number.POSITIVE_INFINITY : p99)
  }
  return found
}

/** Everything that honest people said arrives, once the pressure is over. Says what went wrong for them in this row. */
async function arrived(stage: Stage, { loader, group }: Honest): Promise<readonly string[]> {
  const stopped = loader.ask({ do: 'stop', group }).then(() => true)
  stopped.catch(() => undefined)
  const inTime = await Promise.race([stopped, stage.pause(HONEST_ARRIVES_MAX_MS).then(() => false)])
  // What is still on its way is named when it stops waiting, and must not be noted in the next row.
  if (!inTime) await stopped
  const { faults } = await loader.ask<Marked>({ do: 'mark', group })
  const late = inTime ? [] : [`honest messages did not arrive within ${HONEST_ARRIVES_MAX_MS} ms`]
  return [...late, ...faults.map((fault) => `honest traffic: ${fault}`)]
}

type Used = { readonly cpuMs: number; readonly atMs: number }

async function usedBy(relays: readonly RelayServer[]): Promise<Used> {
  const all = await Promise.all(relays.map(({ process }) => cpuMs(process.pid ?? 0)))
  return { cpuMs: all.reduce((sum, it) => sum + it, 0), atMs: systemClock.monotonic() }
}

/** Of a core. */
const shareOf = (from: Used, to: Used): number => (to.cpuMs - from.cpuMs) / (to.atMs - from.atMs)

/** Until relays do no more than they did in the quiet before, with the same honest traffic. */
async function untilCalm(stage: Stage, relays: readonly RelayServer[], share: number): Promise<void> {
  let from = await usedBy(relays)
  let calm = 0
  for (let passed = 0; passed < CALM_MAX_MS && calm < CALM_SECONDS; passed += CALM_EVERY_MS) {
    await stage.pause(CALM_EVERY_MS)
    const to = await usedBy(relays)
    // Where nothing is known about CPU time this is a pause.
    calm = shareOf(from, to) > share + CALM_SHARE ? 0 : calm + 1
    from = to
  }
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
  const { id, honest, attackMs, pressure, profile, relays } = options
  const { loader, group } = honest
  const { origin, process, inspectorPort } = relays[0]
  if (process.pid === undefined || inspectorPort === undefined) throw new Error('this relay cannot be looked into')
  const look = (): Promise<number> => inUse(inspectorPort)
  await loader.ask({ do: 'forget-faults', group })
  await inUseFor(stage, honest)
  // Also before a short attack, and where the row's own load never lets it be idle: what came before takes its time to end.
  await untilIdle(stage, relays)
  await loader.ask({ do: 'start', group, loop: 'open', rate: HONEST_PER_SECOND, precise: false })
  await stage.pause(SLICE_MS)
  const ours = { relay: process.pid, load: loader.pid }
  const pids = { ...ours, ...(pressure.pid !== undefined && { attacker: pressure.pid }) }
  const calmWhere = await lookWhere(pids, inspectorPort, undefined)
  using calm = watch(origin)
  const usedFirst = await usedBy(relays)
  const before = await slices(stage, honest, QUIET_MS)
  const share = shareOf(usedFirst, await usedBy(relays))
  const memory = calm.end()
  const whereBefore = await calmWhere.end()
  // Collecting all garbage shrinks a heap, which then grows again by collecting much: that is no part of either time.
  const heapBefore = await look()
  await stage.pause(SETTLE_MS)
  const lookingWhere = await lookWhere(pids, inspectorPort, profile)
  using watching = watch(origin)
  pressure.go()
  const during = await slices(stage, honest, attackMs)
  const whereDuring = await lookingWhere.end()
  const { did, faults: own = [] } = await pressure.stop()
  const { mostRssBytes, worstHealthMs, sick } = watching.end()
  await untilCalm(stage, relays, share)
  const lookingAfter = await lookWhere(ours, inspectorPort, undefined)
  const after = await slices(stage, honest, QUIET_MS)
  const where = { before: whereBefore, during: whereDuring, after: await lookingAfter.end() }
  const heap = await heapBack(stage, look, heapBefore)
  const missing = await arrived(stage, honest)
  const grownBytes = mostRssBytes - memory.mostRssBytes
  const verdict = judge({ before, during, after }, options)
  const faults = [...missing, ...own, ...verdict.faults, ...sick.map((why) => `health: ${why}`)]
  if (grownBytes > MEMORY_GROWTH_MAX_BYTES) faults.push(`memory grew by ${mib(grownBytes)}`)
  if (heap > heapBefore * BACK_WITHIN) faults.push(`${mib(heap)} are in use afterwards, ${mib(heapBefore)} were before`)
  return { ...verdict, id, did, grownBytes, back: heap / heapBefore, worstHealthMs, where, faults }
}
