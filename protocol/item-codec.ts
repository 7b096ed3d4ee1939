// Link items by hand: submissions and entries are what nearly all batches carry.
import { type Log, type StreamKey, StreamKeySchema, type Submissions } from './gen/link_pb.ts'
import { ProtoReader } from './proto-reader.ts'
import { ProtoWriter, sizeOfBytes, sizeOfField } from './proto-writer.ts'
import { readSubmission, writeSubmission } from './submission-codec.ts'

const NO_BYTES = new Uint8Array(0)

export function readSubmissions(bytes: Uint8Array, itemsMax: number): Submissions {
  const from = new ProtoReader(bytes, itemsMax)
  const end = bytes.length
  const authors: Uint8Array[] = []
  const value: Submissions = { $typeName: 'parley.v1.Submissions', items: [] }
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x0a) {
      if (authors.length > 0) from.count()
      authors.push(from.view(end))
    } else if (tag === 0x12) {
      from.count()
      value.items.push(readSubmission(from, from.end(end)))
    } else from.other(tag, 2, end)
  }
  if (authors.length > 0) {
    const joined = Buffer.concat(authors)
    value.author = new ProtoReader(joined, itemsMax).rest(StreamKeySchema, joined.length)
  }
  return value
}

export function readLog(bytes: Uint8Array, itemsMax: number): Log {
  const from = new ProtoReader(bytes, itemsMax)
  const end = bytes.length
  const value: Log = { $typeName: 'parley.v1.Log', entry: [], headHash: NO_BYTES }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x0a) {
      from.count()
      value.entry.push(from.view(end))
    } else if (tag === 0x12) {
      seen = from.again(seen, 2)
      value.headHash = from.view(end)
    } else from.other(tag, 2, end)
  }
  return value
}

const writer = new ProtoWriter()

function sizeOfKey(key: StreamKey): number {
  return (
    sizeOfField(key.member) +
    sizeOfField(key.device) +
    sizeOfField(key.registrationEpoch) +
    sizeOfField(key.registrationVersion)
  )
}

export function writeSubmissions({ author, items }: Submissions): Uint8Array {
  if (author) {
    const size = sizeOfKey(author)
    writer.room(sizeOfBytes(size))
    writer.begin(0x0a, size)
    writer.field(0x08, author.member)
    writer.field(0x10, author.device)
    writer.field(0x18, author.registrationEpoch)
    writer.field(0x20, author.registrationVersion)
  }
  for (const item of items) writeSubmission(writer, 0x12, item)
  return writer.done()
}

export function writeLog({ entry, headHash }: Log): Uint8Array {
  for (const one of entry) writer.element(0x0a, one)
  if (headHash.length > 0) writer.element(0x12, headHash)
  return writer.done()
}
