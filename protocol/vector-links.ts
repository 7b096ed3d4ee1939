// Vectors of frames between nodes, and of the items in them.
import { create, toBinary } from '@bufbuild/protobuf'
import { type Cast, certificateRecord, filled, homeRecord, NOW_MS } from './fixtures.ts'
import {
  Ballot_Phase,
  BallotSchema,
  FetchSchema,
  HostRegistersSchema,
  HostRegistersStateSchema,
  IntroSchema,
  ItemKind,
  JournalPositionSchema,
  LinkFrameSchema,
  LogSchema,
  LogStateSchema,
  MovedSchema,
  MovedStateSchema,
  RangeSchema,
  RegistersSchema,
  SafeSchema,
  SubmissionStateSchema,
  SubmissionsSchema,
  TakeoverSchema,
  TakeoverStateSchema,
} from './gen/link_pb.ts'
import type { SignedRecord } from './gen/records_pb.ts'
import { directGenesis } from './genesis.ts'
import { regionIdBytes, userIdBytes } from './ids.ts'
import { sealPosition } from './journal-position.ts'
import { LINK_BATCH_ITEMS_MAX, LINK_FRAME_MAX_BYTES } from './limits.ts'
import type { RefusalCode } from './refusals.ts'
import { hex, type VectorCase, type VectorFile } from './vector-file.ts'
import {
  badRegisters,
  badSubmissions,
  brokenWire,
  casesOf,
  DELIVERED,
  entryAt,
  READ,
  REFUSAL,
  SUBMISSION,
} from './vector-frames.ts'
import { closedRecord, hostRegisterOf } from './vector-moves.ts'
export function linkFrameVectors(cast: Cast): VectorFile {
  const { valid, bad, raw } = casesOf(LinkFrameSchema)
  const item = { ref: 1, kind: 2, body: filled(3, 1) }
  const hello = {
    version: 1,
    bootNonce: filled(16, 1),
    certificate: certificateRecord(cast.north),
    timeMs: BigInt(NOW_MS),
  }
  const batch = (name: string, change: object, error?: RefusalCode): VectorCase =>
    bad(`batch: ${name}`, { what: { case: 'batch', value: { number: 1, items: [item], ...change } } }, error)
  return {
    about: 'LinkFrame: between two nodes.',
    cases: [
      valid('hello', { what: { case: 'hello', value: hello } }),
      valid('batch', {
        what: { case: 'batch', value: { number: 1, names: [{ ref: 1, id: filled(32, 4) }], items: [item, item] } },
      }),
      valid('credit', { what: { case: 'credit', value: { consumedBytes: 2n ** 40n, number: 3 } } }),
      valid('ping', { what: { case: 'ping', value: 9 } }),
      valid('the end of a link', { what: { case: 'refusal', value: REFUSAL } }),
      bad('refusal: without a code', { what: { case: 'refusal', value: {} } }),
      raw('wire: a number sent as bytes', '2200'),
      bad('nothing', {}),
      bad('hello: version 2', { what: { case: 'hello', value: { ...hello, version: 2 } } }, 'unsupported_version'),
      bad('hello: a boot nonce of 15 bytes', {
        what: { case: 'hello', value: { ...hello, bootNonce: filled(15, 1) } },
      }),
      batch('number 0', { number: 0 }),
      batch('a name of 31 bytes', { names: [{ ref: 1, id: filled(31, 1) }] }),
      batch('a name with ref 0', { names: [{ ref: 0, id: filled(32, 1) }] }),
      batch('an item with ref 0', { items: [{ ...item, ref: 0 }] }),
      batch('an item without a kind', { items: [{ ...item, kind: 0 }] }),
      raw(
        'batch: too many items',
        [
          ['1284800208011a00', 1],
          ['1a00', LINK_BATCH_ITEMS_MAX],
        ],
        'too_many',
      ),
      raw(
        'batch: cut off',
        hex(
          toBinary(
            LinkFrameSchema,
            create(LinkFrameSchema, { what: { case: 'batch', value: { number: 1, items: [item] } } }),
          ).subarray(0, -1),
        ),
      ),
      ...brokenWire(raw, LINK_FRAME_MAX_BYTES, LINK_BATCH_ITEMS_MAX),
    ],
  }
}

