// An entry of a log: a header that never changes and is hash-chained, and parts that are dropped when nobody needs them.
//
//   header (47 bytes, big-endian): version u8 = 1, kind u8, epoch u32, n u32, member u32, device u8, registration u32 u32,
//                                  k u32, tag 8, membership version u32, time u64 ms
//   entry:  header, count u16, then per part: member u32, device u8 (0 = all), length u32, ciphertext
//
// The bytes of an entry on the wire are its bytes in the journal; fan-out selects parts and concatenates.
import { hash } from 'node:crypto'
import { putU32, slabAllocator, u32At } from './bytes.ts'
import { DEVICE_NUMBER_MAX, ENTRY_MAX_BYTES, EPOCH_MAX, PART_MAX_BYTES, PARTS_MAX } from './limits.ts'
import { epochOf, nOf, type Position, positionOf } from './position.ts'
import { ParleyError } from './refusals.ts'

export const HEADER_BYTES = 47
export const TAG_BYTES = 8
export const PART_OVERHEAD_BYTES = 9
const VERSION = 1
const HASH_BYTES = 32

export const KIND_CONTENT = 1
export const KIND_SKIP = 2
export const KIND_CONTROL = 3
export const KIND_KEYS = 4
export const KIND_SUPPLEMENT = 5

/** (device number, registration): which device of a member wrote or reads. */
export type DeviceKey = {
  readonly device: number
  readonly registrationEpoch: number
  readonly registrationVersion: number
}

export type EntryHeader = DeviceKey & {
  readonly kind: number
  readonly at: Position
  /** The number that the control fold gave the author; direct: 0 for the smaller userId, 1 for the other. */
  readonly member: number
  readonly k: number
  readonly tag: Uint8Array
  readonly membershipVersion: number
  /** The host's time, ms. */
  readonly timeMs: number
}

export type EntryPart = { readonly member: number; readonly device: number; readonly body: Uint8Array }

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

const SLAB_BYTES = 64 * 1024
const SLAB_ENTRY_MAX_BYTES = 8 * 1024
const allocate = slabAllocator(SLAB_BYTES, SLAB_ENTRY_MAX_BYTES)

/** Entries that were copied one after the other share memory, as those that were written do. */
export function copyEntry(entry: Uint8Array): Uint8Array {
  const out = allocate(entry.length)
  out.set(entry)
  return out
}

/**
 * The inverse of `readHeader` and `readParts`. Throws a RangeError for what `checkEntry` would refuse for its size.
 * Entries that were written one after the other share memory: whoever keeps one for long copies it.
 */
export function writeEntry(header: EntryHeader, parts: readonly EntryPart[]): Uint8Array {
  if (parts.length > PARTS_MAX) throw new RangeError(`entry of ${parts.length} parts`)
  let size = HEADER_BYTES + 2
  for (const part of parts) size += PART_OVERHEAD_BYTES + part.body.length
  if (size > ENTRY_MAX_BYTES) throw new RangeError(`entry of ${size} bytes`)
  if (header.tag.length !== TAG_BYTES) throw new RangeError(`tag of ${header.tag.length} bytes`)
  const out = allocate(size)
  out[0] = VERSION
  out[1] = header.kind
  putU32(out, 2, epochOf(header.at))
  putU32(out, 6, nOf(header.at))
  putU32(out, 10, header.member)
  out[14] = header.device
  putU32(out, 15, header.registrationEpoch)
  putU32(out, 19, header.registrationVersion)
  putU32(out, 23, header.k)
  for (let i = 0; i < TAG_BYTES; i++) out[27 + i] = header.tag[i]!
  putU32(out, 35, header.membershipVersion)
  putU32(out, 39, Math.floor(header.timeMs / 2 ** 32))
  putU32(out, 43, header.timeMs % 2 ** 32)
  out[HEADER_BYTES] = parts.length >> 8
  out[HEADER_BYTES + 1] = parts.length
  let at = HEADER_BYTES + 2
  for (const part of parts) {
    putU32(out, at, part.member)
    out[at + 4] = part.device
    putU32(out, at + 5, part.body.length)
    out.set(part.body, at + PART_OVERHEAD_BYTES)
    at += PART_OVERHEAD_BYTES + part.body.length
  }
  return out
}

function ensure(holds: boolean, what: string): void {
  if (!holds) throw new ParleyError('malformed', what)
}

function checkHeader(bytes: Uint8Array, view: DataView): void {
  ensure(bytes[0] === VERSION, `entry of version ${bytes[0]}`)
  ensure(bytes[1]! >= KIND_CONTENT && bytes[1]! <= KIND_SUPPLEMENT, `entry of kind ${bytes[1]}`)
  const epoch = view.getUint32(2)
  ensure(epoch >= 1 && epoch <= EPOCH_MAX, 'epoch out of range')
  ensure(view.getUint32(6) >= 1, 'n counts from 1')
  ensure(bytes[14]! >= 1 && bytes[14]! <= DEVICE_NUMBER_MAX, 'entry of no possible device')
  ensure(view.getUint32(15) >= 1 && view.getUint32(19) >= 1, 'registration out of range')
  ensure(view.getUint32(23) >= 1, 'k counts from 1')
  ensure(view.getUint32(39) <= 0x1f_ffff, 'time beyond the limit')
}

