// A fixed cast for vectors and tests: two regions, two people, every key made of a seed.

import type { MessageInitShape } from '@bufbuild/protobuf'
import { create, toBinary } from '@bufbuild/protobuf'
import { grant, sha256, signRecord } from './chain.ts'
import { type SigningKey, signingKey } from './ed25519.ts'
import { type Content, ContentSchema } from './gen/content_pb.ts'
import {
  type DeviceSchema,
  type Grant,
  GrantBody_Purpose,
  GrantBodySchema,
  HomeBodySchema,
  type HomeRecord,
  ManifestBodySchema,
  NodeCertificateBodySchema,
  RegionBodySchema,
  type SignedRecord,
} from './gen/records_pb.ts'
import { type RegionId, regionIdBytes, regionIdOfRootKey, type UserId, userIdBytes, userIdOfRootKey } from './ids.ts'
import { countersign, type Manifest, openManifest } from './records.ts'
import { simulatedRandom } from './simulated.ts'

export const NOW_MS = 1_800_000_000_000
export const DAY_MS = 86_400_000

export type CastRegion = {
  readonly root: SigningKey
  readonly operational: SigningKey
  readonly node: SigningKey
  readonly id: RegionId
  readonly grant: Grant
}

export type CastPerson = {
  readonly root: SigningKey
  readonly manifestKey: SigningKey
  readonly device: SigningKey
  readonly id: UserId
  readonly grant: Grant
  readonly region: CastRegion
}

export type Cast = {
  readonly north: CastRegion
  readonly south: CastRegion
  readonly ana: CastPerson
  readonly ben: CastPerson
  readonly stranger: SigningKey
}

export type Body<T extends Parameters<typeof create>[0]> = MessageInitShape<T>

export function grantFor(
  purpose: GrantBody_Purpose,
  key: SigningKey,
  root: SigningKey,
  change: Body<typeof GrantBodySchema> = {},
): Grant {
  const notAfterMs = purpose === GrantBody_Purpose.OPERATIONAL ? BigInt(NOW_MS + 365 * DAY_MS) : 0n
  return grant(create(GrantBodySchema, { purpose, key: key.publicKey, rootEpoch: 1, notAfterMs, ...change }), root)
}

export function makeCast(seed: number): Cast {
  const random = simulatedRandom(seed)
  const key = (): SigningKey => signingKey(random.bytes(32))
  const region = (): CastRegion => {
    const [root, operational, node] = [key(), key(), key()]
    const by = grantFor(GrantBody_Purpose.OPERATIONAL, operational, root)
    return { root, operational, node, id: regionIdOfRootKey(root.publicKey), grant: by }
  }
  const person = (home: CastRegion): CastPerson => {
    const [root, manifestKey, device] = [key(), key(), key()]
    const by = grantFor(GrantBody_Purpose.MANIFEST, manifestKey, root)
    return { root, manifestKey, device, id: userIdOfRootKey(root.publicKey), grant: by, region: home }
  }
  const north = region()
  const south = region()
  return { north, south, ana: person(north), ben: person(south), stranger: key() }
}

/** Byte `fill` over and over: keys whose meaning nobody checks here. */
export const filled = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill)

export function deviceEntry(person: CastPerson, change: Body<typeof DeviceSchema> = {}): Body<typeof DeviceSchema> {
  return {
    number: 1,
    registrationEpoch: 1,
    registrationVersion: 1,
    deviceKey: person.device.publicKey,
    signalIdentityKey: filled(33, 5),
    signalRegistrationId: 4_711,
    ...change,
  }
}

export function manifestPayload(person: CastPerson, change: Body<typeof ManifestBodySchema> = {}): Uint8Array {
  const body = create(ManifestBodySchema, {
    userId: userIdBytes(person.id),
    rootEpoch: 1,
    version: 1,
    devices: [deviceEntry(person)],
    homeRegion: regionIdBytes(person.region.id),
    homeGeneration: 1,
    ...change,
  })
  return toBinary(ManifestBodySchema, body)
}

