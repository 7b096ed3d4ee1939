// What of a conversation's outbox goes onto the wire now: ascending, pipelined, at most so many k without an answer.
//
// `behind(k0)` comes once for every submission that a home could not take, so acting on each would multiply the traffic:
// it is acted on once, and again only after everything that was sent for it has been answered, or a second has passed.
import { BEHIND_AGAIN_MS } from '../limits.ts'
import { formOf, type Slot } from './slot.ts'

export type Pipe = {
  /** The next k to look at. */
  next: number
  /** Sent in this session and not answered by anything yet. */
  readonly inFlight: Set<number>
  /** Single k to send (again) out of turn: skips, and what was told to wait. */
  readonly extra: Set<number>
  /** Below this, numbered ones go again too: a home asked for them. */
  fullBelow: number
  behindAt: number | undefined
  behindUpTo: number
  /** One more look is due after a `behind` that was not acted on. */
  behindAgain: boolean
}

/** A slot as the pipe sees it: content that is not encrypted yet cannot go. */
export type Sendable = Slot & { readonly sealed: boolean }

export function newPipe(): Pipe {
  return {
    next: 1,
    inFlight: new Set(),
    extra: new Set(),
    fullBelow: 0,
    behindAt: undefined,
    behindUpTo: 0,
    behindAgain: false,
  }
}

/** A new session: from the lowest that is not safe. */
export function restartPipe(pipe: Pipe, lowest: number): void {
  pipe.next = lowest
  pipe.inFlight.clear()
  pipe.extra.clear()
  pipe.fullBelow = 0
  pipe.behindAt = undefined
  pipe.behindAgain = false
}

export function answered(pipe: Pipe, k: number): void {
  pipe.inFlight.delete(k)
}

/** Everything from k on goes (again) with what it is now. */
export function rewindPipe(pipe: Pipe, k: number): void {
  if (k >= pipe.next) return
  for (const sent of pipe.inFlight) if (sent >= k) pipe.inFlight.delete(sent)
  pipe.next = k
}

/** Whether it is acted on. */
export function takeBehind(pipe: Pipe, k0: number, lowest: number, lastK: number, nowMs: number): boolean {
  if (pipe.behindAt !== undefined && nowMs - pipe.behindAt < BEHIND_AGAIN_MS) {
    for (const k of pipe.inFlight) if (k <= pipe.behindUpTo) return false
  }
  pipe.behindAt = nowMs
  pipe.behindUpTo = 0
  pipe.fullBelow = Math.max(pipe.fullBelow, Math.min(pipe.next, lastK + 1))
  rewindPipe(pipe, Math.min(k0, lowest))
  return true
}

/** Whether anything from k on still waits for an answer. */
export function isUnanswered(pipe: Pipe, k: number): boolean {
  for (const sent of pipe.inFlight) if (sent >= k) return true
  return false
}

/** Sends k out of turn, unless its turn comes anyway. */
export function sendExtra(pipe: Pipe, k: number): void {
  if (k < pipe.next) pipe.extra.add(k)
}

/** The k that go now, ascending; they count as in flight. */
export function takeSendable(
  pipe: Pipe,
  slots: ReadonlyMap<number, Sendable>,
  lastK: number,
  inFlightMax: number,
): number[] {
  const out = [...pipe.extra].filter((k) => k < pipe.next && slots.has(k)).sort((a, b) => a - b)
  pipe.extra.clear()
  while (pipe.inFlight.size + out.length < inFlightMax && pipe.next <= lastK) {
    const slot = slots.get(pipe.next)
    if (slot && (slot.state !== 'sequenced' || pipe.next < pipe.fullBelow)) {
      if (!slot.sealed && formOf(slot) === 'content') break
      out.push(pipe.next)
    }
    pipe.next++
  }
  for (const k of out) pipe.inFlight.add(k)
  if (pipe.behindAt !== undefined && pipe.behindUpTo === 0) pipe.behindUpTo = pipe.next - 1
  return out
}
