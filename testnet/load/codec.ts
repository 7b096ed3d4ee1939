// The frames of a device with one conversation, put together and taken apart by hand: protobuf by offsets, without an object
// per message. The relay decodes them with its own codec; `codec.test.ts` holds both against each other.
import { HEADER_BYTES } from '#protocol'

/** Small numbers of the one conversation. */
const CONV = 1

const varintBytes = (value: number): number =>
  value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : value < 0x1000_0000 ? 4 : 5

function putVarint(out: Uint8Array, at: number, value: number): number {
  let rest = value
  let to = at
  while (rest >= 0x80) {
    out[to++] = (rest & 0x7f) | 0x80
    rest = Math.floor(rest / 128)
  }
  out[to++] = rest
  return to
}

function field(number: number, bytes: Uint8Array): Uint8Array {
  const head = new Uint8Array(6)
  const end = putVarint(head, putVarint(head, 0, (number << 3) | 2), bytes.length)
  return Buffer.concat([head.subarray(0, end), bytes])
}

const numbers = (...values: readonly (readonly [field: number, value: number])[]): Uint8Array => {
  const out = new Uint8Array(values.length * 6)
  let at = 0
  for (const [number, value] of values) if (value !== 0) at = putVarint(out, putVarint(out, at, number << 3), value)
  return out.subarray(0, at)
}

export type Place = { epoch: number; n: number }

/** What a device says in one frame: submissions of k from..to, and how far it has the log. */
export type DeviceFrameWriter = {
  /** `ackOf`: undefined says nothing of the log. */
  write(from: number, to: number, ackOf: Place | undefined): Uint8Array
}

const TAG_BYTES = 8
/** conv, then k's field number. */
const SUBMISSION_HEAD = new Uint8Array([0x08, CONV, 0x10])

/**
 * Submissions of a text of `bodyBytes` for device 1 of `member`, encrypted for both members' first manifests. The body is
 * random and begins with k, so that whoever gets it can tell that it is the right one.
 */
export function deviceFrameWriter(member: number, body: Uint8Array): DeviceFrameWriter {
  const partHead = numbers([1, member], [2, 1])
  const part = field(8, Buffer.concat([partHead, field(3, body)]))
  const encrypted = [0, 1].map((m) => field(7, numbers([1, m], [2, 1], [3, 1])))
  // After k: tag, kind, encrypted_for, parts.
  const rest = Buffer.concat([field(3, new Uint8Array(TAG_BYTES)), numbers([5, 1]), ...encrypted, part])
  const tagAt = 2
  const bodyAt = rest.length - body.length
  return {
    write(from, to, ackOf) {
      const cursor = ackOf && field(3, numbers([1, CONV], [2, ackOf.epoch], [3, ackOf.n]))
      const each = SUBMISSION_HEAD.length + rest.length
      const room = (each + 16) * Math.max(0, to - from + 1) + (cursor?.length ?? 0)
      const out = Buffer.allocUnsafe(room)
      let at = 0
      for (let k = from; k <= to; k++) {
        out[at++] = 0x12
        at = putVarint(out, at, each + varintBytes(k))
        out.set(SUBMISSION_HEAD, at)
        at = putVarint(out, at + SUBMISSION_HEAD.length, k)
        out.set(rest, at)
        out.writeUInt32BE(k, at + tagAt)
        out.writeUInt32BE(k, at + bodyAt)
        at += rest.length
      }
      if (cursor) {
        out.set(cursor, at)
        at += cursor.length
      }
      return out.subarray(0, at)
    },
  }
}

export const pullFrame = ({ epoch, n }: Place, maxBytes: number): Uint8Array =>
  field(4, numbers([1, CONV], [2, epoch], [3, n], [4, maxBytes]))

export const pingFrame = (ping: number): Uint8Array => numbers([6, ping])

/** What a home says, by offsets into its frame. */
export type HomeFrameHandlers = {
  sequenced(k: number): void
  /** Any other verdict: the number of its field, and k. */
  verdict(field: number, k: number): void
  entry(bytes: Uint8Array, from: number, to: number): void
  /** After the entries of a run. */
  run(page: boolean, headEpoch: number, headN: number): void
  behind(fromEpoch: number, fromN: number, headEpoch: number, headN: number): void
  pong(ping: number): void
  refused(): void
}

