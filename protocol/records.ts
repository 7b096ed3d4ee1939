// Signed records: reading one means checking that its id is the hash of its root key, that the root key granted the
// signing key, that both signatures hold over the bytes as received, and that it is within its limits and its time.
import { hash } from 'node:crypto'
import { create, toBinary } from '@bufbuild/protobuf'
import { type Context, signUnder, verifyUnder } from './contexts.ts'
import type { SigningKey } from './ed25519.ts'
import {
  CountersignatureBodySchema,
  type Device,
  type Grant,
  type GrantBody,
  GrantBody_Purpose,
  GrantBodySchema,
  GrantSchema,
  HomeBodySchema,
  type HomeRecord,
  HomeRecordSchema,
  ManifestBodySchema,
  NodeCertificateBodySchema,
  RegionBodySchema,
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
  EPOCH_MAX,
  FALLBACKS_MAX,
  RECORD_MAX_BYTES,
  REGION_NODES_MAX,
} from './limits.ts'
import { ParleyError } from './refusals.ts'
import { decode } from './wire.ts'

/** Root epoch first, then version: the order of everything that is signed, floors included. */
export type Version = { readonly rootEpoch: number; readonly version: number }

export function compareVersions(a: Version, b: Version): number {
  return a.rootEpoch - b.rootEpoch || a.version - b.version
}

export type Manifest = Version & {
  readonly userId: UserId
  readonly devices: readonly Device[]
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
  readonly record: HomeRecord
}

export type Region = Version & {
  readonly regionId: RegionId
  readonly name: string
  readonly nodes: readonly {
    readonly peerId: string
    readonly multiaddrs: readonly string[]
    readonly clientUrls: readonly string[]
  }[]
  readonly revokedKeys: readonly Uint8Array[]
  readonly notAfterMs: number
  readonly record: SignedRecord
}

export type NodeCertificate = {
  readonly regionId: RegionId
  readonly nodeKey: Uint8Array
  readonly rootEpoch: number
  readonly record: SignedRecord
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', bytes, 'buffer'))
}

export function grant(body: GrantBody, rootKey: SigningKey): Grant {
  const payload = toBinary(GrantBodySchema, body)
  return create(GrantSchema, {
    rootKey: rootKey.publicKey,
    payload,
    signature: signUnder('parley/grant/v1', payload, rootKey),
  })
}

export function signRecord(context: Context, payload: Uint8Array, key: SigningKey, by: Grant): SignedRecord {
  return create(SignedRecordSchema, {
    payload,
    publicKey: key.publicKey,
    grant: by,
    signature: signUnder(context, payload, key),
  })
}

function openGrant(by: Grant | undefined, purpose: GrantBody_Purpose, nowMs: number): GrantBody {
  if (!by) throw new ParleyError('not_granted', 'record without a grant')
  const body = decode(GrantBodySchema, by.payload, RECORD_MAX_BYTES)
  if (!verifyUnder('parley/grant/v1', by.payload, by.rootKey, by.signature)) {
    throw new ParleyError('bad_signature', 'the grant is not signed by its root key')
  }
  if (body.purpose !== purpose) throw new ParleyError('not_granted', 'the grant is for another purpose')
  if (body.rootEpoch < 1 || body.rootEpoch > EPOCH_MAX)
    throw new ParleyError('malformed', `root epoch ${body.rootEpoch}`)
  if (body.notAfterMs !== 0n && Number(body.notAfterMs) + CLOCK_SKEW_MS < nowMs) {
    throw new ParleyError('expired', 'the grant has expired')
  }
  return body
}

function openRecord(context: Context, record: SignedRecord, purpose: GrantBody_Purpose, nowMs: number): GrantBody {
  if (record.payload.length > RECORD_MAX_BYTES) {
    throw new ParleyError('too_large', 'record over the limit', {
      limit: `${RECORD_MAX_BYTES}`,
      size: `${record.payload.length}`,
    })
  }
  const granted = openGrant(record.grant, purpose, nowMs)
  if (Buffer.compare(granted.key, record.publicKey) !== 0)
    throw new ParleyError('not_granted', 'signed by a key that the root key did not grant')
  if (!verifyUnder(context, record.payload, record.publicKey, record.signature)) {
    throw new ParleyError('bad_signature', `the signature does not hold (${context})`)
  }
  return granted
}

function ensureRoot(id: string, ofRoot: string): void {
  if (id !== ofRoot) throw new ParleyError('wrong_root', 'the id is not the hash of the root key', { id })
}

