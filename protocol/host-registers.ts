// Who hosts an epoch of a conversation, and where what came before was cut: the statements of regions that closed what
// they had, and the register that the new host makes of them. Reading one verifies its signatures and that its cut is
// what its statements say; whether these statements are enough is asked of what the reader knows about the epoch before.
import { create, toBinary } from '@bufbuild/protobuf'
import { ensureEpoch, ensureRoot, openRecord, ownCopy, signRecord } from './chain.ts'
import { ensure, ensureAtMost, HASH_BYTES } from './checks.ts'
import type { SigningKey } from './ed25519.ts'
import {
  ClosedBodySchema,
  type Grant,
  GrantBody_Purpose,
  GrantBodySchema,
  HomeBodySchema,
  type HostRegisterBody,
  HostRegisterBodySchema,
  type SignedRecord,
  SignedRecordSchema,
} from './gen/records_pb.ts'
import {
  type ConvId,
  convIdBytes,
  convIdOf,
  type RegionId,
  regionIdBytes,
  regionIdOf,
  regionIdOfRootKey,
  type UserId,
  userIdOf,
  userIdOfRootKey,
} from './ids.ts'
import { CLOSED_MAX, ENVELOPE_MAX_BYTES, EPOCH_MAX, HOST_REGISTER_MAX_BYTES, RECORD_MAX_BYTES } from './limits.ts'
import { epochOf, isPosition, NOWHERE, nOf, type Position, positionOf } from './position.ts'
import { ParleyError } from './refusals.ts'
import { decode } from './wire.ts'

export type RegionSigner = { readonly regionId: RegionId; readonly operational: SigningKey; readonly grant: Grant }

/** A region takes nothing more of the epochs below `beforeEpoch`; `at` and `hash` are its head. */
export type Closed = {
  readonly convId: ConvId
  readonly region: RegionId
  readonly beforeEpoch: number
  readonly at: Position
  readonly hash: Uint8Array
  readonly record: SignedRecord
}

export type HostRegister = {
  readonly convId: ConvId
  readonly epoch: number
  readonly host: RegionId
  /** Everything after this place, in epochs below `epoch`, is void. */
  readonly cut: Position
  readonly cutHash: Uint8Array
  readonly closed: readonly Closed[]
  /** Direct: the person whose home record names the host. The reader compares with the genesis. */
  readonly byHomeOf: UserId
  /** What the chain of the new epoch begins with. */
  readonly payload: Uint8Array
  readonly record: SignedRecord
}

export type ClosedInit = {
  readonly convId: ConvId
  readonly beforeEpoch: number
  readonly at: Position
  readonly hash: Uint8Array
}

/** Of a grant that ran out since: what was signed while it held still stands. */
const readAt = (nowMs: number, signedMs: bigint): number => Math.min(nowMs, Number(signedMs))

const rootEpochOf = (by: RegionSigner): number => decode(GrantBodySchema, by.grant.payload, RECORD_MAX_BYTES).rootEpoch

export function signClosed(closed: ClosedInit, by: RegionSigner, nowMs: number): SignedRecord {
  const body = create(ClosedBodySchema, {
    convId: convIdBytes(closed.convId),
    regionId: regionIdBytes(by.regionId),
    beforeEpoch: closed.beforeEpoch,
    epoch: epochOf(closed.at),
    n: nOf(closed.at),
    hash: closed.hash,
    rootEpoch: rootEpochOf(by),
    timeMs: BigInt(Math.floor(nowMs)),
  })
  return signRecord('parley/closed/v1', toBinary(ClosedBodySchema, body), by.operational, by.grant)
}

function placeOf(epoch: number, n: number, before: number): Position {
  ensure(isPosition(epoch, n) && epoch < before && n > 0 === epoch > 0, 'a place where no epoch can have been cut')
  return positionOf(epoch, n)
}

export function openClosed(received: SignedRecord, nowMs: number): Closed {
  const record = ownCopy(SignedRecordSchema, received, RECORD_MAX_BYTES + ENVELOPE_MAX_BYTES)
  const body = decode(ClosedBodySchema, record.payload, RECORD_MAX_BYTES)
  const granted = openRecord('parley/closed/v1', record, GrantBody_Purpose.OPERATIONAL, readAt(nowMs, body.timeMs))
  const region = regionIdOf(body.regionId)
  ensureRoot(region, regionIdOfRootKey(record.grant!.rootKey))
  ensureEpoch({ rootEpoch: body.rootEpoch }, granted)
  ensure(body.beforeEpoch > 1 && body.beforeEpoch <= EPOCH_MAX, 'an epoch that cannot follow another')
  const at = placeOf(body.epoch, body.n, body.beforeEpoch)
  const convId = convIdOf(body.convId)
  ensure(body.hash.length === HASH_BYTES, 'a hash of the wrong length')
  ensure(at !== NOWHERE || Buffer.compare(body.hash, convIdBytes(convId)) === 0, 'a hash of nothing')
  return { convId, region, beforeEpoch: body.beforeEpoch, at, hash: body.hash, record }
}