const UNKNOWN_KINDS: readonly VectorCase[] = [
  { name: 'kind 0', kind: 0, bytes: '', error: 'malformed' },
  { name: 'kind 99', kind: 99, bytes: '', error: 'malformed' },
  { name: 'kind of a property that every object has', kind: 'constructor', bytes: '', error: 'malformed' },
]

export function itemVectors(cast: Cast): VectorFile {
  const author = { member: 0, device: 1, registrationEpoch: 1, registrationVersion: 1 }
  const submission = { ...SUBMISSION, conv: 0 }
  const intro = casesOf(IntroSchema, { kind: ItemKind.INTRO })
  const submissions = casesOf(SubmissionsSchema, { kind: ItemKind.SUBMISSIONS })
  const state = casesOf(SubmissionStateSchema, { kind: ItemKind.SUBMISSION_STATE })
  const log = casesOf(LogSchema, { kind: ItemKind.LOG })
  const logState = casesOf(LogStateSchema, { kind: ItemKind.LOG_STATE })
  const safe = casesOf(SafeSchema, { kind: ItemKind.SAFE })
  const registers = casesOf(RegistersSchema, { kind: ItemKind.REGISTERS })
  const registersState = casesOf(RegistersSchema, { kind: ItemKind.REGISTERS_STATE })
  return {
    about: 'Bodies of link items, by ItemKind: what relays say to each other about one conversation.',
    cases: [
      intro.valid('intro', { genesis: directGenesis(cast.ana.id, cast.ben.id), homeRecords: [homeRecord(cast.ana)] }),
      submissions.valid('submissions', { author, items: [submission, { ...submission, k: 2 }] }),
      state.valid('submission state', { author, last: 3 }),
      state.valid('submission state with a verdict', {
        author,
        last: 3,
        k: 4,
        rev: 1,
        verdict: { case: 'wait', value: REFUSAL },
      }),
      log.valid('log', { entry: [entryAt(1, 1), entryAt(1, 2)], headHash: filled(32, 3) }),
      logState.valid('log state', { epoch: 1, n: 0, gap: true }),
      safe.valid('safe', { epoch: 1, n: 5 }),
      registers.valid('registers', {
        items: [
          { ...READ, conv: 0 },
          { ...DELIVERED, conv: 0 },
        ],
      }),
      registersState.valid('registers that were committed', { items: [{ ...READ, conv: 0, body: filled(0, 0) }] }),
      ...UNKNOWN_KINDS,
      intro.bad('intro without a genesis', {}),
      intro.bad('intro with half a home record', {
        genesis: directGenesis(cast.ana.id, cast.ben.id),
        homeRecords: [{}],
      }),
      submissions.bad('submissions of nobody', { items: [submission] }),
      submissions.bad('submissions of device 0', { author: { ...author, device: 0 }, items: [submission] }),
      submissions.bad('submissions of registration 0', {
        author: { ...author, registrationVersion: 0 },
        items: [submission],
      }),
      submissions.bad('submissions that are none', { author }),
      submissions.bad('submissions that do not ascend', { author, items: [submission, submission] }),
      submissions.bad('a submission with a ref', { author, items: [SUBMISSION] }),
      ...badSubmissions((what, change, error) =>
        submissions.bad(`submission: ${what}`, { author, items: [{ ...submission, ...change }] }, error),
      ),
      state.bad('submission state of nobody', { last: 1 }),
      state.bad('a verdict on k 0', { author, verdict: { case: 'wait', value: REFUSAL } }),
      state.bad('moved without a record', { author, k: 1, verdict: { case: 'moved', value: {} } }),
      log.bad('log without entries', {}),
      log.bad('log with a gap', { entry: [entryAt(1, 1), entryAt(1, 3)], headHash: filled(32, 3) }),
      log.bad('log with an entry cut off', { entry: [entryAt(1, 1).subarray(0, 40)], headHash: filled(32, 3) }),
      logState.bad('log state beyond the limit', { epoch: 2 ** 21, n: 1 }),
      safe.bad('safe at n 0', { epoch: 1 }),
      registers.bad('registers that are none', {}),
      registers.bad('a register with a ref', { items: [READ] }),
      ...badRegisters((what, change, error) =>
        registers.bad(`register: ${what}`, { items: [{ ...READ, conv: 0, ...change }] }, error),
      ),
      ...movingVectors(cast),
    ],
  }
}

