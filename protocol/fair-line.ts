// Who has the next turn of those who wait: whoever had little lately goes first, the others one turn each in the order in
// which they came. Nobody who is loud waits for ever.
import type { Clock } from './clock.ts'

/** `loudUntilMs`: until then it has had more than its share; monotonic, 0 at first. */
export type Speaking = { loudUntilMs: number }

export type FairLine<V extends Speaking> = {
  readonly size: number
  join(voice: V): void
  leave(voice: V): void
  /** Whose turn it is leaves the line. */
  next(): V | undefined
  /** It was heard from `fromMs` on for so long. */
  heard(voice: V, fromMs: number, tookMs: number): void
}

/** While both wait, one of so many turns goes to somebody loud. */
const LOUD_EVERY = 4

/** `share`: of the time; whoever had more of it lately is loud. */
export function createFairLine<V extends Speaking>(clock: Pick<Clock, 'monotonic'>, share: number): FairLine<V> {
  const quiet = new Set<V>()
  const loud = new Set<V>()
  let picks = 0
  return {
    get size() {
      return quiet.size + loud.size
    },
    join(voice) {
      if (voice.loudUntilMs > clock.monotonic()) loud.add(voice)
      else quiet.add(voice)
    },
    leave(voice) {
      quiet.delete(voice)
      loud.delete(voice)
    },
    next() {
      const first = loud.size > 0 && (quiet.size === 0 || ++picks % LOUD_EVERY === 0) ? loud : quiet
      for (const voice of first) {
        first.delete(voice)
        return voice
      }
      return undefined
    },
    heard(voice, fromMs, tookMs) {
      voice.loudUntilMs = Math.max(voice.loudUntilMs, fromMs) + tookMs / share
    },
  }
}
