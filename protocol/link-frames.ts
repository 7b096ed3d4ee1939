// Frames between two nodes, and what the relays put into them. A link sees items as opaque bytes; `decodeItem` is for
// the relay behind it. What the decoders throw is always a ParleyError: malformed, too_large or too_many.
import type { DescMessage } from '@bufbuild/protobuf'
import {
  checkCursor,
  checkHomeRecordShape,
  checkPlace,
  checkRefusal,
  checkRegister,
  checkRegisterName,
  checkRun,
  ensure,
  ensureAtMost,
} from './checks.ts'
import { encodeWithin, within } from './frames.ts'
import {
  type Ballot,
  BallotSchema,
  type Fetch,
  FetchSchema,
  type HostRegisters,
  HostRegistersSchema,
  type HostRegistersState,
  HostRegistersStateSchema,
  type Intro,
  IntroSchema,
  ItemKind,
  type JournalPosition,
  JournalPositionSchema,
  type LinkBatch,
  type LinkFrame,
  LinkFrameSchema,
  type LinkHello,
  type LinkRequest,
  LinkRequestSchema,
  type LinkResponse,
  LinkResponseSchema,
  type Log,
  LogSchema,
  type LogState,
  LogStateSchema,
  type Moved,
  MovedSchema,
  type MovedState,
  MovedStateSchema,
  type Range,
  RangeSchema,
  type Registers,
  RegistersSchema,
  type Safe,
  SafeSchema,
  type SubmissionState,
  SubmissionStateSchema,
  type Submissions,
  SubmissionsSchema,
  type Takeover,
  TakeoverSchema,
  type TakeoverState,
  TakeoverStateSchema,
} from './gen/link_pb.ts'
import { readGenesis } from './genesis.ts'
import { ID_BYTES } from './ids.ts'
import {
  checkBallot,
  checkEpoch,
  checkJournalPosition,
  checkRange,
  checkRegisters,
  checkSubmissionState,
  checkSubmissions,
} from './item-checks.ts'
import {
  readLog,
  readLogState,
  readSafe,
  readSubmissionState,
  readSubmissions,
  writeLog,
  writeLogState,
  writeSafe,
  writeSubmissionState,
  writeSubmissions,
} from './item-codec.ts'
import {
  EPOCH_MAX,
  HOST_REGISTERS_MAX,
  LINK_BATCH_ITEMS_MAX,
  LINK_BATCH_MAX_BYTES,
  LINK_FRAME_MAX_BYTES,
  LINK_ITEM_FIELDS_MAX,
  PARTS_MAX,
  REQUEST_MAX_BYTES,
  REQUEST_METHOD_MAX_CHARS,
  SUBMISSION_STATE_MAX_BYTES,
} from './limits.ts'
import { readLinkFrame } from './link-frame-codec.ts'
import { ParleyError } from './refusals.ts'
import { decode, ensureSize } from './wire.ts'

const LINK_VERSION = 1
const BOOT_NONCE_BYTES = 16

// --- the stream

export const encodeLinkFrame = (frame: LinkFrame): Uint8Array =>
  encodeWithin(LinkFrameSchema, frame, LINK_FRAME_MAX_BYTES)

function checkHello(hello: LinkHello): void {
  if (hello.version !== LINK_VERSION) {
    throw new ParleyError('unsupported_version', `link of version ${hello.version}`, { version: `${hello.version}` })
  }
  ensure(hello.bootNonce.length === BOOT_NONCE_BYTES, 'a boot nonce of the wrong length')
}

function checkBatch(batch: LinkBatch): void {
  ensure(batch.number >= 1, 'batches count from 1')
  for (const name of batch.names) ensure(name.ref >= 1 && name.id.length === ID_BYTES, 'a name that is none')
  for (const item of batch.items) ensure(item.ref >= 1 && item.kind >= 1, 'an item without a name or a kind')
}

export function decodeLinkFrame(bytes: Uint8Array): LinkFrame {
  ensureSize(LinkFrameSchema.typeName, bytes, LINK_FRAME_MAX_BYTES)
  const frame = readLinkFrame(bytes, LINK_BATCH_ITEMS_MAX)
  switch (frame.what.case) {
    case 'hello':
      checkHello(frame.what.value)
      break
    case 'batch':
      checkBatch(frame.what.value)
      break
    case 'refusal':
      checkRefusal(frame.what.value)
      break
    case undefined:
      ensure(false, 'a link frame of an unknown kind')
  }
  return frame
}

// --- items

