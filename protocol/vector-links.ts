// Vectors of frames between nodes, and of the items in them.
import { create, toBinary } from '@bufbuild/protobuf'
import { type Cast, certificateRecord, filled, homeRecord, NOW_MS } from './fixtures.ts'
import {
  IntroSchema,
  ItemKind,
  LinkFrameSchema,
  LogSchema,
  LogStateSchema,
  RegistersSchema,
  SafeSchema,
  SubmissionStateSchema,
  SubmissionsSchema,
} from './gen/link_pb.ts'
import { directGenesis } from './genesis.ts'
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
      { name: 'kind 0', kind: 0, bytes: '', error: 'malformed' },
      { name: 'kind 99', kind: 99, bytes: '', error: 'malformed' },
      { name: 'kind of a property that every object has', kind: 'constructor', bytes: '', error: 'malformed' },
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
    ],
  }
}
