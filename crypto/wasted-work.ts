// What a device does for messages that turn out to be forged.
//
// For each message that a chain is behind, libsignal derives a key, up to 25,000 of them, in every state of the session,
// and only then looks at the MAC. Counters are plain numbers in the message, so a host, which has no keys at all, can make
// a device do that work with 235 bytes. How far an honest message may be ahead has no bound: contents that were encrypted
// again or cancelled, what fell to a cut or was kept too long at home leave counters that never arrive. So it is counted
// what led to nothing. As long as that is little everything is tried; beyond it only messages of sessions under which
// something was read and nothing has failed, and those that cost little. The others are undecryptable for a while, which
// asking again on a new session repairs.
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { type PreKeySignalMessage, SignalMessage } from '@signalapp/libsignal-client'
import { type Clock, ParleyError } from '#protocol'
import { raw } from './bytes.ts'
import {
  JUMP_STEPS_FREE,
  PQ_STEP,
  SESSIONS_REMEMBERED,
  SIGNAL_JUMP_MAX,
  WASTED_STEPS_MAX,
  WASTED_STEPS_PER_S,
} from './limits.ts'

/** Of a PreKeySignalMessage: the message that comes with the set-up. */
const INNER_FIELD = 4

type Message = SignalMessage | PreKeySignalMessage

/** One message that libsignal is asked to read. */
export type Attempt = { succeeded(): void; failed(): void }

export type WastedWork = {
  /** Throws `undecryptable` when too much was done for nothing. */
  attempt(session: string, message: Message): Attempt
}

export function countWastedWork(clock: Clock): WastedWork {
  const sessions = new Map<string, 'read' | 'failed'>()
  let left = WASTED_STEPS_MAX
  let leftAtMs = clock.monotonic()

  const refill = (): void => {
    if (left === WASTED_STEPS_MAX) return
    const nowMs = clock.monotonic()
    left = Math.min(WASTED_STEPS_MAX, left + ((nowMs - leftAtMs) / 1_000) * WASTED_STEPS_PER_S)
    leftAtMs = nowMs
    if (left < WASTED_STEPS_MAX) return
    for (const [session, what] of sessions) if (what === 'failed') sessions.delete(session)
  }
  const remember = (session: string, what: 'read' | 'failed'): void => {
    sessions.delete(session)
    sessions.set(session, what)
    if (sessions.size > SESSIONS_REMEMBERED) sessions.delete(sessions.keys().next().value!)
  }

  return {
    attempt(session, message) {
      refill()
      if (left <= 0 && sessions.get(session) !== 'read' && stepsOf(message) > JUMP_STEPS_FREE) {
        throw new ParleyError('undecryptable', 'too many forged messages were far ahead of what was read')
      }
      return {
        succeeded() {
          if (!sessions.has(session)) remember(session, 'read')
        },
        failed() {
          const steps = stepsOf(message)
          if (steps <= JUMP_STEPS_FREE) return
          if (left === WASTED_STEPS_MAX) leftAtMs = clock.monotonic()
          left -= steps
          remember(session, 'failed')
        },
      }
    },
  }
}

/** At most, in each state: from the beginning of its chains. What is farther libsignal refuses without a step. */
function stepsOf(message: Message): number {
  try {
    const inner = message instanceof SignalMessage ? message : innerOf(message)
    const pqIndex = pqIndexOf(inner.pqRatchet())
    return Math.min(inner.counter(), SIGNAL_JUMP_MAX) + Math.min(pqIndex, SIGNAL_JUMP_MAX) * PQ_STEP
  } catch {
    return 0
  }
}

/** The post-quantum ratchet counts by itself: version, epoch, index. */
function pqIndexOf(pq: Uint8Array): number {
  if (pq.length === 0) return 0
  const reader = new BinaryReader(pq.subarray(1))
  reader.uint64()
  return reader.uint32()
}

function innerOf(message: PreKeySignalMessage): SignalMessage {
  const reader = new BinaryReader(message.serialize().subarray(1))
  for (;;) {
    const [field, type] = reader.tag()
    if (field === INNER_FIELD && type === WireType.LengthDelimited)
      return SignalMessage.deserialize(raw(reader.bytes()))
    reader.skip(type, field)
  }
}
