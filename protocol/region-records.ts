// What a region is: its record in the directory (nodes and how to reach them) and the certificates of its nodes.
import { ensureEpoch, ensureRoot, hasExpired, openRecord, ownCopy, type Version } from './chain.ts'
import {
  GrantBody_Purpose,
  NodeCertificateBodySchema,
  RegionBodySchema,
  type RegionNode,
  type SignedRecord,
  SignedRecordSchema,
} from './gen/records_pb.ts'
import { type RegionId, regionIdOf, regionIdOfRootKey } from './ids.ts'
import {
  ADDRESS_MAX_CHARS,
  CLOCK_SKEW_MS,
  ENVELOPE_MAX_BYTES,
  NODE_ADDRESSES_MAX,
  RECORD_MAX_BYTES,
  REGION_NAME_MAX_CHARS,
  REGION_NODES_MAX,
  REGION_RECORD_MAX_MS,
  REVOKED_KEYS_MAX,
} from './limits.ts'
import { ParleyError } from './refusals.ts'
import { decode } from './wire.ts'

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

/** An origin and nothing more: what a client appends `/v1/…` to. */
function isOrigin(text: string): boolean {
  const url = URL.parse(text)
  const web = url?.protocol === 'http:' || url?.protocol === 'https:'
  return web && url.pathname === '/' && !url.search && !url.hash && !url.username && !url.password
}

function checkNode(node: RegionNode): void {
  const addresses = [...node.multiaddrs, ...node.clientUrls]
  if (node.multiaddrs.length > NODE_ADDRESSES_MAX || node.clientUrls.length > NODE_ADDRESSES_MAX) {
    throw new ParleyError('too_many', 'addresses of a node over the limit', { limit: `${NODE_ADDRESSES_MAX}` })
  }
  const fits = addresses.every((address) => address.length > 0 && address.length <= ADDRESS_MAX_CHARS)
  if (!fits || node.peerId.length === 0 || node.peerId.length > ADDRESS_MAX_CHARS) {
    throw new ParleyError('malformed', 'a node with an address or a peer id of an impossible length')
  }
  if (!node.clientUrls.every(isOrigin)) throw new ParleyError('malformed', 'a client URL that is no http(s) origin')
}

function checkRevoked(keys: readonly Uint8Array[]): void {
  if (keys.length > REVOKED_KEYS_MAX) {
    throw new ParleyError('too_many', 'revoked keys over the limit', { limit: `${REVOKED_KEYS_MAX}` })
  }
  if (!keys.every((key) => key.length === 32)) throw new ParleyError('malformed', 'a revoked key of the wrong length')
}

/** Shown in terminals and logs, so without control characters. */
function nameOf(name: string): string {
  return [...name.replace(/\p{C}/gu, '')].slice(0, REGION_NAME_MAX_CHARS).join('')
}

export function openRegionRecord(received: SignedRecord, nowMs: number): Region {
  const record = ownCopy(SignedRecordSchema, received, RECORD_MAX_BYTES + ENVELOPE_MAX_BYTES)
  const granted = openRecord('parley/region-record/v1', record, GrantBody_Purpose.OPERATIONAL, nowMs)
  const body = decode(RegionBodySchema, record.payload, RECORD_MAX_BYTES)
  const regionId = regionIdOf(body.regionId)
  ensureRoot(regionId, regionIdOfRootKey(record.grant!.rootKey))
  ensureEpoch(body, granted)
  if (body.nodes.length > REGION_NODES_MAX) throw new ParleyError('too_many', 'nodes', { limit: `${REGION_NODES_MAX}` })
  for (const node of body.nodes) checkNode(node)
  checkRevoked(body.revokedKeys)
  const notAfterMs = Number(body.notAfterMs)
  if (hasExpired(notAfterMs, nowMs)) throw new ParleyError('expired', 'the region record has expired')
  if (notAfterMs > nowMs + REGION_RECORD_MAX_MS + CLOCK_SKEW_MS) {
    throw new ParleyError('malformed', 'the region record holds for too long')
  }
  return {
    regionId,
    name: nameOf(body.name),
    rootEpoch: body.rootEpoch,
    version: body.version,
    nodes: body.nodes,
    revokedKeys: body.revokedKeys,
    notAfterMs,
    record,
  }
}

/** Verifies "this libp2p key is a node of this region"; the caller compares `nodeKey` with the authenticated peer. */
export function openNodeCertificate(received: SignedRecord, nowMs: number): NodeCertificate {
  const record = ownCopy(SignedRecordSchema, received, RECORD_MAX_BYTES + ENVELOPE_MAX_BYTES)
  const granted = openRecord('parley/node/v1', record, GrantBody_Purpose.OPERATIONAL, nowMs)
  const body = decode(NodeCertificateBodySchema, record.payload, RECORD_MAX_BYTES)
  const regionId = regionIdOf(body.regionId)
  ensureRoot(regionId, regionIdOfRootKey(record.grant!.rootKey))
  ensureEpoch(body, granted)
  if (body.nodeKey.length !== 32) throw new ParleyError('malformed', 'node key of the wrong length')
  if (body.notAfterMs !== 0n && hasExpired(body.notAfterMs, nowMs))
    throw new ParleyError('expired', 'the node certificate has expired')
  return { regionId, nodeKey: body.nodeKey, rootEpoch: body.rootEpoch, record }
}