/** The highest closed place. Two statements of other hashes at one place: `conflict`, somebody has two histories. */
export function cutOf(closed: readonly Closed[]): { at: Position; hash: Uint8Array } {
  let cut: Closed | undefined
  for (const one of closed) {
    if (cut && cut.at === one.at && Buffer.compare(cut.hash, one.hash) !== 0) {
      throw new ParleyError('conflict', 'two regions have other histories up to the same place', { at: `${one.at}` })
    }
    if (!cut || one.at > cut.at) cut = one
  }
  if (!cut) throw new ParleyError('malformed', 'nobody has closed anything')
  return cut
}

export type HostRegisterInit = {
  readonly convId: ConvId
  readonly epoch: number
  readonly closed: readonly Closed[]
  /** Head of the home record of the smaller userId. */
  readonly homeHead: SignedRecord
}

/** What is decided about: the register before its host, `by`, signs it. */
export function hostRegisterPayload(init: HostRegisterInit, by: RegionSigner, nowMs: number): Uint8Array {
  const cut = cutOf(init.closed)
  const body = create(HostRegisterBodySchema, {
    convId: convIdBytes(init.convId),
    epoch: init.epoch,
    hostRegion: regionIdBytes(by.regionId),
    cutEpoch: epochOf(cut.at),
    cutN: nOf(cut.at),
    cutHash: cut.hash,
    closed: init.closed.map(({ record }) => record),
    right: { case: 'homeHead', value: init.homeHead },
    rootEpoch: rootEpochOf(by),
    timeMs: BigInt(Math.floor(nowMs)),
  })
  return toBinary(HostRegisterBodySchema, body)
}

export function signHostRegister(payload: Uint8Array, by: RegionSigner): SignedRecord {
  return signRecord('parley/host-register/v1', payload, by.operational, by.grant)
}

function checkRight(body: HostRegisterBody, nowMs: number): UserId {
  if (body.right.case !== 'homeHead') throw new ParleyError('not_granted', 'nobody gave this region the conversation')
  const head = body.right.value
  const granted = openRecord('parley/home/v1', head, GrantBody_Purpose.MANIFEST, nowMs)
  const home = decode(HomeBodySchema, head.payload, RECORD_MAX_BYTES)
  const user = userIdOf(home.userId)
  ensureRoot(user, userIdOfRootKey(head.grant!.rootKey))
  ensureEpoch(home, granted)
  if (home.homeGeneration !== body.epoch || Buffer.compare(home.homeRegion, body.hostRegion) !== 0) {
    throw new ParleyError('not_host', 'the home record gives this epoch to another region', { user })
  }
  return user
}

/** What the payload says, verified but for the signature of the new host. */
export function readHostRegister(payload: Uint8Array, nowMs: number): Omit<HostRegister, 'record'> {
  const body = decode(HostRegisterBodySchema, payload, HOST_REGISTER_MAX_BYTES)
  ensure(body.epoch > 1 && body.epoch <= EPOCH_MAX, 'an epoch that cannot follow another')
  ensureAtMost(body.closed.length, CLOSED_MAX, 'statements')
  const convId = convIdOf(body.convId)
  const closed = body.closed.map((record) => openClosed(record, nowMs))
  for (const one of closed) {
    ensure(one.convId === convId && one.beforeEpoch === body.epoch, 'a statement about something else')
  }
  ensure(new Set(closed.map(({ region }) => region)).size === closed.length, 'two statements of one region')
  const cut = cutOf(closed)
  const said = placeOf(body.cutEpoch, body.cutN, body.epoch)
  ensure(said === cut.at && Buffer.compare(body.cutHash, cut.hash) === 0, 'a cut that the statements do not give')
  const byHomeOf = checkRight(body, nowMs)
  const host = regionIdOf(body.hostRegion)
  return { convId, epoch: body.epoch, host, cut: cut.at, cutHash: body.cutHash, closed, byHomeOf, payload }
}

/** Verifies everything that can be verified without knowing the conversation. */
export function openHostRegister(received: SignedRecord, nowMs: number): HostRegister {
  const record = ownCopy(SignedRecordSchema, received, HOST_REGISTER_MAX_BYTES + ENVELOPE_MAX_BYTES)
  const body = decode(HostRegisterBodySchema, record.payload, HOST_REGISTER_MAX_BYTES)
  const granted = openRecord(
    'parley/host-register/v1',
    record,
    GrantBody_Purpose.OPERATIONAL,
    readAt(nowMs, body.timeMs),
  )
  const register = readHostRegister(record.payload, nowMs)
  ensureRoot(register.host, regionIdOfRootKey(record.grant!.rootKey))
  ensureEpoch({ rootEpoch: body.rootEpoch }, granted)
  return { ...register, record }
}
