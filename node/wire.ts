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

const plain = (bytes: Uint8Array): Uint8Array =>
  Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes

/**
 * Finds frames in chunks of any size. What lies whole in a chunk, as nearly all do, is a view into it; the rest is
 * collected in one buffer, which never grows beyond the frame that is on its way.
 */
export class FrameReader {
  /** A chunk that came when nothing was pending, and how far it has been read. */
  #chunk: Uint8Array | undefined
  #chunkAt = 0
  #buffer = new Uint8Array(FIRST_BUFFER_BYTES)
  #start = 0
  #end = 0

  /** Bytes of a frame that has begun and is not complete. */
  get pending(): number {
    return this.#end - this.#start + (this.#chunk ? this.#chunk.length - this.#chunkAt : 0)
  }

  /** The chunk is the reader's from now on. */
  push(chunk: Uint8Array): void {
    if (this.pending === 0) {
      this.#chunk = plain(chunk)
      this.#chunkAt = 0
      return
    }
    this.#keep()
    this.#collect(chunk)
  }

  /** The next complete frame, or undefined. Throws `too_large` as soon as a header says so. */
  next(limitBytes: number): Uint8Array | undefined {
    const chunk = this.#chunk
    if (!chunk) {
      const length = lengthAt(this.#buffer, this.#start, this.#end, limitBytes)
      if (length === undefined) return undefined
      const from = this.#start + HEADER_BYTES
      this.#start = from + length
      const body = this.#buffer.slice(from, this.#start)
      if (this.#start === this.#end) this.#reset()
      return body
    }
    const length = lengthAt(chunk, this.#chunkAt, chunk.length, limitBytes)
    if (length === undefined) {
      this.#keep()
      return undefined
    }
    const from = this.#chunkAt + HEADER_BYTES
    this.#chunkAt = from + length
    if (this.#chunkAt === chunk.length) this.#chunk = undefined
    return chunk.subarray(from, from + length)
  }

  /** What is left of a chunk is collected. */
  #keep(): void {
    const chunk = this.#chunk
    this.#chunk = undefined
    if (chunk && this.#chunkAt < chunk.length) this.#collect(chunk.subarray(this.#chunkAt))
  }

  #collect(bytes: Uint8Array): void {
    if (this.#end + bytes.length > this.#buffer.length) this.#makeRoom(bytes.length)
    this.#buffer.set(bytes, this.#end)
    this.#end += bytes.length
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

/** Length of the frame at `at` if it is complete by `end`. Throws `too_large`. */
function lengthAt(bytes: Uint8Array, at: number, end: number, limitBytes: number): number | undefined {
  if (end - at < HEADER_BYTES) return undefined
  const length = bytes[at]! * 2 ** 24 + (bytes[at + 1]! << 16) + (bytes[at + 2]! << 8) + bytes[at + 3]!
  if (length > limitBytes)
    throw new ParleyError('too_large', 'frame over the limit', { limit: `${limitBytes}`, size: `${length}` })
  return end - at < HEADER_BYTES + length ? undefined : length
}
