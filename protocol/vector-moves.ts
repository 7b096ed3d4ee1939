// Vectors of what moves a conversation: what regions closed, and who hosts from then on.
import { create, toBinary } from '@bufbuild/protobuf'
import { signRecord } from './chain.ts'
import { type Body, type Cast, type CastRegion, filled, headRecord, NOW_MS } from './fixtures.ts'
import { ClosedBodySchema, HostRegisterBodySchema, type SignedRecord } from './gen/records_pb.ts'
import { directConvId } from './genesis.ts'
import { hostRegisterPayload, openClosed, type RegionSigner, signClosed, signHostRegister } from './host-registers.ts'
import { type ConvId, convIdBytes, regionIdBytes, userIdBytes } from './ids.ts'
import { CLOSED_MAX } from './limits.ts'
import { NOWHERE, positionOf } from './position.ts'
import type { VectorFile } from './vector-file.ts'
import { refused, times, valid } from './vector-records.ts'

const HASH = filled(32, 3)

export const signerOf = (region: CastRegion): RegionSigner => ({
  regionId: region.id,
  operational: region.operational,
  grant: region.grant,
})
export const castConv = (cast: Cast): ConvId => directConvId(cast.ana.id, cast.ben.id)

export function closedRecord(cast: Cast, region: CastRegion, n = 7): SignedRecord {
  const closed = { convId: castConv(cast), beforeEpoch: 2, at: positionOf(1, n), hash: HASH }
  return signClosed(closed, signerOf(region), NOW_MS)
}

function closedWith(cast: Cast, change: Body<typeof ClosedBodySchema>): SignedRecord {
  const { north } = cast
  const body = create(ClosedBodySchema, {
    convId: convIdBytes(castConv(cast)),
    regionId: regionIdBytes(north.id),
    beforeEpoch: 2,
    epoch: 1,
    n: 7,
    hash: HASH,
    rootEpoch: 1,
    timeMs: BigInt(NOW_MS),
    ...change,
  })
  return signRecord('parley/closed/v1', toBinary(ClosedBodySchema, body), north.operational, north.grant)
}

export function closedVectors(cast: Cast): VectorFile {
  const made = (change: Body<typeof ClosedBodySchema>): SignedRecord => closedWith(cast, change)
  const nothing = { convId: castConv(cast), beforeEpoch: 2, at: NOWHERE, hash: convIdBytes(castConv(cast)) }
  return {
    about: 'What a region closed: SignedRecord with a ClosedBody, context parley/closed/v1.',
    nowMs: NOW_MS,
    cases: [
      valid('closed', closedRecord(cast, cast.north)),
      valid('nothing of this conversation', signClosed(nothing, signerOf(cast.north), NOW_MS)),
      refused('of another region', 'wrong_root', made({ regionId: regionIdBytes(cast.south.id) })),
      refused(
        'signed by a stranger',
        'not_granted',
        signRecord('parley/closed/v1', made({}).payload, cast.stranger, cast.north.grant),
      ),
      refused(
        'signed under another context',
        'bad_signature',
        signRecord('parley/host-register/v1', made({}).payload, cast.north.operational, cast.north.grant),
      ),
      refused('of another root epoch than its grant', 'not_granted', made({ rootEpoch: 2 })),
      refused('before the first epoch', 'malformed', made({ beforeEpoch: 1 })),
      refused('a place in the epoch that it makes room for', 'malformed', made({ epoch: 2 })),
      refused('a place before the first of an epoch', 'malformed', made({ n: 0 })),
      refused('nothing, with the hash of something', 'malformed', made({ epoch: 0, n: 0 })),
      refused('a hash of the wrong length', 'malformed', made({ hash: filled(31, 1) })),
    ],
  }
}