export type RelayItem =
  | { readonly kind: typeof ItemKind.INTRO; readonly value: Intro }
  | { readonly kind: typeof ItemKind.SUBMISSIONS; readonly value: Submissions }
  | { readonly kind: typeof ItemKind.SUBMISSION_STATE; readonly value: SubmissionState }
  | { readonly kind: typeof ItemKind.LOG; readonly value: Log }
  | { readonly kind: typeof ItemKind.LOG_STATE; readonly value: LogState }
  | { readonly kind: typeof ItemKind.SAFE; readonly value: Safe }
  | { readonly kind: typeof ItemKind.REGISTERS; readonly value: Registers }
  | { readonly kind: typeof ItemKind.REGISTERS_STATE; readonly value: Registers }
  | { readonly kind: typeof ItemKind.HOST_REGISTERS; readonly value: HostRegisters }
  | { readonly kind: typeof ItemKind.HOST_REGISTERS_STATE; readonly value: HostRegistersState }
  | { readonly kind: typeof ItemKind.TAKEOVER; readonly value: Takeover }
  | { readonly kind: typeof ItemKind.TAKEOVER_STATE; readonly value: TakeoverState }
  | { readonly kind: typeof ItemKind.BALLOT; readonly value: Ballot }
  | { readonly kind: typeof ItemKind.FETCH; readonly value: Fetch }
  | { readonly kind: typeof ItemKind.RANGE; readonly value: Range }
  | { readonly kind: typeof ItemKind.MOVED; readonly value: Moved }
  | { readonly kind: typeof ItemKind.MOVED_STATE; readonly value: MovedState }
  | { readonly kind: typeof ItemKind.JOURNAL_POSITION; readonly value: JournalPosition }

const SCHEMAS = {
  [ItemKind.INTRO]: IntroSchema,
  [ItemKind.SUBMISSIONS]: SubmissionsSchema,
  [ItemKind.SUBMISSION_STATE]: SubmissionStateSchema,
  [ItemKind.LOG]: LogSchema,
  [ItemKind.LOG_STATE]: LogStateSchema,
  [ItemKind.SAFE]: SafeSchema,
  [ItemKind.REGISTERS]: RegistersSchema,
  [ItemKind.REGISTERS_STATE]: RegistersSchema,
  [ItemKind.HOST_REGISTERS]: HostRegistersSchema,
  [ItemKind.HOST_REGISTERS_STATE]: HostRegistersStateSchema,
  [ItemKind.TAKEOVER]: TakeoverSchema,
  [ItemKind.TAKEOVER_STATE]: TakeoverStateSchema,
  [ItemKind.BALLOT]: BallotSchema,
  [ItemKind.FETCH]: FetchSchema,
  [ItemKind.RANGE]: RangeSchema,
  [ItemKind.MOVED]: MovedSchema,
  [ItemKind.MOVED_STATE]: MovedStateSchema,
  [ItemKind.JOURNAL_POSITION]: JournalPositionSchema,
} as const satisfies Record<RelayItem['kind'], DescMessage>

/** Of an item of this kind, without what stands around it. */
export const itemMaxBytes = (kind: RelayItem['kind']): number =>
  kind === ItemKind.SUBMISSION_STATE ? SUBMISSION_STATE_MAX_BYTES : LINK_BATCH_MAX_BYTES

function writeItem(item: RelayItem): Uint8Array | undefined {
  switch (item.kind) {
    case ItemKind.SUBMISSIONS:
      return writeSubmissions(item.value)
    case ItemKind.LOG:
      return writeLog(item.value)
    case ItemKind.LOG_STATE:
      return writeLogState(item.value)
    case ItemKind.SAFE:
      return writeSafe(item.value)
    case ItemKind.SUBMISSION_STATE:
      return item.value.verdict.case === undefined ? writeSubmissionState(item.value) : undefined
    default:
      return undefined
  }
}

export function encodeItem(item: RelayItem): Uint8Array {
  const schema = SCHEMAS[item.kind] as DescMessage
  const bytes = writeItem(item)
  const most = itemMaxBytes(item.kind)
  return bytes ? within(schema, bytes, most) : encodeWithin(schema, item.value, most)
}

