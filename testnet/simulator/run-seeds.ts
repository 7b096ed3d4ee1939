// Runs many seeds in a few processes: each is sent a few at a time, so that none waits for the slowest.
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Scene } from './acts.ts'
import type { Outcome } from './run.ts'

const SHARD = fileURLToPath(new URL('./shard.ts', import.meta.url))
const HOOK = new URL('./plant-hook.ts', import.meta.url).href
/** Seeds that a process has been sent and not answered for: enough that it never waits. */
const AHEAD = 2
/**
 * Most of what a seed makes lives for as long as the seed: a young generation that holds it is seldom copied. There is a
 * process for each core: many threads that collect beside it would only take turns with it. Errors that are made to be caught
 * need no stack; one seed alone (`--seed`) shows them whole.
 */
const FLAGS = ['--min-semi-space-size=64', '--max-semi-space-size=64', '--v8-pool-size=1', '--stack-trace-limit=1']

export type SeedsOptions = {
  readonly seeds: readonly (number | Scene)[]
  readonly processes: number
  /** Id of a bug to plant. */
  readonly plant?: string
  /** True: that is enough. */
  readonly outcome: (outcome: Outcome) => boolean
}

/** Rejects when a process ends before it has answered. */
export async function runSeeds({ seeds, processes, plant, outcome }: SeedsOptions): Promise<void> {
  const queue = [...seeds]
  let ended = false
  const shards = Array.from({ length: Math.min(processes, seeds.length) }, () =>
    runShard(
      plant,
      () => (ended ? undefined : queue.shift()),
      outcome,
      () => {
        ended = true
      },
    ),
  )
  await Promise.all(shards)
}

function runShard(
  plant: string | undefined,
  next: () => number | Scene | undefined,
  outcome: SeedsOptions['outcome'],
  enough: () => void,
): Promise<void> {
  const child: ChildProcess = fork(SHARD, {
    execArgv: [...FLAGS, ...(plant ? ['--import', HOOK] : [])],
    env: { ...process.env, ...(plant ? { SIM_PLANT: plant } : {}) },
  })
  let waiting = 0
  const send = (): void => {
    const seed = next()
    if (seed === undefined) return
    waiting++
    child.send(seed)
  }
  return new Promise((resolve, reject) => {
    let isEnough = false
    child.on('message', (message: 'ready' | Outcome) => {
      if (message === 'ready') for (let i = 0; i < AHEAD; i++) send()
      else if (!isEnough) {
        waiting--
        isEnough = outcome(message)
        if (isEnough) enough()
        else send()
      }
      if ((isEnough || waiting === 0) && child.connected) child.kill()
    })
    child.on('error', reject)
    child.on('exit', (code) => {
      if (waiting === 0 || isEnough) resolve()
      else reject(new Error(`a process of the simulator ended with ${code}${plant ? `, with ${plant} planted` : ''}`))
    })
  })
}
