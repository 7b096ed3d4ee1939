// Frames of links by hand: batches are what nearly all of them are.
import {
  type LinkBatch,
  type LinkItem as LinkBatchItem,
  type LinkFrame,
  LinkFrameSchema,
  type LinkName,
} from './gen/link_pb.ts'
import { ProtoReader } from './proto-reader.ts'

const NO_BYTES = new Uint8Array(0)
const BATCH = 0x12

function readName(from: ProtoReader, end: number): LinkName {
  const name: LinkName = { $typeName: 'parley.v1.LinkName', ref: 0, id: NO_BYTES }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x08) seen = from.again(seen, tag >>> 3)
    if (tag === 0x08) name.ref = from.uint32(end)
    else if (tag === 0x12) {
      seen = from.again(seen, 2)
      name.id = from.view(end)
    } else from.other(tag, 2, end)
  }
  return name
}

function readItem(from: ProtoReader, end: number): LinkBatchItem {
  const item: LinkBatchItem = { $typeName: 'parley.v1.LinkItem', ref: 0, kind: 0, body: NO_BYTES }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x08 || tag === 0x10) seen = from.again(seen, tag >>> 3)
    if (tag === 0x08) item.ref = from.uint32(end)
    else if (tag === 0x10) item.kind = from.uint32(end)
    else if (tag === 0x1a) {
      seen = from.again(seen, 3)
      item.body = from.view(end)
    } else from.other(tag, 3, end)
  }
  return item
}

function readBatch(from: ProtoReader, end: number): LinkBatch {
  const batch: LinkBatch = { $typeName: 'parley.v1.LinkBatch', number: 0, names: [], items: [] }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x08) seen = from.again(seen, tag >>> 3)
    if (tag === 0x08) batch.number = from.uint32(end)
    else if (tag === 0x12) {
      from.count()
      batch.names.push(readName(from, from.end(end)))
    } else if (tag === 0x1a) {
      from.count()
      batch.items.push(readItem(from, from.end(end)))
    } else from.other(tag, 3, end)
  }
  return batch
}

/** Fields of bytes are views into `bytes`. What is more than a batch, or something else, is read by the generated code. */
export function readLinkFrame(bytes: Uint8Array, itemsMax: number): LinkFrame {
  const end = bytes.length
  const from = new ProtoReader(bytes, itemsMax)
  if (end > 0 && from.tag(end) === BATCH && from.end(end) === end) {
    return { $typeName: 'parley.v1.LinkFrame', what: { case: 'batch', value: readBatch(from, end) } }
  }
  from.at = 0
  return from.rest(LinkFrameSchema, end)
}