/** Throws `malformed`, `too_large` or `too_many` unless `bytes` is exactly one entry. Never copies ciphertext. */
export function checkEntry(bytes: Uint8Array): void {
  if (bytes.length > ENTRY_MAX_BYTES) {
    throw new ParleyError('too_large', 'entry over the limit', { limit: `${ENTRY_MAX_BYTES}`, size: `${bytes.length}` })
  }
  ensure(bytes.length >= HEADER_BYTES + 2, 'entry cut off')
  const view = viewOf(bytes)
  checkHeader(bytes, view)
  const count = view.getUint16(HEADER_BYTES)
  if (count > PARTS_MAX) throw new ParleyError('too_many', 'parts over the limit', { limit: `${PARTS_MAX}` })
  ensure(count === 0 || bytes[1] !== KIND_SKIP, 'a skip with parts')
  let at = HEADER_BYTES + 2
  for (let i = 0; i < count; i++) {
    ensure(at + PART_OVERHEAD_BYTES <= bytes.length, 'part cut off')
    ensure(bytes[at + 4]! <= DEVICE_NUMBER_MAX, 'a part for no possible device')
    const length = view.getUint32(at + 5)
    ensure(length > 0, 'a part without ciphertext')
    if (length > PART_MAX_BYTES) {
      throw new ParleyError('too_large', 'part over the limit', { limit: `${PART_MAX_BYTES}`, size: `${length}` })
    }
    at += PART_OVERHEAD_BYTES + length
  }
  ensure(at === bytes.length, 'entry of wrong length')
}

/** Of an entry that `checkEntry` has passed. */
export function readHeader(bytes: Uint8Array): EntryHeader {
  return {
    kind: bytes[1]!,
    at: entryPosition(bytes),
    member: u32At(bytes, 10),
    device: bytes[14]!,
    registrationEpoch: u32At(bytes, 15),
    registrationVersion: u32At(bytes, 19),
    k: u32At(bytes, 23),
    tag: bytes.subarray(27, 35),
    membershipVersion: u32At(bytes, 35),
    timeMs: u32At(bytes, 39) * 2 ** 32 + u32At(bytes, 43),
  }
}

export const entryPosition = (bytes: Uint8Array): Position => positionOf(u32At(bytes, 2), u32At(bytes, 6))

export function readParts(bytes: Uint8Array): EntryPart[] {
  const view = viewOf(bytes)
  const parts: EntryPart[] = []
  let at = HEADER_BYTES + 2
  for (let i = view.getUint16(HEADER_BYTES); i > 0; i--) {
    const length = view.getUint32(at + 5)
    const start = at + PART_OVERHEAD_BYTES
    parts.push({ member: view.getUint32(at), device: bytes[at + 4]!, body: bytes.subarray(start, start + length) })
    at = start + length
  }
  return parts
}

/** What of an entry that `checkEntry` has passed is for this device, or (0) for all of the member's; a view. */
export function partFor(bytes: Uint8Array, member: number, device: number): Uint8Array | undefined {
  let at = HEADER_BYTES + 2
  for (let i = (bytes[HEADER_BYTES]! << 8) | bytes[HEADER_BYTES + 1]!; i > 0; i--) {
    const start = at + PART_OVERHEAD_BYTES
    const end = start + u32At(bytes, at + 5)
    const named = bytes[at + 4]!
    if ((named === device || named === 0) && u32At(bytes, at) === member) return bytes.subarray(start, end)
    at = end
  }
  return undefined
}

/** The same entry with the parts that `keep` accepts; the bytes themselves when that is all of them. */
export function selectParts(bytes: Uint8Array, keep: (member: number, device: number) => boolean): Uint8Array {
  const view = viewOf(bytes)
  const count = view.getUint16(HEADER_BYTES)
  const kept: [number, number][] = []
  let size = HEADER_BYTES + 2
  let at = HEADER_BYTES + 2
  for (let i = 0; i < count; i++) {
    const end = at + PART_OVERHEAD_BYTES + view.getUint32(at + 5)
    if (keep(view.getUint32(at), bytes[at + 4]!)) {
      kept.push([at, end])
      size += end - at
    }
    at = end
  }
  if (kept.length === count) return bytes
  const out = new Uint8Array(size)
  out.set(bytes.subarray(0, HEADER_BYTES))
  viewOf(out).setUint16(HEADER_BYTES, kept.length)
  let to = HEADER_BYTES + 2
  for (const [from, end] of kept) {
    out.set(bytes.subarray(from, end), to)
    to += end - from
  }
  return out
}

const chained = new Uint8Array(HASH_BYTES + HEADER_BYTES)

/** hash(n) = SHA-256(hash(n - 1) ‖ header); the first previous hash is the convId's bytes. */
export function chainHash(previous: Uint8Array, entry: Uint8Array): Uint8Array {
  if (previous.length !== HASH_BYTES) throw new RangeError(`a hash of ${previous.length} bytes`)
  for (let i = 0; i < HASH_BYTES; i++) chained[i] = previous[i]!
  for (let i = 0; i < HEADER_BYTES; i++) chained[HASH_BYTES + i] = entry[i]!
  // As a string it costs a quarter: node makes no buffer for it.
  const text = hash('sha256', chained, 'binary')
  const out = new Uint8Array(HASH_BYTES)
  for (let i = 0; i < HASH_BYTES; i++) out[i] = text.charCodeAt(i)
  return out
}

/** The first previous hash of epoch e + 1: SHA-256(hash at the cut ‖ host register as received). */
export function epochHash(atCut: Uint8Array, hostRegister: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', Buffer.concat([atCut, hostRegister]), 'buffer'))
}
