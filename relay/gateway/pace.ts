// How fast one device may speak. Without a bound a single device that sends as fast as it can takes the whole node, since
// everything that it says is honest work. What goes over the pace is not refused: its socket is not read for a while, so
// that it waits in the device's own buffers, and nothing is kept here.
import type { Clock } from '#protocol'
import { PACE_BURST, PACE_ITEM_COST, PACE_PER_SECOND, PACE_TICK_MS } from '../limits.ts'
import { type Held, hold, release } from './connection.ts'

export type Pace = {
  /** A frame of so many bytes with so many things in it has come. */
  spend(connection: Held, bytes: number, items: number): void
}

export function createPace(clock: Pick<Clock, 'monotonic' | 'after'>): Pace {
  /** When each would have its whole burst again; only of those that have spoken lately. */
  const fullAt = new WeakMap<Held, number>()
  const paused = new Set<Held>()

  const tick = (): void => {
    const now = clock.monotonic()
    for (const connection of paused) {
      if ((fullAt.get(connection) ?? 0) - now > BURST_MS) continue
      paused.delete(connection)
      release(connection)
    }
    if (paused.size > 0) clock.after(PACE_TICK_MS, tick)
  }

  return {
    spend(connection, bytes, items) {
      const now = clock.monotonic()
      const cost = ((bytes + items * PACE_ITEM_COST) * 1_000) / PACE_PER_SECOND
      const full = Math.max(fullAt.get(connection) ?? 0, now) + cost
      fullAt.set(connection, full)
      if (full - now <= BURST_MS || paused.has(connection)) return
      hold(connection)
      paused.add(connection)
      if (paused.size === 1) clock.after(PACE_TICK_MS, tick)
    },
  }
}

const BURST_MS = (PACE_BURST * 1_000) / PACE_PER_SECOND