/** Items that move a conversation to another host or home. */
function movingVectors(cast: Cast): VectorCase[] {
  const registers = casesOf(HostRegistersSchema, { kind: ItemKind.HOST_REGISTERS })
  const state = casesOf(HostRegistersStateSchema, { kind: ItemKind.HOST_REGISTERS_STATE })
  const takeover = casesOf(TakeoverSchema, { kind: ItemKind.TAKEOVER })
  const there = casesOf(TakeoverStateSchema, { kind: ItemKind.TAKEOVER_STATE })
  const ballot = casesOf(BallotSchema, { kind: ItemKind.BALLOT })
  const fetch = casesOf(FetchSchema, { kind: ItemKind.FETCH })
  const moved = casesOf(MovedSchema, { kind: ItemKind.MOVED })
  const heard = casesOf(MovedStateSchema, { kind: ItemKind.MOVED_STATE })
  const register = hostRegisterOf(cast, [closedRecord(cast, cast.north)])
  const closed = closedRecord(cast, cast.north)
  const number = { round: 1, region: regionIdBytes(cast.south.id) }
  const genesis = directGenesis(cast.ana.id, cast.ben.id)
  const host = { hostRegion: regionIdBytes(cast.north.id), epoch: 1 }
  const { PREPARE, PROMISE, ACCEPT, ACCEPTED, REFUSED } = Ballot_Phase
  return [
    registers.valid('host registers', { items: [register] }),
    state.valid('host registers that were committed', { epoch: 2 }),
    takeover.valid('takeover', { epoch: 2, genesis }),
    takeover.valid('takeover for one of the members', { epoch: 2, genesis, userId: [userIdBytes(cast.ben.id)] }),
    takeover.valid('takeover that is done', { epoch: 2, done: true, genesis, userId: [userIdBytes(cast.ben.id)] }),
    there.valid('takeover state: unknown here', {}),
    there.valid('takeover state: unknown here, and never to be hosted here', { closed }),
    there.valid('takeover state: who hosts', host),
    there.valid('takeover state: not here yet', { beforeRegion: host.hostRegion }),
    there.valid('takeover state: not all is here', { ...host, beforeRegion: host.hostRegion, beforeKeeps: true }),
    there.bad('takeover state: nobody keeps something', { ...host, beforeKeeps: true }),
    there.bad('takeover state: a region of 31 bytes', { beforeRegion: filled(31, 1) }),
    there.valid('takeover state: closed', { ...host, closed }),
    ballot.valid('ballot: prepare', { phase: PREPARE, epoch: 2, number }),
    ballot.valid('ballot: promise', { phase: PROMISE, epoch: 2, number, closed }),
    ballot.valid('ballot: promise of one who accepted before', {
      ...{ phase: PROMISE, epoch: 2, number, closed },
      ...{ accepted: number, value: register.payload },
    }),
    ballot.valid('ballot: accept', { phase: ACCEPT, epoch: 2, number, value: register.payload }),
    ballot.valid('ballot: accepted', { phase: ACCEPTED, epoch: 2, number }),
    ballot.valid('ballot: refused', { phase: REFUSED, epoch: 2, number }),
    fetch.valid('fetch from the start', { epoch: 0, n: 0 }),
    moved.valid('somebody who moved', { home: homeRecord(cast.ben) }),
    heard.valid('somebody who moved, as is known', { generation: 2 }),
    registers.bad('host registers that are none', {}),
    registers.bad('too many host registers', { items: Array.from({ length: 17 }, () => register) }, 'too_many'),
    state.bad('host registers of epoch 0', {}),
    takeover.bad('takeover of epoch 0', { genesis }),
    takeover.bad('takeover of nothing', { epoch: 2 }),
    takeover.bad('takeover for nobody', { epoch: 2, genesis, userId: [filled(31, 1)] }),
    there.bad('takeover state without an epoch', { hostRegion: host.hostRegion }),
    ballot.bad('ballot without a phase', { epoch: 2, number }),
    ballot.bad('ballot without a number', { phase: PREPARE, epoch: 2 }),
    ballot.bad('ballot of round 0', { phase: PREPARE, epoch: 2, number: { ...number, round: 0 } }),
    ballot.bad('a promise without a statement', { phase: PROMISE, epoch: 2, number }),
    ballot.bad('accept without a value', { phase: ACCEPT, epoch: 2, number }),
    ballot.bad('accepted before without a value', { phase: PROMISE, epoch: 2, number, closed, accepted: number }),
    fetch.bad('fetch beyond the limit', { epoch: 2 ** 21, n: 0 }),
    moved.bad('somebody who moved to nowhere', {}),
    moved.bad('somebody who moved to half a home', { home: {} }),
    heard.bad('somebody who moved to home 0', {}),
    heard.bad('a home generation beyond the limit', { generation: 2 ** 21 }),
    ...rangeVectors(register),
    ...journalVectors(),
  ]
}

