// Frames of devices by hand: submissions and cursors are what nearly all of them carry.
import { toBinary } from '@bufbuild/protobuf'
import {
  ConversationNameSchema,
  type Cursor,
  type DeviceFrame,
  PullSchema,
  RegisterUpdateSchema,
} from './gen/session_pb.ts'
import { ProtoReader } from './proto-reader.ts'
import { ProtoWriter, sizeOfBytes, sizeOfField } from './proto-writer.ts'
import { writeName } from './record-writer.ts'
import { readSubmission, writeSubmission } from './submission-codec.ts'

function readCursor(from: ProtoReader, end: number): Cursor {
  const cursor: Cursor = { $typeName: 'parley.v1.Cursor', conv: 0, epoch: 0, n: 0, rewind: false }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag <= 0x20 && (tag & 7) === 0) seen = from.again(seen, tag >>> 3)
    if (tag === 0x08) cursor.conv = from.uint32(end)
    else if (tag === 0x10) cursor.epoch = from.uint32(end)
    else if (tag === 0x18) cursor.n = from.uint32(end)
    else if (tag === 0x20) cursor.rewind = from.bool(end)
    else from.other(tag, 4, end)
  }
  return cursor
}

/** Fields of bytes are views into `bytes`. */
export function readDeviceFrame(bytes: Uint8Array, itemsMax: number): DeviceFrame {
  const from = new ProtoReader(bytes, itemsMax)
  const end = bytes.length
  const frame: DeviceFrame = {
    $typeName: 'parley.v1.DeviceFrame',
    names: [],
    submissions: [],
    cursors: [],
    pulls: [],
    registers: [],
    ping: 0,
  }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag >= 0x0a && tag <= 0x2a && (tag & 7) === 2) from.count()
    switch (tag) {
      case 0x0a:
        frame.names.push(from.message(ConversationNameSchema, end))
        break
      case 0x12:
        frame.submissions.push(readSubmission(from, from.end(end)))
        break
      case 0x1a:
        frame.cursors.push(readCursor(from, from.end(end)))
        break
      case 0x22:
        frame.pulls.push(from.message(PullSchema, end))
        break
      case 0x2a:
        frame.registers.push(from.message(RegisterUpdateSchema, end))
        break
      case 0x30:
        seen = from.again(seen, 6)
        frame.ping = from.uint32(end)
        break
      default:
        from.other(tag, 6, end)
    }
  }
  return frame
}

const writer = new ProtoWriter()

export function writeDeviceFrame(frame: DeviceFrame): Uint8Array {
  for (const name of frame.names) writeName(writer, 0x0a, name)
  for (const submission of frame.submissions) writeSubmission(writer, 0x12, submission)
  for (const { conv, epoch, n, rewind } of frame.cursors) {
    const size = sizeOfField(conv) + sizeOfField(epoch) + sizeOfField(n) + (rewind ? 2 : 0)
    writer.room(sizeOfBytes(size))
    writer.begin(0x1a, size)
    writer.field(0x08, conv)
    writer.field(0x10, epoch)
    writer.field(0x18, n)
    writer.field(0x20, rewind ? 1 : 0)
  }
  for (const pull of frame.pulls) writer.element(0x22, toBinary(PullSchema, pull))
  for (const register of frame.registers) writer.element(0x2a, toBinary(RegisterUpdateSchema, register))
  writer.room(6)
  writer.field(0x30, frame.ping)
  return writer.done()
}
