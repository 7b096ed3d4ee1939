// What people say by hand: a text or a line of bytes at its place, as nearly every content is. Others go by the generated code.
import { isUtf8 } from 'node:buffer'
import { toBinary } from '@bufbuild/protobuf'
import { type Content, ContentSchema, type Head, type StateKey } from './gen/content_pb.ts'
import { FRAME_ITEMS_MAX } from './limits.ts'
import { ProtoReader } from './proto-reader.ts'
import { ProtoWriter, sizeOfBytes, sizeOfField } from './proto-writer.ts'
import { ensureSize } from './wire.ts'

const NO_BYTES = new Uint8Array(0)

function readHead(from: ProtoReader, end: number): Head {
  const head: Head = { $typeName: 'parley.v1.Head', epoch: 0, n: 0, hash: NO_BYTES }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x08 || tag === 0x10 || tag === 0x1a) seen = from.again(seen, tag >>> 3)
    if (tag === 0x08) head.epoch = from.uint32(end)
    else if (tag === 0x10) head.n = from.uint32(end)
    else if (tag === 0x1a) head.hash = from.view(end)
    else from.other(tag, 3, end)
  }
  return head
}

function readStateKey(from: ProtoReader, end: number): StateKey {
  const stateKey: StateKey = { $typeName: 'parley.v1.StateKey', key: NO_BYTES }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag !== 0x0a) {
      from.other(tag, 1, end)
      continue
    }
    seen = from.again(seen, 1)
    stateKey.key = from.view(end)
  }
  return stateKey
}

/** Undefined: it is no text. */
function readText(from: ProtoReader, end: number): string | undefined {
  const bytes = from.view(end)
  return isUtf8(bytes) ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString() : undefined
}

/** Fields of bytes are views into `bytes`. */
export function readContent(bytes: Uint8Array, itemsMax: number): Content {
  const from = new ProtoReader(bytes, itemsMax)
  const start = from.mark()
  const end = bytes.length
  const content: Content = { $typeName: 'parley.v1.Content', convId: NO_BYTES, k: 0, body: { case: undefined } }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    const field = tag >>> 3
    // What comes twice is merged or replaced, what is no text is refused: by rules that stand in one place only.
    let isPlain = field < 32 && (seen & (1 << field)) === 0
    seen |= 1 << field
    if (isPlain && tag === 0x0a) content.convId = from.view(end)
    else if (isPlain && tag === 0x10) content.k = from.uint32(end)
    else if (isPlain && tag === 0x1a) content.seen = readHead(from, from.end(end))
    else if (isPlain && tag === 0x22) content.stateKey = readStateKey(from, from.end(end))
    else if (isPlain && tag === 0x5a) content.body = { case: 'data', value: from.view(end) }
    else if (isPlain && tag === 0x52) {
      const value = readText(from, end)
      isPlain = value !== undefined
      content.body = { case: 'text', value: value ?? '' }
    } else isPlain = false
    if (!isPlain) {
      from.back(start)
      return from.rest(ContentSchema, end)
    }
  }
  return content
}

/** `malformed`, `too_large`, `too_many`. Fields of bytes are views into `bytes`. */
export function decodeContent(bytes: Uint8Array, limitBytes: number): Content {
  ensureSize(ContentSchema.typeName, bytes, limitBytes)
  return readContent(bytes, FRAME_ITEMS_MAX)
}

const writer = new ProtoWriter()

function writeHead({ epoch, n, hash }: Head): void {
  const size = sizeOfField(epoch) + sizeOfField(n) + (hash.length === 0 ? 0 : sizeOfBytes(hash.length))
  writer.room(sizeOfBytes(size))
  writer.begin(0x1a, size)
  writer.field(0x08, epoch)
  writer.field(0x10, n)
  writer.bytes(0x1a, hash)
}

function writeStateKey({ key }: StateKey): void {
  const size = key.length === 0 ? 0 : sizeOfBytes(key.length)
  writer.room(sizeOfBytes(size))
  writer.begin(0x22, size)
  writer.bytes(0x0a, key)
}

export function encodeContent(content: Content): Uint8Array {
  const { convId, k, seen, stateKey, body } = content
  if (body.case !== 'text' && body.case !== 'data') return toBinary(ContentSchema, content)
  writer.bytes(0x0a, convId)
  writer.room(6)
  writer.field(0x10, k)
  if (seen) writeHead(seen)
  if (stateKey) writeStateKey(stateKey)
  if (body.case === 'text') writer.element(0x52, Buffer.from(body.value))
  else writer.element(0x5a, body.value)
  return writer.done()
}
