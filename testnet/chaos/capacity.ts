// What the whole network can do before anything happens to it: half of that is the load under faults. When messages do not
// arrive, which may be what a planted bug does, it says which.
import { sharedMs } from '../clients/orders.ts'
import { untilDrained } from './drain.ts'
import { CAPACITY_MAX_MS, CAPACITY_MESSAGES, CAPACITY_MS, DRAIN_EVERY_MS, DRAIN_MAX_MS, WARM_UP_MS } from './limits.ts'
import { pause, type Stage } from './stage.ts'

/** `left`: what did not arrive though it had all the time; `perSecond` means nothing then. */
export type Capacity = { readonly perSecond: number; readonly left: readonly string[] }

const TIMES = { warmUpMs: WARM_UP_MS, measuredMs: CAPACITY_MS, arrivedMaxMs: CAPACITY_MAX_MS, drainMaxMs: DRAIN_MAX_MS }

export const received = ({ people }: Pick<Stage, 'people'>): number =>
  people.reduce((sum, it) => sum + it.received(), 0)

export async function pace({ people }: Pick<Stage, 'people'>, perSecond: number): Promise<void> {
  await Promise.all(people.map((it) => it.pace(perSecond)))
}

/** Undefined when so many have come; otherwise how many have, at that time of `sharedMs`. */
async function untilReceived(
  stage: Stage,
  before: number,
  count: number,
  untilMs: number,
): Promise<string | undefined> {
  for (;;) {
    const came = received(stage) - before
    if (came >= count) return undefined
    if (sharedMs() > untilMs) return `${came} of ${count} messages arrived while everybody sent as fast as they could`
    await pause(DRAIN_EVERY_MS)
  }
}

/** Everybody is quiet afterwards, and everything has arrived unless `left` says what has not. */
export async function measureCapacity(stage: Stage, times = TIMES): Promise<Capacity> {
  await pace(stage, 1)
  await pause(times.warmUpMs)
  await pace(stage, 0)
  const { left } = await untilDrained(stage, times.drainMaxMs)
  if (left.length > 0) return { perSecond: Number.NaN, left }
  const first = received(stage)
  await pace(stage, Number.MAX_SAFE_INTEGER)
  const untilMs = sharedMs() + times.arrivedMaxMs
  let missing = await untilReceived(stage, first, 1, untilMs)
  const [before, from] = [received(stage), sharedMs()]
  if (missing === undefined) await pause(times.measuredMs)
  missing ??= await untilReceived(stage, before, CAPACITY_MESSAGES, untilMs)
  const perSecond = ((received(stage) - before) / (sharedMs() - from)) * 1000
  await pace(stage, 0)
  const drained = await untilDrained(stage, times.drainMaxMs)
  return { perSecond, left: [...(missing === undefined ? [] : [missing]), ...drained.left] }
}
