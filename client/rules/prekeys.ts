// Prekeys at the home: counted at every sign-in and whenever the home says that few are left.
import type { PrekeyCounts } from '#crypto'
import { LOOK_UP_AGAIN_MAX_MS, LOOK_UP_AGAIN_MS } from '../limits.ts'
import type { Core, Turn } from './core.ts'
import type { HomeSession } from './ports.ts'

export type Prekeys = {
  /** Asks the home how many it has, until it answers or the session ends. */
  count(home: HomeSession): void
  /** Makes what is missing; private halves are committed before the public ones leave. */
  take(turn: Turn, counts: PrekeyCounts): void
}

export function keepPrekeys(core: Core, counted: (counts: PrekeyCounts) => void): Prekeys {
  const { clock, directory, cipher, events } = core.ports
  const later = (home: HomeSession, waitMs: number): void => {
    const next = Math.min(LOOK_UP_AGAIN_MAX_MS, waitMs * 2)
    clock.after(waitMs, () => count(home, next))
  }
  const count = (home: HomeSession, waitMs = LOOK_UP_AGAIN_MS): void => {
    if (core.session?.home === home) directory.prekeyCounts().then(counted, () => later(home, waitMs))
  }
  return {
    count,
    take(turn, counts) {
      const upload = cipher.replenish(counts)
      const home = core.session?.home
      if (!home) return
      turn.after.push(() => {
        if (!upload) return events({ type: 'prekeys-stocked' })
        directory.uploadPrekeys(upload).then(
          () => events({ type: 'prekeys-stocked' }),
          () => later(home, LOOK_UP_AGAIN_MS),
        )
      })
    },
  }
}
