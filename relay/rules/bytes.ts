// Rows are written by hand: fixed-width big-endian numbers and length-prefixed bytes.
import { putU32 } from '#protocol'

/** Writes a safe integer: a position or a time. */
export function putU53(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, Math.floor(value / 2 ** 32))
  putU32(bytes, at + 4, value)
}

export class ByteWriter {
  #bytes: Uint8Array = new Uint8Array(256)
  #view = new DataView(this.#bytes.buffer)
  #at = 0

  #room(size: number): number {
    const at = this.#at
    if (at + size > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(at + size, this.#bytes.length * 2))
      bytes.set(this.#bytes)
      this.#bytes = bytes
      this.#view = new DataView(bytes.buffer)
    }
    this.#at = at + size
    return at
  }

  u8(value: number): this {
    const at = this.#room(1)
    this.#view.setUint8(at, value)
    return this
  }

  u32(value: number): this {
    const at = this.#room(4)
    this.#view.setUint32(at, value)
    return this
  }

  /** A safe integer: a position or a time. */
  u53(value: number): this {
    putU53(this.#bytes, this.#room(8), value)
    return this
  }

  raw(bytes: Uint8Array): this {
    const at = this.#room(bytes.length)
    this.#bytes.set(bytes, at)
    return this
  }

  lp(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes)
  }

  text(value: string): this {
    return this.lp(Buffer.from(value, 'utf8'))
  }

  /** A copy of what was written. */
  done(): Uint8Array {
    return this.#bytes.slice(0, this.#at)
  }
}

/** Reads rows that this node wrote itself: running over the end is a broken invariant, not bad input. */
export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    // A Buffer's `slice` is no copy: what is kept of a row would keep the whole journal record it came in.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  #take(size: number): number {
    const at = this.#at
    if (at + size > this.#bytes.length) throw new Error('row cut off')
    this.#at = at + size
    return at
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4))
  }

  u53(): number {
    const at = this.#take(8)
    return this.#view.getUint32(at) * 2 ** 32 + this.#view.getUint32(at + 4)
  }

  raw(size: number): Uint8Array {
    const at = this.#take(size)
    return this.#bytes.subarray(at, at + size)
  }

  lp(): Uint8Array {
    return this.raw(this.u32())
  }

  text(): string {
    return Buffer.from(this.lp()).toString('utf8')
  }

  rest(): Uint8Array {
    return this.#bytes.subarray(this.#at)
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length
  }
}
