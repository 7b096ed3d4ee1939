// Vectors of what regions and devices sign: region records, node certificates, prekeys.
import { create, toBinary } from '@bufbuild/protobuf'
import { signRecord } from './chain.ts'
import { signUnder } from './contexts.ts'
import {
  type Body,
  type Cast,
  certificateRecord,
  DAY_MS,
  filled,
  manifestRecord,
  NOW_MS,
  regionRecord,
} from './fixtures.ts'
import {
  PrekeySchema,
  PrekeysBodySchema,
  SignedPrekeysSchema,
  type SignedRecord,
  SignedRecordSchema,
} from './gen/records_pb.ts'
import { regionIdBytes, userIdBytes } from './ids.ts'
import { NODE_ADDRESSES_MAX, PREKEYS_ONE_TIME_MAX, REGION_NODES_MAX } from './limits.ts'
import type { RefusalCode } from './refusals.ts'
import { compact, hex, type VectorCase, type VectorFile } from './vector-file.ts'
import { refused, times, valid } from './vector-records.ts'

export function regionVectors(cast: Cast): VectorFile {
  const { north, south } = cast
  const made = (change: Parameters<typeof regionRecord>[1]): SignedRecord => regionRecord(north, change)
  const node = { peerId: 'p', multiaddrs: ['/ip4/127.0.0.1/tcp/1/ws'], clientUrls: ['http://127.0.0.1:1'] }
  return {
    about: 'Region records: SignedRecord with a RegionBody, context parley/region-record/v1.',
    nowMs: NOW_MS,
    cases: [
      valid('a region', made({})),
      valid('without nodes', made({ nodes: [] })),
      valid('a name with control characters, which are dropped', made({ name: 'no\u001b[2Jrth' })),
      refused('of another region', 'wrong_root', made({ regionId: regionIdBytes(south.id) })),
      refused(
        'signed under another context',
        'bad_signature',
        signRecord('parley/node/v1', made({}).payload, north.operational, north.grant),
      ),
      refused(
        'signed by the operational key of another region',
        'not_granted',
        signRecord('parley/region-record/v1', made({}).payload, south.operational, north.grant),
      ),
      refused('version 0', 'malformed', made({ version: 0 })),
      refused('of another root epoch than its grant', 'not_granted', made({ rootEpoch: 2 })),
      refused('expired', 'expired', made({ notAfterMs: BigInt(NOW_MS - 60 * 60_000) })),
      refused('holds for too long', 'malformed', made({ notAfterMs: BigInt(NOW_MS + 31 * DAY_MS) })),
      refused('too many nodes', 'too_many', made({ nodes: times(REGION_NODES_MAX + 1, () => node) })),
      refused(
        'too many addresses',
        'too_many',
        made({ nodes: [{ ...node, multiaddrs: times(NODE_ADDRESSES_MAX + 1, (i) => `/ip4/127.0.0.1/tcp/${i}`) }] }),
      ),
      refused('an address too long', 'malformed', made({ nodes: [{ ...node, multiaddrs: ['/'.repeat(257)] }] })),
      refused('a node without a peer id', 'malformed', made({ nodes: [{ ...node, peerId: '' }] })),
      refused(
        'a client URL of another scheme',
        'malformed',
        made({ nodes: [{ ...node, clientUrls: ['file:///etc/passwd'] }] }),
      ),
      refused(
        'a client URL with a path',
        'malformed',
        made({ nodes: [{ ...node, clientUrls: ['https://a.example/x'] }] }),
      ),
      refused(
        'a client URL with a password',
        'malformed',
        made({ nodes: [{ ...node, clientUrls: ['https://a:b@a.example'] }] }),
      ),
      refused('a revoked key of the wrong length', 'malformed', made({ revokedKeys: [filled(31, 1)] })),
      refused('too many revoked keys', 'too_many', made({ revokedKeys: times(65, (i) => filled(32, i)) })),
      refused('over the limit', 'too_large', made({ name: 'n'.repeat(20_000) })),
    ],
  }
}