/** What moves a conversation. */
function checkMoving(item: RelayItem): void {
  switch (item.kind) {
    case ItemKind.HOST_REGISTERS:
      ensure(item.value.items.length > 0, 'host registers that are none')
      ensureAtMost(item.value.items.length, HOST_REGISTERS_MAX, 'host registers')
      break
    case ItemKind.HOST_REGISTERS_STATE:
      checkEpoch(item.value.epoch)
      break
    case ItemKind.TAKEOVER:
      checkEpoch(item.value.epoch)
      readGenesis(item.value.genesis)
      ensureAtMost(item.value.userId.length, PARTS_MAX, 'members')
      for (const id of item.value.userId) ensure(id.length === ID_BYTES, 'a member that is none')
      break
    case ItemKind.TAKEOVER_STATE: {
      const { hostRegion, epoch, beforeRegion, beforeKeeps } = item.value
      ensure(!beforeKeeps || beforeRegion.length > 0, 'nobody who keeps something')
      ensure(beforeRegion.length === 0 || beforeRegion.length === ID_BYTES, 'a region that is none')
      const known = hostRegion.length === ID_BYTES && epoch >= 1 && epoch <= EPOCH_MAX
      ensure(known || (hostRegion.length === 0 && epoch === 0), 'half a state')
      break
    }
    case ItemKind.BALLOT:
      checkBallot(item.value)
      break
    case ItemKind.FETCH:
      checkCursor(item.value.epoch, item.value.n)
      break
    case ItemKind.RANGE:
      checkRange(item.value)
      break
    case ItemKind.MOVED:
      ensure(item.value.home !== undefined, 'somebody who moved to nowhere')
      checkHomeRecordShape(item.value.home)
      break
    case ItemKind.MOVED_STATE:
      ensure(item.value.generation >= 1 && item.value.generation <= EPOCH_MAX, 'a home generation out of range')
      break
    case ItemKind.JOURNAL_POSITION:
      checkJournalPosition(item.value)
  }
}

function checkItem(item: RelayItem): void {
  switch (item.kind) {
    case ItemKind.INTRO:
      readGenesis(item.value.genesis)
      for (const record of item.value.homeRecords) checkHomeRecordShape(record)
      break
    case ItemKind.SUBMISSIONS:
      checkSubmissions(item.value)
      break
    case ItemKind.SUBMISSION_STATE:
      checkSubmissionState(item.value)
      break
    case ItemKind.LOG:
      ensure(item.value.entry.length > 0, 'a log of no entries')
      checkRun(item.value.entry, item.value.headHash)
      break
    case ItemKind.LOG_STATE:
      checkCursor(item.value.epoch, item.value.n)
      break
    case ItemKind.SAFE:
      checkPlace(item.value.epoch, item.value.n)
      break
    case ItemKind.REGISTERS:
      checkRegisters(item.value, checkRegister)
      break
    case ItemKind.REGISTERS_STATE:
      checkRegisters(item.value, checkRegisterName)
      break
    default:
      checkMoving(item)
  }
}

/** Read by hand: what is said of nearly every message. */
const READERS = {
  [ItemKind.SUBMISSIONS]: readSubmissions,
  [ItemKind.SUBMISSION_STATE]: readSubmissionState,
  [ItemKind.LOG]: readLog,
  [ItemKind.LOG_STATE]: readLogState,
  [ItemKind.SAFE]: readSafe,
} as const satisfies Partial<Record<RelayItem['kind'], unknown>>

function decodeAs(kind: RelayItem['kind'], body: Uint8Array): RelayItem['value'] {
  const schema = SCHEMAS[kind] as DescMessage
  const read = READERS[kind as keyof typeof READERS] as (typeof READERS)[keyof typeof READERS] | undefined
  if (!read) return decode(schema, body, itemMaxBytes(kind), LINK_ITEM_FIELDS_MAX) as unknown as RelayItem['value']
  ensureSize(schema.typeName, body, itemMaxBytes(kind))
  return read(body, LINK_ITEM_FIELDS_MAX)
}

/** The body of a link item. A kind unknown here is `malformed`. */
export function decodeItem(kind: number, body: Uint8Array): RelayItem {
  if (!Object.hasOwn(SCHEMAS, kind)) throw new ParleyError('malformed', `a link item of kind ${kind}`)
  const known = kind as RelayItem['kind']
  const item = { kind: known, value: decodeAs(known, body) } as RelayItem
  checkItem(item)
  return item
}

// --- the request stream

export const encodeLinkRequest = (request: LinkRequest): Uint8Array =>
  encodeWithin(LinkRequestSchema, request, REQUEST_MAX_BYTES)
export const encodeLinkResponse = (response: LinkResponse): Uint8Array =>
  encodeWithin(LinkResponseSchema, response, REQUEST_MAX_BYTES)

export function decodeLinkRequest(bytes: Uint8Array): LinkRequest {
  const request = decode(LinkRequestSchema, bytes, REQUEST_MAX_BYTES)
  ensure(request.method.length > 0 && request.method.length <= REQUEST_METHOD_MAX_CHARS, 'a request without a method')
  return request
}

export function decodeLinkResponse(bytes: Uint8Array): LinkResponse {
  const response = decode(LinkResponseSchema, bytes, REQUEST_MAX_BYTES)
  if (response.refusal) checkRefusal(response.refusal)
  return response
}
