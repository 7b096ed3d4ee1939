// Reads the protobuf wire format where a decoder runs for every message that people send, and nothing may be made that
// is not needed: no reflection, no second pass. It refuses what wire.ts refuses, counts what wire.ts counts, and takes
// what the generated code takes; a test holds the three against each other.
import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf'
import { ParleyError } from './refusals.ts'
import { countItems } from './wire.ts'

const VARINT = 0
const FIXED64 = 1
const LENGTH = 2
const FIXED32 = 5

const malformed = (what: string): ParleyError => new ParleyError('malformed', what)

export class ProtoReader {
  /** Never a Buffer: fields of bytes are views, and whoever keeps a copy of one must not keep the frame. */
  readonly bytes: Uint8Array
  at = 0
  readonly #itemsMax: number
  #items = 0

  constructor(bytes: Uint8Array, itemsMax: number) {
    this.bytes = Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes
    this.#itemsMax = itemsMax
  }

  /** One more repeated or unknown field. */
  count(): void {
    if (++this.#items > this.#itemsMax) {
      throw new ParleyError('too_many', 'items over the limit', { limit: `${this.#itemsMax}` })
    }
  }

  /** A single field that comes again costs each time: it counts. Returns what was seen now. */
  again(seen: number, field: number): number {
    if (seen & (1 << field)) this.count()
    return seen | (1 << field)
  }

  /** A place to come back to, as if nothing had been read since. */
  mark(): { readonly at: number; readonly items: number } {
    return { at: this.at, items: this.#items }
  }

  back({ at, items }: { readonly at: number; readonly items: number }): void {
    this.at = at
    this.#items = items
  }

  /** Of a longer number the lower 32 bits, as everybody reads it. */
  uint32(end: number): number {
    const { bytes } = this
    if (this.at >= end) throw malformed('cut off within a number')
    let byte = bytes[this.at++]!
    if (byte < 0x80) return byte
    let value = byte & 0x7f
    for (let shift = 7; ; shift += 7) {
      if (this.at >= end) throw malformed('cut off within a number')
      if (shift > 63) throw malformed('a number of more than ten bytes')
      byte = bytes[this.at++]!
      if (shift < 32) value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value >>> 0
    }
  }

  bool(end: number): boolean {
    const from = this.at
    const low = this.uint32(end)
    if (low !== 0) return true
    for (let at = from; at < this.at; at++) if ((this.bytes[at]! & 0x7f) !== 0) return true
    return false
  }

  /** Field number and wire type. */
  tag(end: number): number {
    const byte = this.bytes[this.at]!
    if (byte >= 8 && byte < 0x80) {
      this.at++
      return byte
    }
    return this.#longTag(end)
  }

  #longTag(end: number): number {
    const exact = this.#exact(end)
    if (exact < 8 || exact >= 2 ** 32) throw malformed('no such field number')
    return exact
  }

  #exact(end: number): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      if (this.at >= end) throw malformed('cut off within a number')
      const byte = this.bytes[this.at++]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 128
    }
    throw malformed('a number of more than ten bytes')
  }

  /** Where the field of a length that begins here ends. */
  end(end: number): number {
    const length = this.#exact(end)
    if (length > end - this.at) throw malformed('a length reaches beyond the end')
    return this.at + length
  }

  view(end: number): Uint8Array {
    const to = this.end(end)
    const view = this.bytes.subarray(this.at, to)
    this.at = to
    return view
  }

  /** A field that is not read by hand: one of a schema's numbers 1..`known` has another type, or it is unknown. */
  other(tag: number, known: number, end: number): void {
    if (tag >>> 3 <= known) throw malformed('a field of another type')
    this.count()
    switch (tag & 7) {
      case VARINT:
        this.#exact(end)
        return
      case FIXED64:
        this.#skip(8, end)
        return
      case LENGTH:
        this.at = this.end(end)
        return
      case FIXED32:
        this.#skip(4, end)
        return
      default:
        throw malformed('groups are not used')
    }
  }

  #skip(bytes: number, end: number): void {
    if (bytes > end - this.at) throw malformed('a length reaches beyond the end')
    this.at += bytes
  }

  /** A message that comes seldom, by the generated code. */
  message<T extends DescMessage>(schema: T, end: number): MessageShape<T> {
    return this.rest(schema, this.end(end))
  }

  /** A part of a message that may come in several, which are merged (`merged`): each is whole by itself. */
  piece(schema: DescMessage, end: number): Uint8Array {
    const bytes = this.view(end)
    this.#items += countItems(schema, bytes, this.#itemsMax - this.#items)
    return bytes
  }

  /** The same, of what lies between here and `end`. */
  rest<T extends DescMessage>(schema: T, end: number): MessageShape<T> {
    const bytes = this.bytes.subarray(this.at, end)
    this.at = end
    this.#items += countItems(schema, bytes, this.#itemsMax - this.#items)
    try {
      return fromBinary(schema, bytes, { readUnknownFields: false })
    } catch {
      throw malformed(`not a ${schema.typeName}`)
    }
  }
}

/** Of pieces that were looked at as they came. */
export function merged<T extends DescMessage>(schema: T, pieces: readonly Uint8Array[]): MessageShape<T> {
  const { buffer, byteOffset, byteLength } = Buffer.concat(pieces)
  try {
    return fromBinary(schema, new Uint8Array(buffer, byteOffset, byteLength), { readUnknownFields: false })
  } catch {
    throw malformed(`not a ${schema.typeName}`)
  }
}
