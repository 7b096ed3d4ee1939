// What an operator does with the keys of a region: the root key grants an operational key, which certifies nodes and
// signs the region's record. The root key stays offline; a relay runs with the operational key and its grant.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  decode,
  type Grant,
  GrantBody_Purpose,
  GrantBodySchema,
  grant,
  limits,
  NodeCertificateBodySchema,
  ParleyError,
  type Random,
  type Region,
  RegionBodySchema,
  type RegionId,
  regionIdBytes,
  regionIdOfRootKey,
  type SignedRecord,
  type SigningKey,
  signingKey,
  signRecord,
} from '#protocol'
import type { NodeStorage } from './types.ts'

const SECRET_BYTES = 32
const VERSION_KEY = 'region-version'

/** 32 secret bytes: the root key of a new region. Its id is the hash of the public half. */
export function createRegionRoot(random: Random): { readonly secret: Uint8Array; readonly regionId: RegionId } {
  const secret = random.bytes(SECRET_BYTES)
  return { secret, regionId: regionIdOfRootKey(signingKey(secret).publicKey) }
}

/** What a relay holds: enough to certify nodes, countersign home records and sign the region's record. */
export type RegionKeys = {
  readonly regionId: RegionId
  readonly operational: SigningKey
  readonly grant: Grant
  readonly rootEpoch: number
}

/** The root key lets an operational key speak for the region. A higher root epoch ends every grant before it. */
export function grantOperationalKey(
  rootSecret: Uint8Array,
  operationalKey: Uint8Array,
  rootEpoch: number,
  notAfterMs: number,
): Grant {
  const body = create(GrantBodySchema, {
    purpose: GrantBody_Purpose.OPERATIONAL,
    key: operationalKey,
    rootEpoch,
    notAfterMs: BigInt(notAfterMs),
  })
  return grant(body, signingKey(rootSecret))
}

/** Puts the operational secret and its grant together; throws `not_granted` when they do not belong together. */
export function regionKeys(operationalSecret: Uint8Array, by: Grant): RegionKeys {
  const operational = signingKey(operationalSecret)
  const body = decode(GrantBodySchema, by.payload, limits.RECORD_MAX_BYTES)
  if (Buffer.compare(body.key, operational.publicKey) !== 0) {
    throw new ParleyError('not_granted', 'the grant is for another operational key')
  }
  return { regionId: regionIdOfRootKey(by.rootKey), operational, grant: by, rootEpoch: body.rootEpoch }
}

/** "This libp2p key is a node of this region." `notAfterMs` 0: until the grant ends. */
export function certifyNode(keys: RegionKeys, nodeKey: Uint8Array, notAfterMs: number): SignedRecord {
  const body = create(NodeCertificateBodySchema, {
    regionId: regionIdBytes(keys.regionId),
    nodeKey,
    rootEpoch: keys.rootEpoch,
    notAfterMs: BigInt(notAfterMs),
  })
  return signRecord('parley/node/v1', toBinary(NodeCertificateBodySchema, body), keys.operational, keys.grant)
}

export type RegionDescription = {
  readonly name: string
  readonly nodes: readonly {
    readonly peerId: string
    readonly multiaddrs: readonly string[]
    readonly clientUrls: readonly string[]
  }[]
  readonly revokedKeys: readonly Uint8Array[]
}

/** Signs a region record of exactly this version: see `nextRegionRecord` for the one to publish. */
export function signRegionRecord(
  keys: RegionKeys,
  description: RegionDescription,
  version: number,
  nowMs: number,
  notAfterMs: number,
): SignedRecord {
  const body = create(RegionBodySchema, {
    regionId: regionIdBytes(keys.regionId),
    name: description.name,
    rootEpoch: keys.rootEpoch,
    version,
    nodes: description.nodes.map((node) => ({
      peerId: node.peerId,
      multiaddrs: [...node.multiaddrs],
      clientUrls: [...node.clientUrls],
    })),
    revokedKeys: [...description.revokedKeys],
    notAfterMs: BigInt(notAfterMs),
    timeMs: BigInt(nowMs),
  })
  return signRecord('parley/region-record/v1', toBinary(RegionBodySchema, body), keys.operational, keys.grant)
}

/**
 * Signs the next version of the region's record, valid for REGION_RECORD_MAX_MS. The version is on disk before the
 * record exists, and above that of `known` (what the directory last saw), so that none is ever given twice.
 */
export async function nextRegionRecord(
  keys: RegionKeys,
  description: RegionDescription,
  storage: NodeStorage,
  known: Region | undefined,
  nowMs: number,
): Promise<SignedRecord> {
  const key = `${VERSION_KEY}/${keys.regionId}/${keys.rootEpoch}`
  const row = await storage.get(key)
  const stored = row ? Number(Buffer.from(row).toString('latin1')) : 0
  const seen = known && known.rootEpoch === keys.rootEpoch ? known.version : 0
  const version = Math.max(stored, seen) + 1
  await storage.put(key, new Uint8Array(Buffer.from(`${version}`, 'latin1')))
  return signRegionRecord(keys, description, version, nowMs, nowMs + limits.REGION_RECORD_MAX_MS)
}