class Cursor {
  bytes: Uint8Array = new Uint8Array(0)
  at = 0

  varint(): number {
    let value = 0
    let scale = 1
    for (;;) {
      const byte = this.bytes[this.at++]
      if (byte === undefined) throw new Error('a frame that is cut off')
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 128
    }
  }

  /** Passes over the value of a field. */
  skip(key: number): void {
    switch (key & 7) {
      case 0:
        this.varint()
        break
      case 1:
        this.at += 8
        break
      case 2: {
        const length = this.varint()
        this.at += length
        break
      }
      case 5:
        this.at += 4
        break
      default:
        throw new Error('a wire type that nobody uses')
    }
  }
}

const SEQUENCED = 4
const cursor = new Cursor()

function readVerdict(end: number, on: HomeFrameHandlers): void {
  let k = 0
  let outcome = 0
  while (cursor.at < end) {
    const key = cursor.varint()
    if (key === 0x10) k = cursor.varint()
    else {
      const number = key >> 3
      if (number >= SEQUENCED && number <= 12) outcome = number
      cursor.skip(key)
    }
  }
  if (outcome === SEQUENCED) on.sequenced(k)
  else on.verdict(outcome, k)
}

function readRun(bytes: Uint8Array, end: number, on: HomeFrameHandlers): void {
  let page = false
  let epoch = 0
  let n = 0
  while (cursor.at < end) {
    const key = cursor.varint()
    if (key === 0x12) {
      const length = cursor.varint()
      const from = cursor.at
      cursor.at = from + length
      on.entry(bytes, from, cursor.at)
    } else if (key === 0x20) page = cursor.varint() !== 0
    else if (key === 0x28) epoch = cursor.varint()
    else if (key === 0x30) n = cursor.varint()
    else cursor.skip(key)
  }
  on.run(page, epoch, n)
}

function readBehind(end: number, on: HomeFrameHandlers): void {
  const values = [0, 0, 0, 0, 0, 0]
  while (cursor.at < end) {
    const key = cursor.varint()
    values[key >> 3] = cursor.varint()
  }
  on.behind(values[4]!, values[5]!, values[2]!, values[3]!)
}

export function readHomeFrame(bytes: Uint8Array, from: number, to: number, on: HomeFrameHandlers): void {
  cursor.bytes = bytes
  cursor.at = from
  while (cursor.at < to) {
    const key = cursor.varint()
    if (key === 0x12 || key === 0x1a || key === 0x22) {
      const length = cursor.varint()
      const end = cursor.at + length
      if (end > to) throw new Error('a frame that is cut off')
      if (key === 0x12) readVerdict(end, on)
      else if (key === 0x1a) readRun(bytes, end, on)
      else readBehind(end, on)
    } else if (key === 0x38) on.pong(cursor.varint())
    else {
      if (key === 0x42) on.refused()
      cursor.skip(key)
    }
  }
}

export const u32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0

/** Fields of an entry's header, by its offset. */
export const entryEpoch = (bytes: Uint8Array, from: number): number => u32(bytes, from + 2)
export const entryN = (bytes: Uint8Array, from: number): number => u32(bytes, from + 6)
export const entryMember = (bytes: Uint8Array, from: number): number => u32(bytes, from + 10)
export const entryK = (bytes: Uint8Array, from: number): number => u32(bytes, from + 23)

const BODY_AT = HEADER_BYTES + 2 + 9

/** Bytes of the body of the only part; -1 when the entry has not exactly one. */
export function bodyBytes(bytes: Uint8Array, from: number, to: number): number {
  return to - from < BODY_AT + 4 || bytes[from + HEADER_BYTES + 1] !== 1 ? -1 : to - from - BODY_AT
}

/** What the body of the only part begins with: k, as its author wrote it. */
export const bodyK = (bytes: Uint8Array, from: number): number => u32(bytes, from + BODY_AT)
