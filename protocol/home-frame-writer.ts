// Writes frames of homes bit by bit: nothing that is said for every message becomes an object first, and entries are cut
// to the reading device's parts while they are copied. The order of fields is that in which they are said.
import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { HEADER_BYTES, PART_OVERHEAD_BYTES } from './entry.ts'
import {
  BehindSchema,
  HostMovedSchema,
  NoticeSchema,
  RefusalSchema,
  RegisterUpdateSchema,
  VerdictSchema,
} from './gen/session_pb.ts'
import { epochOf, nOf, type Position } from './position.ts'
import { ProtoWriter, sizeOfBytes, sizeOfField } from './proto-writer.ts'
import { type NameFields, writeName } from './record-writer.ts'

const EPOCH_AT = 2
const N_AT = 6
const K_AT = 23
const TAG_AT = 27
const TAG_BYTES = 8

export type ReadingDevice = { readonly member: number; readonly device: number }

const u32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0

const isFor = (entry: Uint8Array, at: number, reader: ReadingDevice): boolean =>
  u32(entry, at) === reader.member && (entry[at + 4] === reader.device || entry[at + 4] === 0)

/** Bytes of an entry as this device gets it: the header and its own parts. */
export function sizeOfOwn(entry: Uint8Array, reader: ReadingDevice): number {
  let size = HEADER_BYTES + 2
  let at = size
  for (let i = (entry[HEADER_BYTES]! << 8) | entry[HEADER_BYTES + 1]!; i > 0; i--) {
    const part = PART_OVERHEAD_BYTES + u32(entry, at + 5)
    if (isFor(entry, at, reader)) size += part
    at += part
  }
  return size
}

/** What is said of a run of entries beside them. */
export type RunHead = {
  readonly conv: number
  /** Empty unless the last entry of the run is the head. */
  readonly headHash: Uint8Array
  readonly page: boolean
  readonly head: Position
  readonly base: Position | undefined
}

const sizeOfPosition = (at: Position): number => sizeOfField(epochOf(at)) + sizeOfField(nOf(at))

export class HomeFrameWriter {
  readonly #to = new ProtoWriter()

  get length(): number {
    return this.#to.length
  }

  #message<T extends DescMessage>(tag: number, schema: T, init: MessageInitShape<T>): void {
    this.#to.element(tag, toBinary(schema, create(schema, init)))
  }

  name(name: NameFields): void {
    writeName(this.#to, 0x0a, name)
  }

  verdict(verdict: MessageInitShape<typeof VerdictSchema>): void {
    this.#message(0x12, VerdictSchema, verdict)
  }

  /** Of an entry as it stands in the log. */
  sequenced(conv: number, entry: Uint8Array): void {
    const to = this.#to
    const k = u32(entry, K_AT)
    const epoch = u32(entry, EPOCH_AT)
    const n = u32(entry, N_AT)
    const place = sizeOfField(epoch) + sizeOfField(n)
    const size = sizeOfField(conv) + sizeOfField(k) + sizeOfBytes(place) + sizeOfBytes(TAG_BYTES)
    to.room(sizeOfBytes(size))
    to.begin(0x12, size)
    to.field(0x08, conv)
    to.field(0x10, k)
    to.begin(0x22, place)
    to.field(0x08, epoch)
    to.field(0x10, n)
    to.begin(0x6a, TAG_BYTES)
    to.copy(entry, TAG_AT, TAG_AT + TAG_BYTES)
  }

  /** Everything up to k. */
  safe(conv: number, k: number): void {
    const to = this.#to
    const size = sizeOfField(conv) + sizeOfField(k) + 2
    to.room(sizeOfBytes(size))
    to.begin(0x12, size)
    to.field(0x08, conv)
    to.field(0x10, k)
    to.begin(0x42, 0)
  }

  /** `entries` from `from` to `end`, whose own sizes are `sizes`. */
  run(
    head: RunHead,
    entries: readonly Uint8Array[],
    sizes: readonly number[],
    from: number,
    end: number,
    reader: ReadingDevice,
  ): void {
    const to = this.#to
    let size = sizeOfField(head.conv) + sizeOfPosition(head.head) + (head.page ? 2 : 0)
    if (head.headHash.length > 0) size += sizeOfBytes(head.headHash.length)
    if (head.base !== undefined) size += sizeOfBytes(sizeOfPosition(head.base))
    for (let i = from; i < end; i++) size += sizeOfBytes(sizes[i]!)
    to.room(sizeOfBytes(size))
    to.begin(0x1a, size)
    to.field(0x08, head.conv)
    for (let i = from; i < end; i++) this.#entry(entries[i]!, sizes[i]!, reader)
    to.bytes(0x1a, head.headHash)
    to.field(0x20, head.page ? 1 : 0)
    to.field(0x28, epochOf(head.head))
    to.field(0x30, nOf(head.head))
    if (head.base === undefined) return
    to.begin(0x3a, sizeOfPosition(head.base))
    to.field(0x08, epochOf(head.base))
    to.field(0x10, nOf(head.base))
  }

  #entry(entry: Uint8Array, size: number, reader: ReadingDevice): void {
    const to = this.#to
    to.begin(0x12, size)
    if (size === entry.length) {
      to.copy(entry, 0, size)
      return
    }
    to.copy(entry, 0, HEADER_BYTES)
    let parts = 0
    let at = HEADER_BYTES + 2
    const count = (entry[HEADER_BYTES]! << 8) | entry[HEADER_BYTES + 1]!
    if (size > at) {
      for (let i = 0; i < count; i++) {
        if (isFor(entry, at, reader)) parts++
        at += PART_OVERHEAD_BYTES + u32(entry, at + 5)
      }
    }
    to.byte(parts >> 8)
    to.byte(parts & 255)
    if (parts === 0) return
    at = HEADER_BYTES + 2
    for (let i = 0; i < count; i++) {
      const end = at + PART_OVERHEAD_BYTES + u32(entry, at + 5)
      if (isFor(entry, at, reader)) to.copy(entry, at, end)
      at = end
    }
  }

  behind(behind: MessageInitShape<typeof BehindSchema>): void {
    this.#message(0x22, BehindSchema, behind)
  }

  register(register: MessageInitShape<typeof RegisterUpdateSchema>): void {
    this.#message(0x2a, RegisterUpdateSchema, register)
  }

  notice(notice: MessageInitShape<typeof NoticeSchema>): void {
    this.#message(0x32, NoticeSchema, notice)
  }

  moved(moved: MessageInitShape<typeof HostMovedSchema>): void {
    this.#message(0x4a, HostMovedSchema, moved)
  }

  pong(ping: number): void {
    this.#to.room(6)
    this.#to.field(0x38, ping)
  }

  /** The session ends after this frame. */
  refusal(refusal: MessageInitShape<typeof RefusalSchema>): void {
    this.#message(0x42, RefusalSchema, refusal)
  }

  /** The frame as bytes of its own; the writer begins the next one. */
  done(): Uint8Array {
    return this.#to.done()
  }
}
