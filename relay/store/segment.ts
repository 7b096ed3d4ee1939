// The bytes of a segment, a file of the journal that is written from its beginning to its end and then used again.
//
// segment = head, two marks, frames: each begins at a multiple of BLOCK_BYTES, so that no write touches a block that holds
//           something acknowledged. Marks are written in turns, and the higher one counts
// head    = crc32 of the rest u32 · magic 8 · segment f64 · nonce 8 · boot u32 · boot id 16
// mark    = crc32 of (nonce, rest) u32 · low f64: records below are not needed any more
// frame   = crc32 of (nonce, rest) u32 · length u32 · number f64 · segment f64 · record · zeros to the end of its last block
//
// What lies behind the last frame is zeros, or what an earlier use left: such frames have the number of another segment.
// Nobody outside knows the nonce, so a record cannot contain what looks like a frame.
import { crc32 } from 'node:zlib'

export const BLOCK_BYTES = 4 * 1024
export const FRAME_HEAD_BYTES = 24
/** Behind the head. */
export const MARKS_AT = [BLOCK_BYTES, 2 * BLOCK_BYTES] as const
export const FRAMES_AT = 3 * BLOCK_BYTES
const MAGIC = Buffer.from('parleyJ1', 'latin1')
const SEGMENT_AT = 4 + MAGIC.length
const NONCE_AT = SEGMENT_AT + 8
const BOOT_AT = NONCE_AT + 8
const BOOT_ID_AT = BOOT_AT + 4
const HEAD_BYTES = BOOT_ID_AT + 16
const LENGTH_AT = 4
const NUMBER_AT = 8
const FRAME_SEGMENT_AT = 16
const MARK_BYTES = 4 + 8

export type SegmentHead = {
  /** Segments are numbered from 1, over all boots. */
  readonly segment: number
  /** 8 random bytes. */
  readonly nonce: Uint8Array
  /** Boots are numbered from 1. */
  readonly boot: number
  readonly bootId: Uint8Array
}

/** Where a record lies: its bytes, without the frame's head, from `from` to `to`. */
export type Frame = { readonly number: number; readonly from: number; readonly to: number }

export type ReadSegment = {
  readonly head: SegmentHead
  readonly frames: readonly Frame[]
  /** Of the marks; 0 when none got there whole. */
  readonly low: number
  /**
   * The newest record behind the end, 0 if there is none. When it is needed, what lay before it was damaged; when it is
   * not, the segment was being written over, and its new head did not get there.
   */
  readonly stray: number
}

/** What a frame takes in its file. */
export function frameBytes(recordBytes: number): number {
  return Math.ceil((FRAME_HEAD_BYTES + recordBytes) / BLOCK_BYTES) * BLOCK_BYTES
}

export function segmentHead({ segment, nonce, boot, bootId }: SegmentHead): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES)
  block.set(MAGIC, 4)
  block.writeDoubleBE(segment, SEGMENT_AT)
  block.set(nonce, NONCE_AT)
  block.writeUInt32BE(boot, BOOT_AT)
  block.set(bootId, BOOT_ID_AT)
  block.writeUInt32BE(crc32(block.subarray(4, HEAD_BYTES)), 0)
  return block
}

export function segmentMark({ nonce }: SegmentHead, low: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES)
  block.writeDoubleBE(low, 4)
  block.writeUInt32BE(crc32(block.subarray(4, MARK_BYTES), crc32(nonce)), 0)
  return block
}

export function frameHead(head: SegmentHead, number: number, record: Uint8Array): Buffer {
  const bytes = Buffer.alloc(FRAME_HEAD_BYTES)
  bytes.writeUInt32BE(record.length, LENGTH_AT)
  bytes.writeDoubleBE(number, NUMBER_AT)
  bytes.writeDoubleBE(head.segment, FRAME_SEGMENT_AT)
  bytes.writeUInt32BE(checksum(head.nonce, bytes, record), 0)
  return bytes
}

function checksum(nonce: Uint8Array, frame: Uint8Array, record: Uint8Array): number {
  return crc32(record, crc32(frame.subarray(LENGTH_AT, FRAME_HEAD_BYTES), crc32(nonce)))
}

/** Undefined when the file is not in use: never was, or what was written over its head did not get there whole. */
function readHead(bytes: Buffer): SegmentHead | undefined {
  if (bytes.length < BLOCK_BYTES || !bytes.subarray(4, SEGMENT_AT).equals(MAGIC)) return undefined
  if (bytes.readUInt32BE(0) !== crc32(bytes.subarray(4, HEAD_BYTES))) return undefined
  return {
    segment: bytes.readDoubleBE(SEGMENT_AT),
    nonce: Buffer.from(bytes.subarray(NONCE_AT, BOOT_AT)),
    boot: bytes.readUInt32BE(BOOT_AT),
    bootId: Buffer.from(bytes.subarray(BOOT_ID_AT, HEAD_BYTES)),
  }
}

export function readSegment(bytes: Buffer): ReadSegment | undefined {
  const head = readHead(bytes)
  if (!head) return undefined
  const frames: Frame[] = []
  let at = FRAMES_AT
  for (let frame = frameAt(bytes, at, head); frame; frame = frameAt(bytes, at, head)) {
    frames.push(frame)
    at += frameBytes(frame.to - frame.from)
  }
  let stray = 0
  for (at += BLOCK_BYTES; at < bytes.length; at += BLOCK_BYTES) {
    stray = Math.max(stray, frameAt(bytes, at, head)?.number ?? 0)
  }
  const low = Math.max(...MARKS_AT.map((from) => readMark(bytes, from, head)))
  return { head, frames, low, stray }
}

function readMark(bytes: Buffer, from: number, { nonce }: SegmentHead): number {
  if (bytes.length < FRAMES_AT) return 0
  const mark = bytes.subarray(from, from + MARK_BYTES)
  return mark.readUInt32BE(0) === crc32(mark.subarray(4), crc32(nonce)) ? mark.readDoubleBE(4) : 0
}

function frameAt(bytes: Buffer, at: number, head: SegmentHead): Frame | undefined {
  const from = at + FRAME_HEAD_BYTES
  if (from > bytes.length || bytes.readDoubleBE(at + FRAME_SEGMENT_AT) !== head.segment) return undefined
  const to = from + bytes.readUInt32BE(at + LENGTH_AT)
  if (to > bytes.length) return undefined
  if (bytes.readUInt32BE(at) !== checksum(head.nonce, bytes.subarray(at, from), bytes.subarray(from, to))) {
    return undefined
  }
  return { number: bytes.readDoubleBE(at + NUMBER_AT), from, to }
}
