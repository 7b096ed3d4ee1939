// All decoders, a thread each, two at a time. A thread whose input never ends is ended, and the input is its finding.
import { Worker } from 'node:worker_threads'
import { systemClock, type Timer } from '#protocol'
import type { Decoder } from '#protocol/decoders'
import type { Covered } from './coverage.ts'
import type { Findings } from './fuzz.ts'
import { BEGIN_MS, HANG_MS, WATCH_MS, WORKER_HEAP_MB, WORKERS } from './limits.ts'
import type { Folder } from './registry.ts'
import { SHARED_HEADER_BYTES, SHARED_NUMBERS, type Task } from './task.ts'

export type Outcome = { readonly findings: Findings; readonly covered: Covered | undefined }

type Job = { readonly folder: Folder; readonly decoder: Decoder }

const SHARED_MAX_BYTES = 10 * 1024 * 1024

/** What is known of a thread that did not come to its end. */
function brokenOff(name: string, shared: SharedArrayBuffer, what: string, tookMs: number): Outcome {
  const [executions = 0, length = 0, begun = 0] = new Int32Array(shared, 0, SHARED_NUMBERS)
  const bytes = new Uint8Array(shared, SHARED_HEADER_BYTES, length).slice()
  // Before the first input there is none to keep.
  const kept = begun === 0 ? 'none yet' : undefined
  const none = { accepted: 0, outcomes: 0, slowestMs: 0, most: { madeBytes: 0, bytes: 0 } }
  return {
    findings: { name, executions, ...none, tookMs, busyMs: tookMs, faults: [{ what, bytes, kept }] },
    covered: undefined,
  }
}

/** Says what is wrong once nothing has moved for too long. The first inputs are the ones that failed before: they count too. */
export function hangWatch(numbers: Int32Array, startedMs: number): (nowMs: number) => string | undefined {
  let seen = { begun: 0, atMs: startedMs }
  return (nowMs) => {
    const begun = numbers[2]!
    if (begun !== seen.begun) seen = { begun, atMs: nowMs }
    const ms = nowMs - seen.atMs
    if (ms <= (begun === 0 ? BEGIN_MS : HANG_MS)) return undefined
    return `does not ${begun === 0 ? 'begin' : 'end'}: ${Math.round(ms)} ms and counting`
  }
}

export type Watched = { name: string; done: () => number }

async function runOne(
  { folder, decoder }: Job,
  seed: number,
  executions: number,
  running: Set<Watched>,
): Promise<Outcome> {
  const shared = new SharedArrayBuffer(
    SHARED_HEADER_BYTES + Math.min(SHARED_MAX_BYTES, 2 * decoder.maxBytes + 64 * 1024),
  )
  const numbers = new Int32Array(shared, 0, SHARED_NUMBERS)
  const { name } = decoder
  const task: Task = { folder, name, seed, executions, shared }
  const started = systemClock.monotonic()
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MB },
  })
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  const broken = (what: string): void => resolve(brokenOff(name, shared, what, systemClock.monotonic() - started))
  worker.once('message', (outcome: Outcome) => resolve(outcome))
  worker.once('error', (error) => broken(`ends its thread: ${error instanceof Error ? error.stack : String(error)}`))
  worker.once('exit', () => broken('its thread ended'))
  const watched = { name, done: () => numbers[0]! }
  running.add(watched)
  let timer: Timer
  const hang = hangWatch(numbers, started)
  const watch = (): void => {
    const what = hang(systemClock.monotonic())
    if (what !== undefined) broken(what)
    else timer = systemClock.after(WATCH_MS, watch)
  }
  timer = systemClock.after(WATCH_MS, watch)
  const outcome = await promise
  timer.cancel()
  running.delete(watched)
  await worker.terminate()
  return outcome
}

/** `outcome` is called as each ends; `running` shows what is under way. */
export async function runAll(
  jobs: readonly Job[],
  options: { seed: number; executions: number; running: Set<Watched>; outcome: (outcome: Outcome) => void },
): Promise<void> {
  const queue = [...jobs]
  const work = async (): Promise<void> => {
    for (let job = queue.shift(); job; job = queue.shift())
      options.outcome(await runOne(job, options.seed, options.executions, options.running))
  }
  await Promise.all(Array.from({ length: WORKERS }, work))
}
