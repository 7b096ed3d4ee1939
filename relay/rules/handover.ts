// A conversation on its way from one region to another: as the one that has it says it, and as the one that gets it
// builds it up again.
import { create } from '@bufbuild/protobuf'
import {
  convIdBytes,
  epochOf,
  HEADER_BYTES,
  limits,
  NOWHERE,
  nOf,
  ParleyError,
  type Position,
  PositionSchema,
  positionOf,
  readHeader,
  readParts,
  type Snapshot,
  SnapshotSchema,
  type Submission,
  SubmissionsSchema,
  writeEntry,
} from '#protocol'
import { type Author, authorOf, type Conversation } from './conversation.ts'

const place = (at: Position) => create(PositionSchema, { epoch: epochOf(at), n: nOf(at) })
const streamKey = ({ member, device, registrationEpoch, registrationVersion }: Author) => ({
  member,
  device,
  registrationEpoch,
  registrationVersion,
})

/** As it is now, without `low` and what is held, which come last: see `completed`. */
export function snapshotOf(conv: Conversation): Snapshot {
  return create(SnapshotSchema, {
    safe: place(conv.safe),
    headHash: conv.hash,
    authors: [...conv.authors.values()]
      .filter(({ last }) => last > 0)
      .map((author) => ({
        author: streamKey(author),
        last: author.last,
        window: windowOf(author),
      })),
    registers: [...conv.registers.values()].map(({ kind, member, device, version, body }) => ({
      kind,
      member,
      device,
      version: BigInt(version),
      body,
    })),
    hostRegisters: conv.moves.map(({ record }) => record),
  })
}

/**
 * `low`: below it nothing was kept any more when the last entry had been read. `held`: submissions that this home still
 * holds, by author; they go to the author's new home.
 */
export function completed(
  snapshot: Snapshot,
  low: Position,
  held: ReadonlyMap<Author, readonly Submission[]>,
): Snapshot {
  const items = [...held].map(([author, all]) =>
    create(SubmissionsSchema, { author: streamKey(author), items: [...all] }),
  )
  return { ...snapshot, low: place(low), held: items }
}

function windowOf({ last, window }: Author): { k: number; epoch: number; n: number; tag: Uint8Array }[] {
  const out = []
  for (let k = Math.max(1, last - limits.IN_FLIGHT_MAX + 1); k <= last; k++) {
    const placed = window.get(k)
    if (placed) out.push({ k, epoch: epochOf(placed.at), n: nOf(placed.at), tag: placed.tag })
  }
  return out
}

const placeOf = (at: { epoch: number; n: number } | undefined): Position => (at ? positionOf(at.epoch, at.n) : NOWHERE)

/** Throws `malformed` for one that does not fit its own log. */
export function ensureFits({ members }: Conversation, snapshot: Snapshot, head: Position): void {
  if (placeOf(snapshot.low) > head || placeOf(snapshot.safe) > head)
    throw new ParleyError('malformed', 'a snapshot beyond its own head')
  for (const { author, window } of snapshot.authors) {
    if (!author || author.member >= members.length) throw new ParleyError('malformed', 'a table of nobody')
    if (window.some(({ epoch, n }) => positionOf(epoch, n) > head))
      throw new ParleyError('malformed', 'a table beyond its log')
  }
}

/** Fills a conversation that has nothing yet, or nothing any more; throws before it changes anything. */
export function applySnapshot(conv: Conversation, snapshot: Snapshot, head: Position): void {
  ensureFits(conv, snapshot, head)
  conv.low = placeOf(snapshot.low)
  conv.safe = placeOf(snapshot.safe)
  conv.head = head
  conv.hash = head === NOWHERE ? convIdBytes(conv.id) : snapshot.headHash.slice()
  for (const { author: key, last, window } of snapshot.authors) {
    const author = authorOf(conv, key!.member, key!)
    author.last = last
    for (const { k, epoch, n, tag } of window) author.window.add(k, epoch, n, tag)
  }
}

/** The same entry with the parts of both; the headers must be equal. */
export function mergeEntries(mine: Uint8Array, theirs: Uint8Array): Uint8Array {
  if (Buffer.compare(mine.subarray(0, HEADER_BYTES), theirs.subarray(0, HEADER_BYTES)) !== 0) {
    throw new ParleyError('conflict', 'two regions have other entries at the same place')
  }
  const parts = readParts(mine)
  const more = readParts(theirs).filter((t) => !parts.some((p) => p.member === t.member && p.device === t.device))
  return more.length === 0 ? mine : writeEntry(readHeader(mine), [...parts, ...more])
}

/** The entry with the parts that its author's home still holds. */
export function fillEntry(entry: Uint8Array, submission: Submission): Uint8Array {
  const header = readHeader(entry)
  if (Buffer.compare(header.tag, submission.tag) !== 0 || submission.parts.length === 0) return entry
  return mergeEntries(entry, writeEntry(header, submission.parts))
}
