// What a person is: the manifest (devices, home), and the home record that the directory holds (where the person lives,
// countersigned by the region that says so). Reading one verifies all of it; whether it is the newest is for the caller.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  compareVersions,
  ensureEpoch,
  ensureRoot,
  hasExpired,
  openRecord,
  ownCopy,
  sha256,
  signRecord,
  type Version,
} from './chain.ts'
import type { SigningKey } from './ed25519.ts'
import {
  CountersignatureBodySchema,
  type Device,
  type Grant,
  GrantBody_Purpose,
  type HomeBody,
  HomeBodySchema,
  type HomeRecord,
  HomeRecordSchema,
  type ManifestBody,
  ManifestBodySchema,
  type SignedRecord,
  SignedRecordSchema,
} from './gen/records_pb.ts'
import {
  type RegionId,
  regionIdBytes,
  regionIdOf,
  regionIdOfRootKey,
  type UserId,
  userIdOf,
  userIdOfRootKey,
} from './ids.ts'
import {
  CLOCK_SKEW_MS,
  COUNTERSIGNATURE_MAX_MS,
  DEVICE_NUMBER_MAX,
  DEVICES_MAX,
  ENVELOPE_MAX_BYTES,
  EPOCH_MAX,
  FALLBACKS_MAX,
  HOME_RECORD_MAX_BYTES,
  MANIFEST_MAX_BYTES,
  RECORD_MAX_BYTES,
  ROOT_EPOCH_GENERATIONS_MAX,
} from './limits.ts'
import { ParleyError } from './refusals.ts'
import { decode } from './wire.ts'

const HASH_BYTES = 32

export type Manifest = Version & {
  readonly userId: UserId
  readonly devices: readonly Device[]
  /** The version, of this root epoch, since which the devices are these: what was encrypted for it is for all of them. */
  readonly devicesSince: number
  readonly homeRegion: RegionId
  readonly fallbackRegions: readonly RegionId[]
  readonly homeGeneration: number
  readonly previousHash: Uint8Array
  /** SHA-256 of the payload: what home records and successors refer to. */
  readonly hash: Uint8Array
  readonly record: SignedRecord
}

export type Home = Version & {
  readonly userId: UserId
  readonly manifestHash: Uint8Array
  readonly homeRegion: RegionId
  readonly fallbackRegions: readonly RegionId[]
  readonly homeGeneration: number
  readonly notAfterMs: number
  readonly countersignedBy: RegionId
  /** Root epoch of the grant that it was countersigned under: below the region's newest it is worth nothing any more. */
  readonly countersignerEpoch: number
  readonly record: HomeRecord
}

function checkDevices(devices: readonly Device[], of: Version): void {
  if (devices.length < 1 || devices.length > DEVICES_MAX) {
    throw new ParleyError('too_many', 'devices out of range', { limit: `${DEVICES_MAX}`, count: `${devices.length}` })
  }
  const numbers = new Set<number>()
  for (const device of devices) {
    if (device.number < 1 || device.number > DEVICE_NUMBER_MAX || numbers.has(device.number)) {
      throw new ParleyError('malformed', `device number ${device.number} out of range or twice`)
    }
    numbers.add(device.number)
    const since = { rootEpoch: device.registrationEpoch, version: device.registrationVersion }
    if (since.version < 1 || since.rootEpoch < 1 || compareVersions(since, of) > 0) {
      throw new ParleyError('malformed', `device ${device.number} was registered by a later manifest`)
    }
    if (device.deviceKey.length !== 32 || device.signalIdentityKey.length !== 33) {
      throw new ParleyError('malformed', `device ${device.number} has keys of the wrong length`)
    }
  }
}

function checkDevicesSince({ devices, devicesSince, version, rootEpoch }: ManifestBody): void {
  const isLater = devices.some(
    (device) => device.registrationEpoch === rootEpoch && device.registrationVersion > devicesSince,
  )
  if (devicesSince > version || (devicesSince > 0 && isLater))
    throw new ParleyError('malformed', `manifest ${version} with devices of version ${devicesSince}`)
}

function checkPrevious(body: ManifestBody): void {
  const length = body.previousHash.length
  const first = body.version === 1
  // The first manifest of a later root epoch (a recovery) may have lost the one before.
  const fits = length === HASH_BYTES ? !first || body.rootEpoch > 1 : length === 0 && first
  if (!fits) throw new ParleyError('malformed', `manifest ${body.version} with a previous hash of ${length} bytes`)
}

