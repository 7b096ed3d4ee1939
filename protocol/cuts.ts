// The order of a log that has moved: each host register opens an epoch right behind a place of the epochs before it, and
// whatever stands there beyond that place is void.
import { epochHash } from './entry.ts'
import { epochOf, NOWHERE, nextOf, type Position, positionOf } from './position.ts'

/** What matters of a host register; a conversation has them in ascending epochs. */
export type Cut = { readonly epoch: number; readonly cut: Position; readonly payload: Uint8Array }

/** Where a log begins that no host register opens. */
const FIRST = positionOf(1, 1)

/** The register that opens the epoch right behind `head`: the newest of several, when epochs between stayed empty. */
export function cutAt(head: Position, cuts: readonly Cut[]): Cut | undefined {
  return cuts.findLast(({ epoch, cut }) => cut === head && epoch > epochOf(head))
}

/** The one place at which an entry can follow `head`. */
export function nextPlace(head: Position, cuts: readonly Cut[]): Position {
  const opened = cutAt(head, cuts)
  if (opened) return positionOf(opened.epoch, 1)
  return head === NOWHERE ? FIRST : nextOf(head)
}

/** The hash that the entry behind `head` is chained to. */
export function hashBefore(head: Position, hash: Uint8Array, cuts: readonly Cut[]): Uint8Array {
  const opened = cutAt(head, cuts)
  return opened ? epochHash(hash, opened.payload) : hash
}

export function isVoid(at: Position, cuts: readonly Cut[]): boolean {
  return cuts.some(({ epoch, cut }) => epochOf(at) < epoch && at > cut)
}

/** The last place that still stands for somebody who had everything up to `head`. */
export function keptOf(head: Position, cuts: readonly Cut[]): Position {
  let kept = head
  for (const { epoch, cut } of cuts) if (epochOf(kept) < epoch && kept > cut) kept = cut
  return kept
}