function ensureEpoch(body: { rootEpoch: number; version?: number }, granted: GrantBody): void {
  if (body.rootEpoch !== granted.rootEpoch)
    throw new ParleyError('not_granted', 'record and grant are of different root epochs')
  if (body.version !== undefined && body.version < 1) throw new ParleyError('malformed', 'versions count from 1')
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

/** Verifies a manifest. Whether it is the newest is the caller's question: compare with `compareVersions` and a floor. */
export function openManifest(record: SignedRecord, nowMs: number): Manifest {
  const granted = openRecord('parley/manifest/v1', record, GrantBody_Purpose.MANIFEST, nowMs)
  const body = decode(ManifestBodySchema, record.payload, RECORD_MAX_BYTES)
  const userId = userIdOf(body.userId)
  ensureRoot(userId, userIdOfRootKey(record.grant!.rootKey))
  ensureEpoch(body, granted)
  checkDevices(body.devices, body)
  if (body.fallbackRegions.length > FALLBACKS_MAX)
    throw new ParleyError('too_many', 'fallback regions', { limit: `${FALLBACKS_MAX}` })
  if (body.homeGeneration < 1 || body.homeGeneration > EPOCH_MAX)
    throw new ParleyError('malformed', 'home generation out of range')
  return {
    userId,
    rootEpoch: body.rootEpoch,
    version: body.version,
    devices: body.devices,
    homeRegion: regionIdOf(body.homeRegion),
    fallbackRegions: body.fallbackRegions.map(regionIdOf),
    homeGeneration: body.homeGeneration,
    previousHash: body.previousHash,
    hash: sha256(record.payload),
    record,
  }
}

/** Verifies a home record: signed by the manifest key, countersigned by the home (or a fallback) for a limited time. */
export function openHomeRecord(record: HomeRecord, nowMs: number): Home {
  const { head, countersignature } = record
  if (!head || !countersignature) throw new ParleyError('malformed', 'home record without head or countersignature')
  const granted = openRecord('parley/home/v1', head, GrantBody_Purpose.MANIFEST, nowMs)
  const body = decode(HomeBodySchema, head.payload, RECORD_MAX_BYTES)
  const userId = userIdOf(body.userId)
  ensureRoot(userId, userIdOfRootKey(head.grant!.rootKey))
  ensureEpoch(body, granted)
  if (body.manifestHash.length !== 32) throw new ParleyError('malformed', 'manifest hash of the wrong length')
  if (body.homeGeneration < 1 || body.homeGeneration > EPOCH_MAX)
    throw new ParleyError('malformed', 'home generation out of range')
  if (body.fallbackRegions.length > FALLBACKS_MAX)
    throw new ParleyError('too_many', 'fallback regions', { limit: `${FALLBACKS_MAX}` })
  const homeRegion = regionIdOf(body.homeRegion)
  const fallbackRegions = body.fallbackRegions.map(regionIdOf)
  openRecord('parley/countersignature/v1', countersignature, GrantBody_Purpose.OPERATIONAL, nowMs)
  const counter = decode(CountersignatureBodySchema, countersignature.payload, RECORD_MAX_BYTES)
  const by = regionIdOf(counter.regionId)
  ensureRoot(by, regionIdOfRootKey(countersignature.grant!.rootKey))
  if (by !== homeRegion && !fallbackRegions.includes(by))
    throw new ParleyError('not_home', 'countersigned by a region that is neither home nor fallback')
  if (Buffer.compare(counter.headHash, sha256(head.payload)) !== 0)
    throw new ParleyError('bad_signature', 'the countersignature is for another head')
  const notAfterMs = Number(counter.notAfterMs)
  if (notAfterMs + CLOCK_SKEW_MS < nowMs) throw new ParleyError('expired', 'the home record has expired')
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
    record,
  }
}

export function openRegionRecord(record: SignedRecord, nowMs: number): Region {
  const granted = openRecord('parley/region-record/v1', record, GrantBody_Purpose.OPERATIONAL, nowMs)
  const body = decode(RegionBodySchema, record.payload, RECORD_MAX_BYTES)
  const regionId = regionIdOf(body.regionId)
  ensureRoot(regionId, regionIdOfRootKey(record.grant!.rootKey))
  ensureEpoch(body, granted)
  if (body.nodes.length > REGION_NODES_MAX) throw new ParleyError('too_many', 'nodes', { limit: `${REGION_NODES_MAX}` })
  const notAfterMs = Number(body.notAfterMs)
  if (notAfterMs + CLOCK_SKEW_MS < nowMs) throw new ParleyError('expired', 'the region record has expired')
  return {
    regionId,
    name: body.name.slice(0, 64),
    rootEpoch: body.rootEpoch,
    version: body.version,
    nodes: body.nodes,
    revokedKeys: body.revokedKeys,
    notAfterMs,
    record,
  }
}

/** Verifies "this libp2p key is a node of this region"; the caller compares `nodeKey` with the authenticated peer. */
export function openNodeCertificate(record: SignedRecord, nowMs: number): NodeCertificate {
  const granted = openRecord('parley/node/v1', record, GrantBody_Purpose.OPERATIONAL, nowMs)
  const body = decode(NodeCertificateBodySchema, record.payload, RECORD_MAX_BYTES)
  const regionId = regionIdOf(body.regionId)
  ensureRoot(regionId, regionIdOfRootKey(record.grant!.rootKey))
  ensureEpoch(body, granted)
  if (body.nodeKey.length !== 32) throw new ParleyError('malformed', 'node key of the wrong length')
  if (body.notAfterMs !== 0n && Number(body.notAfterMs) + CLOCK_SKEW_MS < nowMs)
    throw new ParleyError('expired', 'the node certificate has expired')
  return { regionId, nodeKey: body.nodeKey, rootEpoch: body.rootEpoch, record }
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