function journalVectors(): VectorCase[] {
  const journal = casesOf(JournalPositionSchema, { kind: ItemKind.JOURNAL_POSITION })
  const place = { life: 1, commit: 1n, boot: filled(8, 5), mac: filled(32, 1) }
  return [
    journal.valid('how far a journal has come', sealPosition({ life: 1, commit: 42 }, filled(8, 5), filled(32, 7))),
    journal.valid('of whose journal nothing is kept', {}),
    journal.bad('a journal before its first life', { ...place, life: 0 }),
    journal.bad('a journal beyond what can be counted', { ...place, commit: 2n ** 53n }),
    journal.bad('a place without its seal', { life: 1, commit: 1n, boot: filled(8, 5) }),
  ]
}

function rangeVectors(register: SignedRecord): VectorCase[] {
  const author = { member: 0, device: 1, registrationEpoch: 1, registrationVersion: 1 }
  const range = casesOf(RangeSchema, { kind: ItemKind.RANGE })
  const placed = { k: 3, epoch: 1, n: 2, tag: filled(8, 3) }
  const snapshot = {
    low: { epoch: 1, n: 0 },
    safe: { epoch: 1, n: 1 },
    headHash: filled(32, 3),
    authors: [{ author, last: 3, window: [{ ...placed, k: 2, n: 1 }, placed] }],
    registers: [{ ...DELIVERED, conv: 0 }],
    hostRegisters: [register],
    held: [{ author, items: [{ ...SUBMISSION, conv: 0 }] }],
  }
  const page = { afterEpoch: 1, afterN: 0, headEpoch: 1, headN: 2, entry: [entryAt(1, 1), entryAt(1, 2)] }
  const withTable = (change: object) => ({
    ...page,
    snapshot: { ...snapshot, authors: [{ author, last: 3, window: [placed], ...change }] },
  })
  return [
    range.valid('a page', page),
    range.valid('a page with a snapshot', { ...page, snapshot }),
    range.valid('an empty page', { afterEpoch: 1, afterN: 2, headEpoch: 1, headN: 2 }),
    range.bad('a page with a gap', { ...page, entry: [entryAt(1, 1), entryAt(1, 3)] }),
    range.bad('a snapshot without its places', { ...page, snapshot: { ...snapshot, low: undefined } }),
    range.bad('a table that does not reach its end', withTable({ last: 4 })),
    range.bad('a table that does not ascend', withTable({ window: [placed, placed] })),
    range.bad('a table of nobody', withTable({ author: undefined })),
  ]
}