function checkWhere(body: ManifestBody | HomeBody): void {
  // A recovery has a higher root epoch: whatever a stolen manifest key has signed, there are generations above it.
  const last = Math.min(EPOCH_MAX, body.rootEpoch * ROOT_EPOCH_GENERATIONS_MAX)
  if (body.homeGeneration < 1 || body.homeGeneration > last) {
    throw new ParleyError('malformed', 'home generation out of range')
  }
  if (body.fallbackRegions.length > FALLBACKS_MAX) {
    throw new ParleyError('too_many', 'fallback regions over the limit', { limit: `${FALLBACKS_MAX}` })
  }
}

/** Verifies a manifest. Whether it is the newest is the caller's question: compare with `compareVersions` and a floor. */
export function openManifest(received: SignedRecord, nowMs: number): Manifest {
  const record = ownCopy(SignedRecordSchema, received, MANIFEST_MAX_BYTES + ENVELOPE_MAX_BYTES)
  const granted = openRecord('parley/manifest/v1', record, GrantBody_Purpose.MANIFEST, nowMs)
  const body = decode(ManifestBodySchema, record.payload, MANIFEST_MAX_BYTES)
  const userId = userIdOf(body.userId)
  ensureRoot(userId, userIdOfRootKey(record.grant!.rootKey))
  ensureEpoch(body, granted)
  checkDevices(body.devices, body)
  checkDevicesSince(body)
  checkPrevious(body)
  checkWhere(body)
  return {
    userId,
    rootEpoch: body.rootEpoch,
    version: body.version,
    devices: body.devices,
    devicesSince: body.devicesSince || body.version,
    homeRegion: regionIdOf(body.homeRegion),
    fallbackRegions: body.fallbackRegions.map(regionIdOf),
    homeGeneration: body.homeGeneration,
    previousHash: body.previousHash,
    hash: sha256(record.payload),
    record,
  }
}

/** Verifies a home record: signed by the manifest key, countersigned by the home (or a fallback) for a limited time. */
export function openHomeRecord(received: HomeRecord, nowMs: number): Home {
  const record = ownCopy(HomeRecordSchema, received, HOME_RECORD_MAX_BYTES)
  const { head, countersignature } = record
  if (!head || !countersignature) throw new ParleyError('malformed', 'home record without head or countersignature')
  const granted = openRecord('parley/home/v1', head, GrantBody_Purpose.MANIFEST, nowMs)
  const body = decode(HomeBodySchema, head.payload, RECORD_MAX_BYTES)
  const userId = userIdOf(body.userId)
  ensureRoot(userId, userIdOfRootKey(head.grant!.rootKey))
  ensureEpoch(body, granted)
  if (body.manifestHash.length !== 32) throw new ParleyError('malformed', 'manifest hash of the wrong length')
  checkWhere(body)
  const homeRegion = regionIdOf(body.homeRegion)
  const fallbackRegions = body.fallbackRegions.map(regionIdOf)
  const countersigner = openRecord('parley/countersignature/v1', countersignature, GrantBody_Purpose.OPERATIONAL, nowMs)
  const counter = decode(CountersignatureBodySchema, countersignature.payload, RECORD_MAX_BYTES)
  const by = regionIdOf(counter.regionId)
  ensureRoot(by, regionIdOfRootKey(countersignature.grant!.rootKey))
  if (by !== homeRegion && !fallbackRegions.includes(by))
    throw new ParleyError('not_home', 'countersigned by a region that is neither home nor fallback')
  if (Buffer.compare(counter.headHash, sha256(head.payload)) !== 0)
    throw new ParleyError('bad_signature', 'the countersignature is for another head')
  const notAfterMs = Number(counter.notAfterMs)
  if (hasExpired(notAfterMs, nowMs)) throw new ParleyError('expired', 'the home record has expired')
  if (notAfterMs > nowMs + COUNTERSIGNATURE_MAX_MS + CLOCK_SKEW_MS)
    throw new ParleyError('malformed', 'the home record holds for too long')
  return {
    userId,
    rootEpoch: body.rootEpoch,
    version: body.version,
    manifestHash: body.manifestHash,
    homeRegion,
    fallbackRegions,
    homeGeneration: body.homeGeneration,
    notAfterMs,
    countersignedBy: by,
    countersignerEpoch: countersigner.rootEpoch,
    record,
  }
}

/** The region's "yes, this person lives here until notAfterMs". */
export function countersign(
  head: SignedRecord,
  regionId: RegionId,
  key: SigningKey,
  by: Grant,
  nowMs: number,
  notAfterMs: number,
): HomeRecord {
  const payload = toBinary(
    CountersignatureBodySchema,
    create(CountersignatureBodySchema, {
      headHash: sha256(head.payload),
      regionId: regionIdBytes(regionId),
      notAfterMs: BigInt(notAfterMs),
      timeMs: BigInt(nowMs),
    }),
  )
  return create(HomeRecordSchema, {
    head,
    countersignature: signRecord('parley/countersignature/v1', payload, key, by),
  })
}
