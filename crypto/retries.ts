// Asking again for what could not be decrypted. What fails once may fail because the session is broken, so the reader
// sets up a new one and asks on it: the author, by decrypting the question, has the new session too, and answers on it.
// A message that can never be read must not keep two devices talking for ever: both sides count.
import { RETRY_ANSWERS_MAX, RETRY_WAITS_MS } from './limits.ts'

/** When to ask (again): ms since 1970, 0 for at once, undefined when it is given up. `lastMs` is ignored before the first. */
export function whenToAsk(timesAsked: number, lastMs: number): number | undefined {
  const wait = RETRY_WAITS_MS[timesAsked]
  if (wait === undefined) return undefined
  return wait === 0 ? 0 : lastMs + wait
}

/** Whether a device that has been answered so often for one k is answered once more. */
export function mayAnswer(timesAnswered: number): boolean {
  return timesAnswered < RETRY_ANSWERS_MAX
}
