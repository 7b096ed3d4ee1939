// Prekeys at the home: counted at every sign-in and whenever the home says that few are left.
// What was made is kept until the home has taken it, also across a restart, and the same bytes are sent again: making
// new ones each time would use up ids until private halves go whose public ones the home still hands out.
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import type { PrekeyCounts } from '#crypto'
import {
  limits,
  type ParleyError,
  PrekeysBodySchema,
  type SignedPrekeys,
  SignedPrekeysSchema,
  type Timer,
} from '#protocol'
import { LOOK_UP_AGAIN_MAX_MS, LOOK_UP_AGAIN_MS, UPLOAD_AGAIN_MAX_MS } from '../limits.ts'
import { type Core, say, type Turn } from './core.ts'
import type { HomeSession } from './ports.ts'

/** Among the keys: when a device registers anew, it goes with them. */
const ROW = { kind: 'upload', key: 'prekeys' } as const

export type Prekeys = {
  /** Asks the home how many it has, until it answers or the session ends. */
  count(home: HomeSession): void
  /** Makes what is missing; private halves are committed before the public ones leave. */
  take(turn: Turn, counts: PrekeyCounts): void
  /** The home has taken this upload. */
  stocked(turn: Turn, upload: SignedPrekeys): void
}

type Answers = {
  readonly counted: (counts: PrekeyCounts) => void
  readonly stocked: (upload: SignedPrekeys) => void
}

export function keepPrekeys(core: Core, answers: Answers): Prekeys {
  const { clock, db, directory, cipher } = core.ports
  const row = db.get('keys', [ROW.kind, ROW.key])
  let kept = row && fromBinary(SignedPrekeysSchema, row.value)
  /** It was made for counts of some time ago. */
  let isOld = kept !== undefined
  let waitMs = LOOK_UP_AGAIN_MS
  let again: Timer | undefined

  const stopWaiting = (): void => {
    again?.cancel()
    again = undefined
  }
  /** It was made while the clock was wrong, and no home takes it before that time. */
  const isFuture = (upload: SignedPrekeys): boolean =>
    Number(fromBinary(PrekeysBodySchema, upload.payload).timeMs) > clock.now() + limits.CLOCK_SKEW_MS
  const count = (home: HomeSession, countAgainMs = LOOK_UP_AGAIN_MS): void => {
    if (core.session?.home !== home) return
    stopWaiting()
    directory.prekeyCounts().then(answers.counted, () => {
      clock.after(countAgainMs, () => count(home, Math.min(LOOK_UP_AGAIN_MAX_MS, countAgainMs * 2)))
    })
  }
  const refused = (home: HomeSession, upload: SignedPrekeys, error: ParleyError): void => {
    // The home has a newer upload, so it will never take this one.
    if (error.code === 'too_old' && kept === upload) kept = undefined
    // A later session asks by itself.
    if (again || core.session?.home !== home) return
    again = clock.after(waitMs, () => count(home))
    waitMs = Math.min(UPLOAD_AGAIN_MAX_MS, waitMs * 2)
  }
  return {
    count,
    take(turn, counts) {
      // A home that says again and again that it has none left is not asked more often for that.
      if (again) return
      if (kept && isFuture(kept)) {
        kept = undefined
        turn.draft.delete('keys', [ROW.kind, ROW.key])
      }
      isOld = kept !== undefined
      kept ??= cipher.replenish(counts)
      const upload = kept
      if (upload && !isOld) turn.draft.put('keys', { ...ROW, value: toBinary(SignedPrekeysSchema, upload) })
      const home = core.session?.home
      if (!home) return
      if (!upload) return say(turn, { type: 'prekeys-stocked' })
      turn.after.push(() => {
        directory.uploadPrekeys(upload).then(
          () => answers.stocked(upload),
          (error: ParleyError) => refused(home, upload, error),
        )
      })
    },
    stocked(turn, upload) {
      // The same bytes may have been on their way twice.
      if (kept !== upload) return
      kept = undefined
      waitMs = LOOK_UP_AGAIN_MS
      stopWaiting()
      turn.draft.delete('keys', [ROW.kind, ROW.key])
      say(turn, { type: 'prekeys-stocked' })
      const home = core.session?.home
      if (isOld && home) turn.after.push(() => count(home))
    },
  }
}
