// Link items by hand: submissions and entries are what nearly all batches carry, and how far somebody has come with them.
import {
  type Log,
  type LogState,
  type Safe,
  type StreamKey,
  StreamKeySchema,
  type SubmissionState,
  SubmissionStateSchema,
  type Submissions,
} from './gen/link_pb.ts'
import { merged, ProtoReader } from './proto-reader.ts'
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
      authors.push(from.piece(StreamKeySchema, end))
    } else if (tag === 0x12) {
      from.count()
      value.items.push(readSubmission(from, from.end(end)))
    } else from.other(tag, 2, end)
  }
  if (authors.length > 0) value.author = merged(StreamKeySchema, authors)
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

export function readLogState(bytes: Uint8Array, itemsMax: number): LogState {
  const from = new ProtoReader(bytes, itemsMax)
  const end = bytes.length
  const value: LogState = { $typeName: 'parley.v1.LogState', epoch: 0, n: 0, gap: false }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag <= 0x18 && (tag & 7) === 0) seen = from.again(seen, tag >>> 3)
    if (tag === 0x08) value.epoch = from.uint32(end)
    else if (tag === 0x10) value.n = from.uint32(end)
    else if (tag === 0x18) value.gap = from.bool(end)
    else from.other(tag, 3, end)
  }
  return value
}

export function readSafe(bytes: Uint8Array, itemsMax: number): Safe {
  const from = new ProtoReader(bytes, itemsMax)
  const end = bytes.length
  const value: Safe = { $typeName: 'parley.v1.Safe', epoch: 0, n: 0 }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x08 || tag === 0x10) seen = from.again(seen, tag >>> 3)
    if (tag === 0x08) value.epoch = from.uint32(end)
    else if (tag === 0x10) value.n = from.uint32(end)
    else from.other(tag, 2, end)
  }
  return value
}

function readKey(from: ProtoReader, end: number): StreamKey {
  const key: StreamKey = {
    $typeName: 'parley.v1.StreamKey',
    member: 0,
    device: 0,
    registrationEpoch: 0,
    registrationVersion: 0,
  }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag <= 0x20 && (tag & 7) === 0) seen = from.again(seen, tag >>> 3)
    if (tag === 0x08) key.member = from.uint32(end)
    else if (tag === 0x10) key.device = from.uint32(end)
    else if (tag === 0x18) key.registrationEpoch = from.uint32(end)
    else if (tag === 0x20) key.registrationVersion = from.uint32(end)
    else from.other(tag, 4, end)
  }
  return key
}

/** With a verdict, or with anything else that is seldom, by the generated code. */
export function readSubmissionState(bytes: Uint8Array, itemsMax: number): SubmissionState {
  const from = new ProtoReader(bytes, itemsMax)
  const end = bytes.length
  const value: SubmissionState = {
    $typeName: 'parley.v1.SubmissionState',
    last: 0,
    verdict: { case: undefined },
    k: 0,
    rev: 0,
  }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x10 || tag === 0x48 || tag === 0x50) seen = from.again(seen, tag >>> 3)
    if (tag === 0x0a && !value.author) value.author = readKey(from, from.end(end))
    else if (tag === 0x10) value.last = from.uint32(end)
    else if (tag === 0x48) value.k = from.uint32(end)
    else if (tag === 0x50) value.rev = from.uint32(end)
    else return new ProtoReader(bytes, itemsMax).rest(SubmissionStateSchema, end)
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

function writeKey(key: StreamKey): void {
  const size = sizeOfKey(key)
  writer.room(sizeOfBytes(size))
  writer.begin(0x0a, size)
  writer.field(0x08, key.member)
  writer.field(0x10, key.device)
  writer.field(0x18, key.registrationEpoch)
  writer.field(0x20, key.registrationVersion)
}

const FIELDS_BYTES = 32

export function writeLogState({ epoch, n, gap }: LogState): Uint8Array {
  writer.room(FIELDS_BYTES)
  writer.field(0x08, epoch)
  writer.field(0x10, n)
  writer.field(0x18, gap ? 1 : 0)
  return writer.done()
}

export function writeSafe({ epoch, n }: Safe): Uint8Array {
  writer.room(FIELDS_BYTES)
  writer.field(0x08, epoch)
  writer.field(0x10, n)
  return writer.done()
}

/** One without a verdict. */
export function writeSubmissionState({ author, last, k, rev }: SubmissionState): Uint8Array {
  if (author) writeKey(author)
  writer.room(FIELDS_BYTES)
  writer.field(0x10, last)
  writer.field(0x48, k)
  writer.field(0x50, rev)
  return writer.done()
}

export function writeSubmissions({ author, items }: Submissions): Uint8Array {
  if (author) writeKey(author)
  for (const item of items) writeSubmission(writer, 0x12, item)
  return writer.done()
}

export function writeLog({ entry, headHash }: Log): Uint8Array {
  for (const one of entry) writer.element(0x0a, one)
  if (headHash.length > 0) writer.element(0x12, headHash)
  return writer.done()
}
