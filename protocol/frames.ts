// Frames between a device and its home: bytes that pass `decodeDeviceFrame` or `decodeHomeFrame` are bounded, complete,
// and have no field out of its range. What they throw is always a ParleyError: malformed, too_large or too_many.
import { type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf'
import {
  checkCursor,
  checkHomeRecordShape,
  checkK,
  checkPlace,
  checkRefusal,
  checkRegister,
  checkRun,
  checkStale,
  checkSubmission,
  ensure,
  ensureAtMost,
} from './checks.ts'
import { readDeviceFrame, writeDeviceFrame } from './device-frame-codec.ts'
import { TAG_BYTES } from './entry.ts'
import {
  type ConversationName,
  type DeviceFrame,
  DeviceFrameSchema,
  type HomeFrame,
  HomeFrameSchema,
  type Notice,
  type Verdict,
} from './gen/session_pb.ts'
import { readGenesis } from './genesis.ts'
import { readHomeFrame } from './home-frame-codec.ts'
import { convIdOf, convIdOfGenesis, ID_BYTES } from './ids.ts'
import { FRAME_ITEMS_MAX, FRAME_MAX_BYTES, HOST_REGISTERS_MAX } from './limits.ts'
import { ensureSize } from './wire.ts'

/** Message -> bytes; one that is over the limit is a bug of the caller, not of the other side. */
export function encodeWithin<T extends DescMessage>(
  schema: T,
  message: MessageShape<T>,
  limitBytes: number,
): Uint8Array {
  return within(schema, toBinary(schema, message), limitBytes)
}

export function within(schema: DescMessage, bytes: Uint8Array, limitBytes: number): Uint8Array {
  if (bytes.length > limitBytes)
    throw new RangeError(`${schema.typeName} of ${bytes.length} bytes, at most ${limitBytes} go`)
  return bytes
}

export function encodeDeviceFrame(frame: DeviceFrame): Uint8Array {
  return within(DeviceFrameSchema, writeDeviceFrame(frame), FRAME_MAX_BYTES)
}

export const encodeHomeFrame = (frame: HomeFrame): Uint8Array => encodeWithin(HomeFrameSchema, frame, FRAME_MAX_BYTES)

function checkConv(ref: number): void {
  ensure(ref >= 1, 'refs count from 1')
}

/** The id is the hash of the genesis; home records are there in shape only: `openHomeRecord` verifies them. */
function checkName(name: ConversationName): void {
  checkConv(name.ref)
  ensure(name.convId.length === ID_BYTES, 'a conversation id of the wrong length')
  readGenesis(name.genesis)
  ensure(
    convIdOfGenesis(name.genesis) === convIdOf(name.convId),
    'a conversation id that is not the hash of its genesis',
  )
  for (const record of name.homeRecords) checkHomeRecordShape(record)
}

export function decodeDeviceFrame(bytes: Uint8Array): DeviceFrame {
  ensureSize(DeviceFrameSchema.typeName, bytes, FRAME_MAX_BYTES)
  const frame = readDeviceFrame(bytes, FRAME_ITEMS_MAX)
  for (const name of frame.names) checkName(name)
  for (const submission of frame.submissions) {
    checkConv(submission.conv)
    checkSubmission(submission)
  }
  for (const cursor of frame.cursors) {
    checkConv(cursor.conv)
    checkCursor(cursor.epoch, cursor.n)
  }
  for (const pull of frame.pulls) {
    checkConv(pull.conv)
    checkCursor(pull.epoch, pull.n)
  }
  for (const register of frame.registers) {
    checkConv(register.conv)
    checkRegister(register)
  }
  return frame
}

function checkVerdict(verdict: Verdict): void {
  checkConv(verdict.conv)
  checkK(verdict.k)
  const { outcome, tag } = verdict
  ensure(tag.length === TAG_BYTES || (tag.length === 0 && outcome.case !== 'sequenced'), 'a tag of the wrong length')
  switch (outcome.case) {
    case 'sequenced':
      checkPlace(outcome.value.epoch, outcome.value.n)
      break
    case 'wait':
    case 'final':
      checkRefusal(outcome.value)
      break
    case 'stale':
      checkStale(outcome.value)
      break
    case 'moved':
      checkHomeRecordShape(outcome.value)
      break
    case undefined:
      ensure(false, 'a verdict without an outcome')
  }
}

function checkNotice(notice: Notice): void {
  if (notice.what.case === 'homeRecord') checkHomeRecordShape(notice.what.value)
}

export function decodeHomeFrame(bytes: Uint8Array): HomeFrame {
  ensureSize(HomeFrameSchema.typeName, bytes, FRAME_MAX_BYTES)
  const frame = readHomeFrame(bytes, FRAME_ITEMS_MAX)
  for (const name of frame.names) checkName(name)
  for (const verdict of frame.verdicts) checkVerdict(verdict)
  for (const run of frame.entries) {
    checkConv(run.conv)
    checkRun(run.entry, run.headHash)
    checkCursor(run.headEpoch, run.headN)
    if (run.base) checkCursor(run.base.epoch, run.base.n)
    ensure(run.page || run.entry.length > 0, 'pushed entries that are none')
  }
  for (const behind of frame.behind) {
    checkConv(behind.conv)
    checkCursor(behind.headEpoch, behind.headN)
    checkCursor(behind.fromEpoch, behind.fromN)
  }
  for (const register of frame.registers) {
    checkConv(register.conv)
    checkRegister(register)
  }
  for (const notice of frame.notices) checkNotice(notice)
  for (const { conv, registers } of frame.moves) {
    checkConv(conv)
    ensure(registers.length > 0, 'a move to nowhere')
    ensureAtMost(registers.length, HOST_REGISTERS_MAX, 'host registers')
  }
  if (frame.refusal) checkRefusal(frame.refusal)
  return frame
}
