// Vectors of signed records: the valid form, and one for each way in which it can be wrong.
import { create, toBinary } from '@bufbuild/protobuf'
import { signRecord } from './chain.ts'
import {
  type Cast,
  DAY_MS,
  deviceEntry,
  filled,
  grantFor,
  headRecord,
  homeRecord,
  manifestPayload,
  manifestRecord,
  NOW_MS,
} from './fixtures.ts'
import {
  GrantBody_Purpose,
  type HomeRecord,
  HomeRecordSchema,
  type SignedRecord,
  SignedRecordSchema,
} from './gen/records_pb.ts'
import { regionIdBytes, userIdBytes } from './ids.ts'
import { DEVICES_MAX, FALLBACKS_MAX, MANIFEST_MAX_BYTES } from './limits.ts'
import { countersign } from './records.ts'
import type { RefusalCode } from './refusals.ts'
import { compact, type VectorCase, type VectorFile } from './vector-file.ts'

const GRANTED_LATE = 60 * 60_000

export const bytesOf = (record: SignedRecord): NonNullable<VectorCase['bytes']> =>
  compact(toBinary(SignedRecordSchema, record))
export const valid = (name: string, record: SignedRecord): VectorCase => ({ name, bytes: bytesOf(record) })
export const refused = (name: string, error: RefusalCode, record: SignedRecord): VectorCase => ({
  name,
  bytes: bytesOf(record),
  error,
})
export const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index))
const flipped = (bytes: Uint8Array): Uint8Array => bytes.map((byte, index) => (index === 3 ? byte ^ 1 : byte))

export function grantVectors(cast: Cast): VectorFile {
  const { ana, ben, stranger } = cast
  const payload = manifestPayload(ana)
  const under = (by: SignedRecord['grant']): SignedRecord => ({
    ...signRecord('parley/manifest/v1', payload, ana.manifestKey, ana.grant),
    grant: by!,
  })
  const grantTo = (change: Parameters<typeof grantFor>[3], root = ana.root): SignedRecord =>
    under(grantFor(GrantBody_Purpose.MANIFEST, ana.manifestKey, root, change))
  const { grant: _, ...without } = manifestRecord(ana)
  return {
    about: 'Grants, each within a manifest (SignedRecord) that is good but for its grant.',
    nowMs: NOW_MS,
    cases: [
      valid('a grant', manifestRecord(ana)),
      valid('a grant that expired within the tolerance of clocks', grantTo({ notAfterMs: BigInt(NOW_MS - 60_000) })),
      refused('no grant', 'not_granted', create(SignedRecordSchema, without)),
      refused(
        'signed by another root key than it names',
        'bad_signature',
        under({ ...ana.grant, rootKey: ben.root.publicKey }),
      ),
      refused('payload changed', 'malformed', under({ ...ana.grant, payload: flipped(ana.grant.payload) })),
      refused('signature changed', 'bad_signature', under({ ...ana.grant, signature: flipped(ana.grant.signature) })),
      refused('signature of the wrong length', 'bad_signature', under({ ...ana.grant, signature: filled(63, 1) })),
      refused('root key of the wrong length', 'bad_signature', under({ ...ana.grant, rootKey: filled(31, 1) })),
      refused('for another purpose', 'not_granted', grantTo({ purpose: GrantBody_Purpose.OPERATIONAL })),
      refused('for no purpose', 'not_granted', grantTo({ purpose: GrantBody_Purpose.UNSPECIFIED })),
      refused('for another key', 'not_granted', grantTo({ key: stranger.publicKey })),
      refused('by the root key of somebody else', 'wrong_root', grantTo({}, ben.root)),
      refused('of another root epoch than the record', 'not_granted', grantTo({ rootEpoch: 2 })),
      refused('of root epoch 0', 'malformed', grantTo({ rootEpoch: 0 })),
      refused('of a root epoch beyond the limit', 'malformed', grantTo({ rootEpoch: 2 ** 21 })),
      refused('expired', 'expired', grantTo({ notAfterMs: BigInt(NOW_MS - GRANTED_LATE) })),
    ],
  }
}

function badDevices({ ana }: Cast): VectorCase[] {
  const made = (change: Parameters<typeof manifestRecord>[1]): SignedRecord => manifestRecord(ana, change)
  return [
    refused('no device', 'too_many', made({ devices: [] })),
    refused(
      'too many devices',
      'too_many',
      made({ devices: times(DEVICES_MAX + 1, (i) => deviceEntry(ana, { number: i + 1 })) }),
    ),
    refused('a device number twice', 'malformed', made({ devices: [deviceEntry(ana), deviceEntry(ana)] })),
    refused('device number 0', 'malformed', made({ devices: [deviceEntry(ana, { number: 0 })] })),
    refused('device number 128', 'malformed', made({ devices: [deviceEntry(ana, { number: 128 })] })),
    refused(
      'a device registered by a later manifest',
      'malformed',
      made({ devices: [deviceEntry(ana, { registrationVersion: 2 })] }),
    ),
    refused('devices of a later version', 'malformed', made({ devicesSince: 2 })),
    refused(
      'devices of a version before one of them was registered',
      'malformed',
      made({
        version: 3,
        previousHash: filled(32, 9),
        devicesSince: 1,
        devices: [deviceEntry(ana, { registrationVersion: 2 })],
      }),
    ),
    refused(
      'a device key of the wrong length',
      'malformed',
      made({ devices: [deviceEntry(ana, { deviceKey: filled(31, 1) })] }),
    ),
    refused(
      'a Signal identity key of the wrong length',
      'malformed',
      made({ devices: [deviceEntry(ana, { signalIdentityKey: filled(32, 1) })] }),
    ),
  ]
}