export function certificateVectors(cast: Cast): VectorFile {
  const { north, south, stranger } = cast
  const made = (change: Parameters<typeof certificateRecord>[1]): SignedRecord => certificateRecord(north, change)
  return {
    about: 'Node certificates: SignedRecord with a NodeCertificateBody, context parley/node/v1.',
    nowMs: NOW_MS,
    cases: [
      valid('a node', made({})),
      valid('that does not expire', made({ notAfterMs: 0n })),
      refused('of another region', 'wrong_root', made({ regionId: regionIdBytes(south.id) })),
      refused(
        'signed by a stranger',
        'not_granted',
        signRecord('parley/node/v1', made({}).payload, stranger, north.grant),
      ),
      refused('node key of the wrong length', 'malformed', made({ nodeKey: filled(31, 1) })),
      refused('of another root epoch than its grant', 'not_granted', made({ rootEpoch: 2 })),
      refused('expired', 'expired', made({ notAfterMs: BigInt(NOW_MS - 60 * 60_000) })),
    ],
  }
}

export function prekeyVectors(cast: Cast): VectorFile {
  const { ana, ben, stranger } = cast
  const ec = (id: number) => create(PrekeySchema, { id, key: filled(33, 5) })
  const kyber = (id: number) => create(PrekeySchema, { id, key: filled(1_569, 8), signature: filled(64, 1) })
  const made = (change: Body<typeof PrekeysBodySchema>, key = ana.device): NonNullable<VectorCase['bytes']> => {
    const body = create(PrekeysBodySchema, {
      userId: userIdBytes(ana.id),
      device: 1,
      registrationEpoch: 1,
      registrationVersion: 1,
      signed: { ...ec(1), signature: filled(64, 1) },
      lastResortKyber: kyber(1),
      oneTime: [ec(1), ec(2)],
      oneTimeKyber: [kyber(2)],
      timeMs: BigInt(NOW_MS),
      ...change,
    })
    const payload = toBinary(PrekeysBodySchema, body)
    return compact(
      toBinary(
        SignedPrekeysSchema,
        create(SignedPrekeysSchema, { payload, signature: signUnder('parley/prekeys/v1', payload, key) }),
      ),
    )
  }
  const bad = (name: string, error: RefusalCode, bytes: NonNullable<VectorCase['bytes']>): VectorCase => ({
    name,
    bytes,
    error,
  })
  return {
    about: 'Prekeys: SignedPrekeys by the device of the manifest beside it, context parley/prekeys/v1.',
    nowMs: NOW_MS,
    manifest: hex(toBinary(SignedRecordSchema, manifestRecord(ana))),
    cases: [
      { name: 'all kinds', bytes: made({}) },
      { name: 'one-time keys only', bytes: made({ oneTime: [ec(3)], oneTimeKyber: [] }) },
      bad('signed by another device', 'bad_signature', made({}, stranger)),
      bad('of somebody else', 'unsigned_device', made({ userId: userIdBytes(ben.id) })),
      bad('of another registration', 'unsigned_device', made({ registrationVersion: 2 })),
      bad('too many one-time keys', 'too_many', made({ oneTime: times(PREKEYS_ONE_TIME_MAX + 1, (i) => ec(i + 1)) })),
      bad('an id twice', 'malformed', made({ oneTime: [ec(1), ec(1)] })),
      bad('id 0', 'malformed', made({ oneTime: [ec(0)] })),
      bad(
        'a key of the wrong length',
        'malformed',
        made({ oneTime: [create(PrekeySchema, { id: 1, key: filled(32, 5) })] }),
      ),
      bad(
        'a Kyber key without a signature',
        'malformed',
        made({ oneTimeKyber: [create(PrekeySchema, { id: 1, key: filled(1_569, 8) })] }),
      ),
      bad('from the future', 'malformed', made({ timeMs: BigInt(NOW_MS + DAY_MS) })),
    ],
  }
}