/** South hosts epoch 2: ana moved there. */
export function hostRegisterOf(cast: Cast, closed: readonly SignedRecord[]): SignedRecord {
  const { ana, south } = cast
  const homeHead = headRecord(ana, { version: 2, homeRegion: regionIdBytes(south.id), homeGeneration: 2 })
  const init = {
    convId: castConv(cast),
    epoch: 2,
    closed: closed.map((record) => openClosed(record, NOW_MS)),
    homeHead,
  }
  return signHostRegister(hostRegisterPayload(init, signerOf(south), NOW_MS), signerOf(south))
}

function registerWith(cast: Cast, change: Body<typeof HostRegisterBodySchema>): SignedRecord {
  const { ana, south, north } = cast
  const body = create(HostRegisterBodySchema, {
    convId: convIdBytes(castConv(cast)),
    epoch: 2,
    hostRegion: regionIdBytes(south.id),
    cutEpoch: 1,
    cutN: 7,
    cutHash: HASH,
    closed: [closedRecord(cast, north)],
    right: {
      case: 'homeHead',
      value: headRecord(ana, { version: 2, homeRegion: regionIdBytes(south.id), homeGeneration: 2 }),
    },
    rootEpoch: 1,
    timeMs: BigInt(NOW_MS),
    ...change,
  })
  return signRecord('parley/host-register/v1', toBinary(HostRegisterBodySchema, body), south.operational, south.grant)
}

export function hostRegisterVectors(cast: Cast): VectorFile {
  const { ana, north, south } = cast
  const made = (change: Body<typeof HostRegisterBodySchema>): SignedRecord => registerWith(cast, change)
  const head = (change: Parameters<typeof headRecord>[1]) => ({
    right: { case: 'homeHead' as const, value: headRecord(ana, { version: 2, ...change }) },
  })
  const there = { homeRegion: regionIdBytes(south.id), homeGeneration: 2 }
  return {
    about: 'Who hosts an epoch: SignedRecord with a HostRegisterBody, context parley/host-register/v1.',
    nowMs: NOW_MS,
    cases: [
      valid('cut where the host before closed', hostRegisterOf(cast, [closedRecord(cast, north)])),
      valid(
        'cut at the highest of two',
        hostRegisterOf(cast, [closedRecord(cast, north, 5), closedRecord(cast, south)]),
      ),
      refused('without statements', 'malformed', made({ closed: [] })),
      refused(
        'two statements of one region',
        'malformed',
        made({ closed: [closedRecord(cast, north), closedRecord(cast, north)] }),
      ),
      refused(
        'too many statements',
        'too_many',
        made({ closed: times(CLOSED_MAX + 1, () => closedRecord(cast, north)) }),
      ),
      refused(
        'statements of two histories',
        'conflict',
        made({ closed: [closedRecord(cast, south), closedWith(cast, { hash: filled(32, 4) })] }),
      ),
      refused('a statement about another conversation', 'malformed', made({ convId: filled(32, 9) })),
      refused('a statement about another epoch', 'malformed', made({ closed: [closedWith(cast, { beforeEpoch: 3 })] })),
      refused('cut below the highest statement', 'malformed', made({ cutN: 6 })),
      refused('a hash that no statement has', 'malformed', made({ cutHash: filled(32, 4) })),
      refused('without a right', 'not_granted', made({ right: { case: undefined } })),
      refused('a home record of another generation', 'not_host', made(head({ ...there, homeGeneration: 3 }))),
      refused(
        'a home record that names another region',
        'not_host',
        made(head({ ...there, homeRegion: regionIdBytes(north.id) })),
      ),
      refused(
        'a home record of somebody else',
        'wrong_root',
        made(head({ ...there, userId: userIdBytes(cast.ben.id) })),
      ),
      refused(
        'signed by another region than its host',
        'wrong_root',
        signHostRegister(made({}).payload, signerOf(north)),
      ),
      refused(
        'signed under another context',
        'bad_signature',
        signRecord('parley/closed/v1', made({}).payload, south.operational, south.grant),
      ),
      refused('of another root epoch than its grant', 'not_granted', made({ rootEpoch: 2 })),
    ],
  }
}