export function manifestVectors(cast: Cast): VectorFile {
  const { ana, ben, stranger } = cast
  const made = (change: Parameters<typeof manifestRecord>[1]): SignedRecord => manifestRecord(ana, change)
  const good = made({})
  const region = regionIdBytes(cast.south.id)
  const second = deviceEntry(ana, { number: 2 })
  return {
    about: 'Manifests: SignedRecord with a ManifestBody, context parley/manifest/v1.',
    nowMs: NOW_MS,
    cases: [
      valid('the first manifest', good),
      valid(
        'two devices, a fallback, a later version',
        made({
          version: 7,
          devices: [deviceEntry(ana), second],
          fallbackRegions: [region],
          previousHash: filled(32, 9),
          devicesSince: 4,
        }),
      ),
      refused(
        'an unsigned device slipped in',
        'bad_signature',
        create(SignedRecordSchema, { ...good, payload: manifestPayload(ana, { devices: [deviceEntry(ana), second] }) }),
      ),
      refused(
        'signed by a key that was not granted',
        'not_granted',
        signRecord('parley/manifest/v1', good.payload, stranger, ana.grant),
      ),
      refused(
        'signed under another context',
        'bad_signature',
        signRecord('parley/home/v1', good.payload, ana.manifestKey, ana.grant),
      ),
      refused('signed by a replaced manifest key, claiming the new root epoch', 'not_granted', made({ rootEpoch: 2 })),
      refused('of somebody else', 'wrong_root', made({ userId: userIdBytes(ben.id) })),
      refused('user id of the wrong length', 'bad_id', made({ userId: filled(31, 1) })),
      refused('home region of the wrong length', 'bad_id', made({ homeRegion: filled(33, 1) })),
      refused(
        'payload that is no message',
        'malformed',
        signRecord('parley/manifest/v1', filled(8, 0xff), ana.manifestKey, ana.grant),
      ),
      refused('version 0', 'malformed', made({ version: 0 })),
      refused('a later version without the hash of the one before', 'malformed', made({ version: 2 })),
      refused('a previous hash of the wrong length', 'malformed', made({ version: 2, previousHash: filled(31, 9) })),
      refused('the very first with a previous hash', 'malformed', made({ previousHash: filled(32, 9) })),
      ...badDevices(cast),
      refused(
        'too many fallback regions',
        'too_many',
        made({ fallbackRegions: times(FALLBACKS_MAX + 1, (i) => filled(32, i)) }),
      ),
      refused('home generation 0', 'malformed', made({ homeGeneration: 0 })),
      refused('a home generation beyond the limit', 'malformed', made({ homeGeneration: 2 ** 21 })),
      refused('over the limit', 'too_large', made({ fallbackRegions: [filled(MANIFEST_MAX_BYTES + 2_000, 1)] })),
    ],
  }
}

export function homeVectors(cast: Cast): VectorFile {
  const { ana, ben, north, south } = cast
  const hexOf = (record: HomeRecord): NonNullable<VectorCase['bytes']> => compact(toBinary(HomeRecordSchema, record))
  const good = homeRecord(ana)
  const by = (head: SignedRecord, region = north, notAfterMs = NOW_MS + DAY_MS): HomeRecord =>
    countersign(head, region.id, region.operational, region.grant, NOW_MS, notAfterMs)
  const bad = (name: string, error: RefusalCode, record: HomeRecord): VectorCase => ({
    name,
    bytes: hexOf(record),
    error,
  })
  const fallback = headRecord(ana, { fallbackRegions: [regionIdBytes(south.id)] })
  const forged = countersign(good.head!, north.id, south.operational, south.grant, NOW_MS, NOW_MS + DAY_MS)
  return {
    about: 'Home records: HomeRecord, head under parley/home/v1, countersignature under parley/countersignature/v1.',
    nowMs: NOW_MS,
    cases: [
      { name: 'countersigned by the home', bytes: hexOf(good) },
      { name: 'countersigned by a fallback', bytes: hexOf(by(fallback, south)) },
      bad('no countersignature', 'malformed', create(HomeRecordSchema, { head: good.head! })),
      bad('no head', 'malformed', create(HomeRecordSchema, { countersignature: good.countersignature! })),
      bad('countersigned by a region that is neither home nor fallback', 'not_home', by(headRecord(ana), south)),
      bad('countersigned in the name of the home by another region', 'wrong_root', forged),
      bad(
        'countersignature of another head',
        'bad_signature',
        create(HomeRecordSchema, { head: fallback, countersignature: good.countersignature! }),
      ),
      bad(
        'head changed',
        'bad_signature',
        create(HomeRecordSchema, {
          ...good,
          head: { ...good.head!, payload: headRecord(ana, { version: 2 }).payload },
        }),
      ),
      bad('head of somebody else', 'wrong_root', by(headRecord(ana, { userId: userIdBytes(ben.id) }))),
      bad('head of another root epoch than its grant', 'not_granted', by(headRecord(ana, { rootEpoch: 2 }))),
      bad('manifest hash of the wrong length', 'malformed', by(headRecord(ana, { manifestHash: filled(31, 1) }))),
      bad('expired', 'expired', by(headRecord(ana), north, NOW_MS - 60 * 60_000)),
      bad('holds for too long', 'malformed', by(headRecord(ana), north, NOW_MS + 91 * DAY_MS)),
      bad('home generation 0', 'malformed', by(headRecord(ana, { homeGeneration: 0 }))),
      bad(
        'too many fallback regions',
        'too_many',
        by(headRecord(ana, { fallbackRegions: times(FALLBACKS_MAX + 1, (i) => filled(32, i)) })),
      ),
      bad('over the limit', 'too_large', by(headRecord(ana, { manifestHash: filled(5_000, 1) }))),
    ],
  }
}
