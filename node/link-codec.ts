// Link frames. Batches are written by hand (one allocation a frame, bodies copied once); the rest is rare.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  type LinkFrame,
  LinkFrameSchema,
  type LinkHello,
  limits,
  ParleyError,
  readLinkFrame,
  refusalOf,
} from '#protocol'
import { LINK_FRAME_MAX_BYTES } from './limits.ts'
import type { LinkItem } from './types.ts'
import { frame, writeLength } from './wire.ts'

const NAME_BYTES_MAX = 48
const ITEM_OVERHEAD_BYTES = 20
const FRAME_PREFIX_BYTES = 4
const FRAME_TAG_BATCH = (2 << 3) | 2
const FRAME_TAG_CREDIT = (3 << 3) | 2
const BATCH_FIELD_NAMES = 2
const BATCH_FIELD_ITEMS = 3

/** What an item costs in a queue and at most in a batch. */
export function itemBytes(item: LinkItem): number {
  return item.body.length + ITEM_OVERHEAD_BYTES
}

export const nameBytes = NAME_BYTES_MAX

function varintBytes(value: number): number {
  let bytes = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) bytes++
  return bytes
}

class Writer {
  readonly bytes: Uint8Array
  at = 0

  constructor(length: number) {
    this.bytes = new Uint8Array(length)
  }

  varint(value: number): void {
    let rest = value
    while (rest >= 0x80) {
      this.bytes[this.at++] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    this.bytes[this.at++] = rest
  }

  number(field: number, value: number): void {
    if (value === 0) return
    this.varint(field << 3)
    this.varint(value)
  }

  raw(field: number, value: Uint8Array): void {
    if (value.length === 0) return
    this.varint((field << 3) | 2)
    this.varint(value.length)
    this.bytes.set(value, this.at)
    this.at += value.length
  }
}

export type OutgoingBatch = {
  readonly number: number
  readonly names: readonly { readonly ref: number; readonly id: Uint8Array }[]
  readonly items: readonly { readonly ref: number; readonly kind: number; readonly body: Uint8Array }[]
}

const numberSize = (value: number): number => (value === 0 ? 0 : 1 + varintBytes(value))
const rawSize = (value: Uint8Array): number => (value.length === 0 ? 0 : 1 + varintBytes(value.length) + value.length)
const nestedSize = (length: number): number => 1 + varintBytes(length) + length

/** A whole frame, length prefix included. */
export function encodeBatch(batch: OutgoingBatch): Uint8Array {
  const nameSizes = batch.names.map((name) => numberSize(name.ref) + rawSize(name.id))
  const itemSizes = batch.items.map((item) => numberSize(item.ref) + numberSize(item.kind) + rawSize(item.body))
  let inner = numberSize(batch.number)
  for (const size of nameSizes) inner += nestedSize(size)
  for (const size of itemSizes) inner += nestedSize(size)
  const body = 1 + varintBytes(inner) + inner
  const out = new Writer(FRAME_PREFIX_BYTES + body)
  writeLength(out.bytes, 0, body)
  out.at = FRAME_PREFIX_BYTES
  out.varint(FRAME_TAG_BATCH)
  out.varint(inner)
  out.number(1, batch.number)
  for (const [i, name] of batch.names.entries()) {
    out.varint((BATCH_FIELD_NAMES << 3) | 2)
    out.varint(nameSizes[i]!)
    out.number(1, name.ref)
    out.raw(2, name.id)
  }
  for (const [i, item] of batch.items.entries()) {
    out.varint((BATCH_FIELD_ITEMS << 3) | 2)
    out.varint(itemSizes[i]!)
    out.number(1, item.ref)
    out.number(2, item.kind)
    out.raw(3, item.body)
  }
  if (out.at !== out.bytes.length) throw new Error(`batch of ${out.at} bytes, reckoned ${out.bytes.length}`)
  return out.bytes
}

function encodeFrame(what: LinkFrame['what']): Uint8Array {
  return frame(toBinary(LinkFrameSchema, create(LinkFrameSchema, { what })))
}

export const encodeHello = (hello: LinkHello): Uint8Array => encodeFrame({ case: 'hello', value: hello })
export const encodePing = (value: number): Uint8Array => encodeFrame({ case: 'ping', value })
export const encodePong = (value: number): Uint8Array => encodeFrame({ case: 'pong', value })
export const encodeRefusal = (error: ParleyError): Uint8Array =>
  encodeFrame({ case: 'refusal', value: refusalOf(error) })

export function encodeCredit(consumedBytes: number, number: number): Uint8Array {
  const inner = numberSize(consumedBytes) + numberSize(number)
  const out = new Writer(FRAME_PREFIX_BYTES + nestedSize(inner))
  writeLength(out.bytes, 0, nestedSize(inner))
  out.at = FRAME_PREFIX_BYTES
  out.varint(FRAME_TAG_CREDIT)
  out.varint(inner)
  out.number(1, consumedBytes)
  out.number(2, number)
  return out.bytes
}

/** Throws `malformed`, `too_large` or `too_many` for anything that is no frame within the limits. */
export function decodeFrame(bytes: Uint8Array, limitBytes: number): NonNullable<LinkFrame['what']> {
  const limit = Math.min(limitBytes, LINK_FRAME_MAX_BYTES)
  if (bytes.length > limit)
    throw new ParleyError('too_large', 'link frame over the limit', { limit: `${limit}`, size: `${bytes.length}` })
  const { what } = readLinkFrame(bytes, limits.LINK_BATCH_ITEMS_MAX)
  if (what.case === undefined) throw new ParleyError('malformed', 'empty link frame')
  return what
}
