// Writes the protobuf wire format by hand, for frames that carry what people send: one buffer that is used again and
// again, and one copy of what was written at the end.

const FIRST_BYTES = 64 * 1024
const POOLED_MAX_BYTES = 4 * 1024

/** Bytes that a number takes. */
export function sizeOf(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x20_0000) return 3
  return value < 0x1000_0000 ? 4 : 5
}

/** Bytes of a number's field with a tag of one byte; nothing is written for 0. */
export const sizeOfField = (value: number): number => (value === 0 ? 0 : 1 + sizeOf(value))

/** Bytes of a field of bytes or of a message, with a tag of one byte. */
export const sizeOfBytes = (length: number): number => 1 + sizeOf(length) + length

export class ProtoWriter {
  #bytes = new Uint8Array(FIRST_BYTES)
  #at = 0

  get length(): number {
    return this.#at
  }

  /** Makes room; whoever writes what it asked for need not ask again. */
  room(size: number): void {
    if (this.#at + size <= this.#bytes.length) return
    const bytes = new Uint8Array(Math.max(this.#at + size, this.#bytes.length * 2))
    bytes.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = bytes
  }

  number(value: number): void {
    const bytes = this.#bytes
    let rest = value
    while (rest > 127) {
      bytes[this.#at++] = (rest & 127) | 128
      rest >>>= 7
    }
    bytes[this.#at++] = rest
  }

  /** A number's field; 0 is not written. */
  field(tag: number, value: number): void {
    if (value === 0) return
    this.#bytes[this.#at++] = tag
    this.number(value)
  }

  /** Begins a field of so many bytes. */
  begin(tag: number, length: number): void {
    this.#bytes[this.#at++] = tag
    this.number(length)
  }

  byte(value: number): void {
    this.#bytes[this.#at++] = value
  }

  copy(from: Uint8Array, start: number, end: number): void {
    const bytes = this.#bytes
    const size = end - start
    if (size <= 24) for (let i = 0; i < size; i++) bytes[this.#at + i] = from[start + i]!
    else bytes.set(start === 0 && end === from.length ? from : from.subarray(start, end), this.#at)
    this.#at += size
  }

  /** A field of bytes; none is written when there are none. */
  bytes(tag: number, value: Uint8Array): void {
    if (value.length === 0) return
    this.element(tag, value)
  }

  /** An element of a repeated field, which is written even when it is empty. Makes its own room. */
  element(tag: number, value: Uint8Array): void {
    this.room(6 + value.length)
    this.begin(tag, value.length)
    this.copy(value, 0, value.length)
  }

  /** What was written, as bytes of its own; the writer is empty again. */
  done(): Uint8Array {
    const size = this.#at
    this.#at = 0
    if (size > POOLED_MAX_BYTES) return this.#bytes.slice(0, size)
    // Out of node's pool: an array of its own costs ten times as much. It leaves soon, so it holds nothing back.
    const pooled = Buffer.allocUnsafe(size)
    const out = new Uint8Array(pooled.buffer, pooled.byteOffset, size)
    for (let i = 0; i < size && size <= 64; i++) out[i] = this.#bytes[i]!
    if (size > 64) out.set(this.#bytes.subarray(0, size))
    return out
  }
}
