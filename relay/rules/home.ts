// The home's table (PROTOCOL, section 2): what becomes of a submission that a device hands to its home.
import { KIND_SKIP } from '#protocol'
import { type Author, findHeld, type Held, nextFree } from './conversation.ts'
import type { Placed } from './window.ts'

export type SubmissionFacts = {
  readonly k: number
  readonly tag: Uint8Array
  readonly rev: number
  readonly kind: number
  readonly size: number
}

export type HomeOutcome =
  /** New: keep it, forward it. */
  | { readonly do: 'take' }
  /** A higher rev of what is kept: replace it, forward it; a run that had stopped goes on. */
  | { readonly do: 'replace' }
  | { readonly do: 'sequenced'; readonly placed: Placed }
  | { readonly do: 'past'; readonly last: number }
  /** It is kept; `stop` is the host's verdict on it, if there is one. */
  | { readonly do: 'held'; readonly stop: Uint8Array | undefined }
  | { readonly do: 'behind'; readonly k: number }
  | { readonly do: 'conflict' }
  | { readonly do: 'no_room' }

export type Budget = { readonly submissions: number; readonly bytes: number }

const sameTag = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

function onHeld(mine: Held, theirs: SubmissionFacts): HomeOutcome {
  const same = sameTag(mine.tag, theirs.tag)
  const cancels = theirs.kind === KIND_SKIP && mine.kind !== KIND_SKIP
  if (theirs.rev > mine.rev && (same || cancels)) return { do: 'replace' }
  return same ? { do: 'held', stop: mine.stop } : { do: 'conflict' }
}

/** `room`: what the person may still have kept here. */
export function homeTake(author: Author, submission: SubmissionFacts, room: Budget): HomeOutcome {
  const { k } = submission
  if (k <= author.last) {
    const placed = author.window.get(k)
    return placed ? { do: 'sequenced', placed } : { do: 'past', last: author.last }
  }
  const mine = findHeld(author, k)
  if (mine) return onHeld(mine, submission)
  const free = nextFree(author)
  if (k !== free) return { do: 'behind', k: free }
  // A cut can open a hole below the run: what fills it is taken whatever the budget, or the run could never go on.
  const fillsHole = author.run.length > 0 && k < author.run[author.run.length - 1]!.k
  if (!fillsHole && (room.submissions < 1 || room.bytes < submission.size)) return { do: 'no_room' }
  return { do: 'take' }
}

/** The held submissions that may be on their way now: from `from`, up to the first stop, within what may be in flight. */
export function forwardable(author: Author, from: number, inFlightMax: number): Held[] {
  const out: Held[] = []
  for (const held of author.run) {
    if (held.k <= author.last) continue
    if (held.stop || held.k > author.last + inFlightMax) break
    if (held.k >= from) out.push(held)
  }
  return out
}

/** A host's `stale` or `final` counts unless the log or a newer rev has overtaken it. */
export function verdictCounts(author: Author, k: number, rev: number): Held | undefined {
  const held = findHeld(author, k)
  return held && k > author.last && rev >= held.rev ? held : undefined
}
