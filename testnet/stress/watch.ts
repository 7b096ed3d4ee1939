// Looks at a relay from outside while something happens to it: its memory and whether it answers.
import { type Clock, systemClock, type Timer } from '#protocol'
import { HEALTH_MAX_MS, LOOK_EVERY_MS } from './limits.ts'

const metricIn = (text: string, name: string): number =>
  Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN)

async function rssBytes(origin: string): Promise<number> {
  const answer = await fetch(`${origin}/metrics`, { signal: AbortSignal.timeout(HEALTH_MAX_MS) })
  return metricIn(await answer.text(), 'parley_memory_bytes')
}

export type Watched = {
  readonly mostRssBytes: number
  readonly worstHealthMs: number
  readonly sick: readonly string[]
}

async function healthMs(origin: string, clock: Clock): Promise<number> {
  const from = clock.monotonic()
  const answer = await fetch(`${origin}/v1/health`, { signal: AbortSignal.timeout(HEALTH_MAX_MS) })
  if (!answer.ok) throw new Error(`status ${answer.status}: ${(await answer.text()).slice(0, 120)}`)
  await answer.arrayBuffer()
  return clock.monotonic() - from
}

/** Watches until told to end, or until the row that watches is over, however. */
export function watch(origin: string, clock: Clock = systemClock): Disposable & { end(): Watched } {
  let [mostRssBytes, worstHealthMs, over] = [0, 0, false]
  const sick: string[] = []
  let timer: Timer | undefined
  const look = async (): Promise<void> => {
    try {
      worstHealthMs = Math.max(worstHealthMs, await healthMs(origin, clock))
      mostRssBytes = Math.max(mostRssBytes, await rssBytes(origin))
    } catch (error) {
      if (!over && sick.length < 3) sick.push(error instanceof Error ? error.message : String(error))
    }
    if (!over) timer = clock.after(LOOK_EVERY_MS, () => void look())
  }
  void look()
  const stop = (): void => {
    over = true
    timer?.cancel()
  }
  return {
    end() {
      stop()
      return { mostRssBytes, worstHealthMs, sick }
    },
    [Symbol.dispose]: stop,
  }
}
