// Frames on a stream: u32 length (big-endian), then the bytes. And counting what a message repeats before it is
// decoded: a few kilobytes can otherwise ask for a hundred thousand objects.
import { ParleyError } from '#protocol'

const HEADER_BYTES = 4
const FIRST_BUFFER_BYTES = 4_096

export function frame(body: Uint8Array): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + body.length)
  writeLength(out, 0, body.length)
  out.set(body, HEADER_BYTES)
  return out
}

export function writeLength(out: Uint8Array, at: number, length: number): void {
  out[at] = length >>> 24
  out[at + 1] = length >>> 16
  out[at + 2] = length >>> 8
  out[at + 3] = length
}

/** Collects chunks of any size into one buffer, which never grows beyond the frame that is on its way. */
export class FrameReader {
  #buffer = new Uint8Array(FIRST_BUFFER_BYTES)
  #start = 0
  #end = 0

  /** Bytes of a frame that has begun and is not complete. */
  get pending(): number {
    return this.#end - this.#start
  }

  push(chunk: Uint8Array): void {
    if (this.#end + chunk.length > this.#buffer.length) this.#makeRoom(chunk.length)
    this.#buffer.set(chunk, this.#end)
    this.#end += chunk.length
  }

  /** The next complete frame, or undefined. Throws `too_large` as soon as a header says so. */
  next(limitBytes: number): Uint8Array | undefined {
    if (this.pending < HEADER_BYTES) return undefined
    const at = this.#start
    const view = this.#buffer
    const length = view[at]! * 2 ** 24 + (view[at + 1]! << 16) + (view[at + 2]! << 8) + view[at + 3]!
    if (length > limitBytes)
      throw new ParleyError('too_large', 'frame over the limit', { limit: `${limitBytes}`, size: `${length}` })
    if (this.pending < HEADER_BYTES + length) return undefined
    this.#start += HEADER_BYTES + length
    const body = view.slice(at + HEADER_BYTES, this.#start)
    if (this.#start === this.#end) this.#reset()
    return body
  }

  #makeRoom(more: number): void {
    const needed = this.pending + more
    const target =
      needed > this.#buffer.length ? new Uint8Array(Math.max(needed, 2 * this.#buffer.length)) : this.#buffer
    target.set(this.#buffer.subarray(this.#start, this.#end))
    this.#end = this.pending
    this.#start = 0
    this.#buffer = target
  }

  #reset(): void {
    this.#start = 0
    this.#end = 0
    if (this.#buffer.length > 16 * FIRST_BUFFER_BYTES) this.#buffer = new Uint8Array(FIRST_BUFFER_BYTES)
  }
}

/**
 * How often `field` occurs at the top level of a protobuf message, in [start, end). Throws `malformed` when the bytes
 * cannot be walked.
 */
export function countField(bytes: Uint8Array, wanted: number): { count: number; last: Uint8Array } {
  let at = 0
  let count = 0
  let last = bytes.subarray(0, 0)
  const varint = (): number => {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at++]
      if (byte === undefined) break
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new ParleyError('malformed', 'bytes that are no message')
  }
  while (at < bytes.length) {
    const tag = varint()
    const kind = tag % 8
    let length = 0
    if (kind === 0) varint()
    else if (kind === 1) length = 8
    else if (kind === 2) length = varint()
    else if (kind === 5) length = 4
    else throw new ParleyError('malformed', 'bytes that are no message')
    if (at + length > bytes.length) throw new ParleyError('malformed', 'bytes that are no message')
    if (Math.floor(tag / 8) === wanted) {
      count++
      last = bytes.subarray(at, at + length)
    }
    at += length
  }
  return { count, last }
}
