// Reading a log: dense and ascending, or not at all. What does not follow is dropped and asked for again from the cursor;
// the chain of hashes is computed over every header that is taken, so that heads can be compared and audited.
import {
  type ConvId,
  type Cut,
  chainHash,
  checkEntry,
  convIdBytes,
  entryPosition,
  hashBefore,
  NOWHERE,
  nextPlace,
  type Position,
} from '#protocol'

const HASH_BYTES = 32

/** Everything up to `cursor` has been taken; `hash` is that of the entry there (unused at NOWHERE). */
export type ReaderState = { readonly cursor: Position; readonly hash: Uint8Array }

export type Taken = { readonly at: Position; readonly bytes: Uint8Array; readonly hash: Uint8Array }

export type Run = {
  readonly taken: readonly Taken[]
  readonly state: ReaderState
  /** Something is missing before this entry: ask again from the cursor. */
  readonly gap: Position | undefined
}

/** Throws a ParleyError when something is no entry at all. */
export function readRun(
  state: ReaderState,
  conv: ConvId,
  entries: readonly Uint8Array[],
  cuts: readonly Cut[] = [],
): Run {
  const taken: Taken[] = []
  let { cursor, hash } = state
  for (const bytes of entries) {
    checkEntry(bytes)
    const at = entryPosition(bytes)
    if (at <= cursor) continue
    if (at !== nextPlace(cursor, cuts)) return { taken, state: { cursor, hash }, gap: at }
    hash = chainHash(hashBefore(cursor, cursor === NOWHERE ? convIdBytes(conv) : hash, cuts), bytes)
    cursor = at
    taken.push({ at, bytes, hash })
  }
  return { taken, state: { cursor, hash }, gap: undefined }
}

/**
 * A run that begins behind a hole: what was before it has expired at the home. The chain cannot be followed through the
 * hole, so its hash at the end is the home's word, until what others have seen confirms it. Undefined when there is none.
 */
export function readBehindHole(
  entries: readonly Uint8Array[],
  headHash: Uint8Array,
  cuts: readonly Cut[] = [],
): Run | undefined {
  const [first, ...rest] = entries
  if (!first || headHash.length !== HASH_BYTES) return undefined
  checkEntry(first)
  const taken: Taken[] = [{ at: entryPosition(first), bytes: first, hash: headHash }]
  for (const bytes of rest) {
    checkEntry(bytes)
    const at = entryPosition(bytes)
    if (at !== nextPlace(taken.at(-1)!.at, cuts)) return undefined
    taken.push({ at, bytes, hash: headHash })
  }
  return { taken, state: { cursor: taken.at(-1)!.at, hash: headHash }, gap: undefined }
}