export function manifestRecord(person: CastPerson, change: Body<typeof ManifestBodySchema> = {}): SignedRecord {
  return signRecord('parley/manifest/v1', manifestPayload(person, change), person.manifestKey, person.grant)
}

export const manifestOf = (person: CastPerson): Manifest => openManifest(manifestRecord(person), NOW_MS)

export function headRecord(person: CastPerson, change: Body<typeof HomeBodySchema> = {}): SignedRecord {
  const body = create(HomeBodySchema, {
    userId: userIdBytes(person.id),
    rootEpoch: 1,
    version: 1,
    manifestHash: sha256(manifestPayload(person)),
    homeRegion: regionIdBytes(person.region.id),
    homeGeneration: 1,
    ...change,
  })
  return signRecord('parley/home/v1', toBinary(HomeBodySchema, body), person.manifestKey, person.grant)
}

export function homeRecord(
  person: CastPerson,
  by: CastRegion = person.region,
  notAfterMs = NOW_MS + 30 * DAY_MS,
): HomeRecord {
  return countersign(headRecord(person), by.id, by.operational, by.grant, NOW_MS, notAfterMs)
}

export function certificateRecord(
  region: CastRegion,
  change: Body<typeof NodeCertificateBodySchema> = {},
): SignedRecord {
  const body = create(NodeCertificateBodySchema, {
    regionId: regionIdBytes(region.id),
    nodeKey: region.node.publicKey,
    rootEpoch: 1,
    notAfterMs: BigInt(NOW_MS + 90 * DAY_MS),
    ...change,
  })
  return signRecord('parley/node/v1', toBinary(NodeCertificateBodySchema, body), region.operational, region.grant)
}

export function regionRecord(region: CastRegion, change: Body<typeof RegionBodySchema> = {}): SignedRecord {
  const body = create(RegionBodySchema, {
    regionId: regionIdBytes(region.id),
    name: 'north',
    rootEpoch: 1,
    version: 3,
    nodes: [
      {
        peerId: '12D3KooWNorth',
        multiaddrs: ['/ip4/127.0.0.1/tcp/4001/ws'],
        clientUrls: ['http://127.0.0.1:8080', 'https://north.example'],
      },
    ],
    notAfterMs: BigInt(NOW_MS + 7 * DAY_MS),
    timeMs: BigInt(NOW_MS),
    ...change,
  })
  return signRecord('parley/region-record/v1', toBinary(RegionBodySchema, body), region.operational, region.grant)
}

/** What people say, and what their devices say to each other, one of each kind. */
export function makeContents(): Content[] {
  const convId = new Uint8Array(32).fill(9)
  const seen = { epoch: 1, n: 2, hash: new Uint8Array(32).fill(5) }
  const stateKey = { key: new Uint8Array(32).fill(4) }
  const again = { k: 300, body: { case: 'text' as const, value: 'once more' }, stateKey }
  return [
    create(ContentSchema, { convId, k: 1, stateKey, body: { case: 'text', value: 'Grüße, 世界 🌍' } }),
    create(ContentSchema, { convId, k: 70_000, seen, body: { case: 'text', value: '' } }),
    create(ContentSchema, { convId, k: 2, seen, stateKey, body: { case: 'data', value: Uint8Array.of(0xff, 0) } }),
    create(ContentSchema, { convId, k: 3, seen: {}, body: { case: 'data', value: new Uint8Array(0) } }),
    create(ContentSchema, { convId, k: 4, seen, body: { case: 'retry', value: { epoch: 1, n: 3, k: 3 } } }),
    create(ContentSchema, { convId, k: 5, seen, body: { case: 'again', value: again } }),
    create(ContentSchema, { convId, k: 6, stateKey: {} }),
  ]
}
