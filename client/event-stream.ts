// Events as an iterator. A reader that stands still must not grow the process: beyond a limit the iterator ends.
import { ParleyError } from '#protocol'
import { EVENTS_KEPT_MAX } from './limits.ts'
import type { ParleyEvent, Profile } from './profile.ts'

export async function* eventsOf(profile: Profile, signal: AbortSignal): AsyncGenerator<ParleyEvent> {
  const kept: ParleyEvent[] = []
  let wake = Promise.withResolvers<void>()
  const hear = (event: ParleyEvent): void => {
    if (kept.length <= EVENTS_KEPT_MAX) kept.push(event)
    wake.resolve()
  }
  const stop = (): void => wake.resolve()
  profile.on('event', hear)
  signal.addEventListener('abort', stop, { once: true })
  try {
    while (!signal.aborted) {
      if (kept.length > EVENTS_KEPT_MAX) throw new ParleyError('overloaded', 'events were read too slowly')
      const event = kept.shift()
      if (event) yield event
      else {
        await wake.promise
        wake = Promise.withResolvers<void>()
      }
    }
  } finally {
    profile.off('event', hear)
    signal.removeEventListener('abort', stop)
  }
}
