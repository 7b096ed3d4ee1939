// Where time went while something happened: how busy processes were, how long their main threads stood in line for a core,
// and how long the relay's loop was away from its sockets.
import { readFile, writeFile } from 'node:fs/promises'
import { type Clock, systemClock } from '#protocol'
import { cpuMs } from '../bench/cpu.ts'
import { openInspector } from '../bench/inspector.ts'

/** Looks at its own clock each millisecond: what lies between two looks was one pass of the loop, or several short ones. */
const START = `(() => {
  const [wall, cpu] = [[], []]
  let [at, used] = [performance.now(), process.threadCpuUsage()]
  const timer = setInterval(() => {
    const [now, using] = [performance.now(), process.threadCpuUsage()]
    wall.push(now - at)
    cpu.push((using.user + using.system - used.user - used.system) / 1000)
    at = now
    used = using
  }, 1)
  globalThis.parleyPasses = { wall, cpu, timer }
})()`
const END = `(() => {
  const { wall, cpu, timer } = globalThis.parleyPasses
  clearInterval(timer)
  const of = (all) => { all.sort((a, b) => a - b); return [0.5, 0.99, 1].map((it) => all[Math.ceil(it * all.length) - 1]) }
  return { wallMs: of(wall), cpuMs: of(cpu) }
})()`

/** Shares of the time that passed. */
export type Busy = {
  readonly name: string
  /** Of a core, with all threads. */
  readonly ran: number
  /** Its main thread had something to do and stood in line for a core. */
  readonly inLine: number
}

/** Median, 99th percentile and the longest. */
type Spread = readonly [p50: number, p99: number, longest: number]
export type Passes = {
  readonly wallMs: Spread
  /** What the relay itself used of it, to within a tick of the system's scheduler (4 ms): the rest is waiting. */
  readonly cpuMs: Spread
}

export type Where = {
  readonly busy: readonly Busy[]
  /** Between two looks at timers: what everybody waits who is heard by this loop. */
  readonly passes: Passes
}

/** How long the main thread has waited for a core since it began, ms; NaN where it cannot be read. */
async function inLineMs(pid: number): Promise<number> {
  try {
    const text = await readFile(`/proc/${pid}/task/${pid}/schedstat`, 'utf8')
    return Number(text.split(' ')[1]) / 1e6
  } catch {
    return Number.NaN
  }
}

export async function lookWhere(
  pids: Readonly<Record<string, number>>,
  inspectorPort: number,
  profile: string | undefined,
  clock: Clock = systemClock,
): Promise<{ end(): Promise<Where> }> {
  using inspector = await openInspector(inspectorPort)
  const used = () =>
    Promise.all(Object.values(pids).map(async (pid) => [await cpuMs(pid), await inLineMs(pid)] as const))
  await inspector.evaluate(START)
  const profiler = profile ? await openInspector(inspectorPort) : undefined
  if (profiler) {
    await profiler.ask('Profiler.enable')
    await profiler.ask('Profiler.setSamplingInterval', { interval: 500 })
    await profiler.ask('Profiler.start')
  }
  const from = clock.monotonic()
  const before = await used()
  return {
    async end() {
      const after = await used()
      const passed = clock.monotonic() - from
      if (profiler && profile) {
        const { profile: taken } = (await profiler.ask('Profiler.stop')) as { profile: object }
        await writeFile(profile, JSON.stringify(taken))
        profiler[Symbol.dispose]()
      }
      using again = await openInspector(inspectorPort)
      const passes = await again.evaluate<Passes>(END)
      const busy = Object.keys(pids).map((name, i) => {
        const [cpu, line] = [after[i]![0] - before[i]![0], after[i]![1] - before[i]![1]]
        return { name, ran: cpu / passed, inLine: line / passed }
      })
      return { busy, passes }
    },
  }
}
