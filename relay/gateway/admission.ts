// Who signs in next when more come back at once than can be let in. Each part of a sign-in that costs something waits for
// its turn; such a turn takes no longer than SIGN_IN_TURN_MS, and all of them no more than SIGN_IN_SHARE of the time: those
// who are signed in already hardly notice a crowd. Who is further goes first, so that what was spent on somebody is not spent in vain; those
// at the very beginning stand in line in the order in which they came, and when it has become too long for anybody's
// patience newcomers are told when to come again, which costs next to nothing.
import { type Clock, ParleyError } from '#protocol'
import {
  SIGN_IN_AGAIN_MS,
  SIGN_IN_LINE_MAX_MS,
  SIGN_IN_SHARE,
  SIGN_IN_TURN_MS,
  SIGN_INS_IN_LINE_MAX,
} from '../limits.ts'

/** The parts of a sign-in that have turns, the furthest first. */
const PARTS = ['open', 'check', 'proof', 'hello', 'begin'] as const
export type Part = (typeof PARTS)[number]

/** Throws nothing. */
type Step = () => void

export type Admission = {
  /** Why somebody who comes now cannot stand in line. */
  full(): ParleyError | undefined
  /** Runs the step, now or when it is its turn. */
  wait(part: Part, step: Step): void
  /** The same; resolves with what the step returned, or rejects with what it threw. */
  turn<T>(part: Part, step: () => T): Promise<T>
  /** How many stand at the beginning. */
  readonly inLine: () => number
}

type Waiting = { readonly sinceMs: number; readonly step: Step }

export function createAdmission(clock: Pick<Clock, 'monotonic' | 'after'>): Admission {
  const queues = PARTS.map((): Waiting[] => [])
  const line = queues[PARTS.indexOf('begin')]!
  /** What was spent until now has been made up for by then. */
  let evenMs = 0
  let scheduled = false

  const mayRun = (): boolean => evenMs - clock.monotonic() < TURN_REST_MS

  const run = (step: Step): void => {
    const from = clock.monotonic()
    step()
    evenMs = Math.max(evenMs, from) + (clock.monotonic() - from) / SIGN_IN_SHARE
  }

  const next = (): Step | undefined => queues.find((queue) => queue.length > 0)?.shift()?.step

  const pass = (): void => {
    scheduled = false
    while (mayRun()) {
      const step = next()
      if (!step) return
      run(step)
    }
    soon()
  }

  const soon = (): void => {
    if (scheduled) return
    scheduled = true
    clock.after(Math.max(1, Math.ceil(evenMs - clock.monotonic())), pass)
  }

  const wait = (part: Part, step: Step): void => {
    if (mayRun() && queues.every((queue) => queue.length === 0)) {
      run(step)
      return
    }
    queues[PARTS.indexOf(part)]!.push({ sinceMs: clock.monotonic(), step })
    soon()
  }

  return {
    full() {
      const [first] = line
      const isFull =
        line.length >= SIGN_INS_IN_LINE_MAX || (first && clock.monotonic() - first.sinceMs > SIGN_IN_LINE_MAX_MS)
      if (!isFull) return undefined
      const facts = { limit: `${SIGN_INS_IN_LINE_MAX}`, waiting: `${line.length}` }
      return new ParleyError('overloaded', 'too many want to sign in at once', facts, SIGN_IN_AGAIN_MS)
    },
    wait,
    turn: (part, step) =>
      new Promise((resolve, reject) => {
        wait(part, () => {
          try {
            resolve(step())
          } catch (error) {
            reject(error)
          }
        })
      }),
    inLine: () => line.length,
  }
}

/** Between two whole turns. */
const TURN_REST_MS = SIGN_IN_TURN_MS / SIGN_IN_SHARE - SIGN_IN_TURN_MS
