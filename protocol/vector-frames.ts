// Vectors of frames between device and home, and between nodes. A valid one comes with its protobuf JSON.
import { create, type DescMessage, type JsonValue, type MessageInitShape, toBinary, toJson } from '@bufbuild/protobuf'
import { KIND_CONTENT, KIND_SKIP, writeEntry } from './entry.ts'
import { type Cast, filled, homeRecord } from './fixtures.ts'
import { DeviceFrameSchema, HomeFrameSchema } from './gen/session_pb.ts'
import { directConvId, directGenesis } from './genesis.ts'
import { convIdBytes } from './ids.ts'
import { ENTRY_MAX_BYTES, FRAME_ITEMS_MAX, FRAME_MAX_BYTES, PARTS_MAX } from './limits.ts'
import { positionOf } from './position.ts'
import type { RefusalCode } from './refusals.ts'
import { HEADER } from './vector-basics.ts'
import { compact, type VectorCase, type VectorFile } from './vector-file.ts'
import { closedRecord, hostRegisterOf } from './vector-moves.ts'

type Init<T extends DescMessage> = MessageInitShape<T>

/** Makers of cases for one schema. */
export function casesOf<T extends DescMessage>(schema: T, extra: Readonly<Record<string, number>> = {}) {
  const bytesOf = (init: Init<T>): Uint8Array => toBinary(schema, create(schema, init))
  return {
    bytesOf,
    valid(name: string, init: Init<T>): VectorCase {
      const json = toJson(schema, create(schema, init)) as JsonValue
      return { name, ...extra, bytes: compact(bytesOf(init)), json }
    },
    bad: (name: string, init: Init<T>, error: RefusalCode = 'malformed'): VectorCase => ({
      name,
      ...extra,
      bytes: compact(bytesOf(init)),
      error,
    }),
    raw: (name: string, bytes: NonNullable<VectorCase['bytes']>, error: RefusalCode = 'malformed'): VectorCase => ({
      name,
      ...extra,
      bytes,
      error,
    }),
  }
}

/** What is no message of any schema here: field 1 is a message everywhere. */
export function brokenWire(
  raw: (name: string, bytes: NonNullable<VectorCase['bytes']>, error?: RefusalCode) => VectorCase,
  limitBytes: number,
  limitItems: number,
): VectorCase[] {
  return [
    raw('wire: a length beyond the end', '0a05ff'),
    raw('wire: a nested length beyond its message', '0a020aff'),
    raw('wire: cut off within a number', '0aff'),
    raw('wire: a number of eleven bytes', '0affffffffffffffffffff01'),
    raw('wire: field number 0', '0200'),
    raw('wire: a group', [['f303', 10_000]]),
    raw('wire: wire type 7', '0f'),
    raw('wire: a field of another type', '0801'),
    raw('wire: too many unknown fields', [['f80100', limitItems + 1]], 'too_many'),
    raw('wire: over the limit', [['00', limitBytes + 1]], 'too_large'),
  ]
}

const PART = { member: 1, device: 1, body: filled(4, 0xcc) }
export const SUBMISSION = {
  conv: 1,
  k: 1,
  tag: filled(8, 0xab),
  kind: KIND_CONTENT,
  encryptedFor: [{ member: 1, rootEpoch: 1, version: 1 }],
  parts: [PART],
}
export const READ = { conv: 1, kind: 2, member: 0, device: 1, version: 2n ** 32n + 3n, body: filled(20, 2) }
export const DELIVERED = { conv: 1, kind: 1, member: 0, version: 2n ** 32n + 3n }
export const REFUSAL = { code: 'overloaded', message: 'later', retry: true, retryAfterMs: 500, facts: { limit: '3' } }
const nameOf = (cast: Cast) => ({
  ref: 1,
  convId: convIdBytes(directConvId(cast.ana.id, cast.ben.id)),
  genesis: directGenesis(cast.ana.id, cast.ben.id),
  homeRecords: [homeRecord(cast.ana), homeRecord(cast.ben)],
})
export const entryAt = (epoch: number, n: number): Uint8Array =>
  writeEntry({ ...HEADER, at: positionOf(epoch, n), k: n }, [PART])

export function badSubmissions(bad: (name: string, change: object, error?: RefusalCode) => VectorCase): VectorCase[] {
  const big = { ...PART, body: filled(70_000, 1) }
  return [
    bad('k 0', { k: 0 }),
    bad('a tag of 7 bytes', { tag: filled(7, 1) }),
    bad('kind 0', { kind: 0 }),
    bad('kind 6', { kind: 6 }),
    bad('a skip with parts', { kind: KIND_SKIP }),
    bad('a part without ciphertext', { parts: [{ ...PART, body: filled(0, 0) }] }),
    bad('a part for device 128', { parts: [{ ...PART, device: 128 }] }),
    bad('a part over the limit', { parts: [{ ...PART, body: filled(72 * 1024 + 1, 1) }] }, 'too_large'),
    bad('parts over the limit of an entry', { parts: [big, big, big, big] }, 'too_large'),
    bad('too many parts', { parts: Array.from({ length: PARTS_MAX + 1 }, () => PART) }, 'too_many'),
    bad('encrypted for version 0', { encryptedFor: [{ member: 1, rootEpoch: 1, version: 0 }] }),
  ]
}

export function badRegisters(bad: (name: string, change: object, error?: RefusalCode) => VectorCase): VectorCase[] {
  return [
    bad('an unknown kind', { kind: 3 }),
    bad('delivered with a body', { kind: 1, device: 0 }),
    bad('read without a body', { body: filled(0, 0) }),
    bad('read of no device', { device: 0 }),
    bad('version 0', { version: 0n }),
    bad('a version beyond the limit', { version: 2n ** 53n + 1n }),
    bad('a body over the limit', { body: filled(513, 1) }, 'too_large'),
  ]
}

export function deviceFrameVectors(cast: Cast): VectorFile {
  const { valid, bad, raw } = casesOf(DeviceFrameSchema)
  const name = nameOf(cast)
  return {
    about: 'DeviceFrame: what a device sends after sign-in.',
    cases: [
      valid('empty', {}),
      valid('everything', {
        names: [name],
        submissions: [SUBMISSION, { ...SUBMISSION, k: 2, rev: 1, kind: KIND_SKIP, parts: [] }],
        cursors: [{ conv: 1, epoch: 1, n: 3 }],
        pulls: [{ conv: 1, epoch: 0, n: 0, maxBytes: 65_536 }],
        registers: [READ],
        ping: 7,
      }),
      ...badSubmissions((what, change, error) =>
        bad(`submission: ${what}`, { submissions: [{ ...SUBMISSION, ...change }] }, error),
      ),
      bad('submission: ref 0', { submissions: [{ ...SUBMISSION, conv: 0 }] }),
      ...badRegisters((what, change, error) =>
        bad(`register: ${what}`, { registers: [{ ...READ, ...change }] }, error),
      ),
      bad('name: ref 0', { names: [{ ...name, ref: 0 }] }),
      bad('name: an id of 31 bytes', { names: [{ ...name, convId: filled(31, 1) }] }),
      bad('name: an id that is not the hash of the genesis', { names: [{ ...name, convId: filled(32, 1) }] }),
      bad('name: no genesis', { names: [{ ...name, genesis: filled(0, 0) }] }),
      bad('name: a home record without head', { names: [{ ...name, homeRecords: [{}] }] }),
      bad('cursor: ref 0', { cursors: [{ epoch: 1, n: 1 }] }),
      bad('cursor: an epoch beyond the limit', { cursors: [{ conv: 1, epoch: 2 ** 21, n: 1 }] }),
      bad('pull: ref 0', { pulls: [{ epoch: 1, n: 1 }] }),
      bad('pull: an epoch beyond the limit', { pulls: [{ conv: 1, epoch: 2 ** 21, n: 1 }] }),
      raw('wire: a number sent as bytes', '3200'),
      raw('too many cursors', [['1a00', FRAME_ITEMS_MAX + 1]], 'too_many'),
      raw(
        'too many cursors and pulls together',
        [
          ['1a00', FRAME_ITEMS_MAX / 2],
          ['2200', FRAME_ITEMS_MAX / 2 + 1],
        ],
        'too_many',
      ),
      ...brokenWire(raw, FRAME_MAX_BYTES, FRAME_ITEMS_MAX),
    ],
  }
}

function badVerdicts(bad: (name: string, outcome: object, error?: RefusalCode) => VectorCase): VectorCase[] {
  const sequenced = { case: 'sequenced', value: { epoch: 1, n: 1 } }
  const final = (value: object) => ({ outcome: { case: 'final', value: { ...REFUSAL, ...value } } })
  return [
    bad('no outcome', { outcome: { case: undefined } }),
    bad('k 0', { k: 0 }),
    bad('ref 0', { conv: 0 }),
    bad('sequenced without a tag', { outcome: sequenced, tag: filled(0, 0) }),
    bad('sequenced at n 0', { outcome: { case: 'sequenced', value: { epoch: 1, n: 0 } } }),
    bad('a tag of 9 bytes', { tag: filled(9, 1) }),
    bad('a refusal without a code', final({ code: '' })),
    bad('a refusal with a long code', final({ code: 'c'.repeat(65) })),
    bad('a refusal with a long message', final({ message: 'm'.repeat(1_001) })),
    bad(
      'a refusal with many facts',
      final({ facts: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`f${i}`, ''])) }),
      'too_many',
    ),
    bad('a refusal with a long fact', final({ facts: { a: 'b'.repeat(1_001) } })),
    bad('stale for an unknown reason', { outcome: { case: 'stale', value: { code: 'other' } } }),
    bad('stale with version 0', {
      outcome: { case: 'stale', value: { code: 'stale_manifest', newest: [{ member: 1, rootEpoch: 1 }] } },
    }),
    bad('moved without a record', { outcome: { case: 'moved', value: {} } }),
  ]
}

function moveCases(cast: Cast): VectorCase[] {
  const { valid, bad } = casesOf(HomeFrameSchema)
  return [
    valid('a move', { moves: [{ conv: 1, registers: [hostRegisterOf(cast, [closedRecord(cast, cast.north)])] }] }),
    bad('a move of ref 0', { moves: [{ registers: [hostRegisterOf(cast, [closedRecord(cast, cast.north)])] }] }),
    bad('a move to nowhere', { moves: [{ conv: 1 }] }),
  ]
}

export function homeFrameVectors(cast: Cast): VectorFile {
  const { valid, bad, raw } = casesOf(HomeFrameSchema)
  const held = { conv: 1, k: 1, tag: filled(8, 0xab), outcome: { case: 'held', value: {} } } as const
  const verdict = (change: object): Init<typeof HomeFrameSchema> => ({ verdicts: [{ ...held, ...change }] })
  const run = { conv: 1, entry: [entryAt(1, 1), entryAt(1, 2)], headHash: filled(32, 3), headEpoch: 1, headN: 2 }
  const entries = (name: string, change: object, error?: RefusalCode): VectorCase =>
    bad(`entries: ${name}`, { entries: [{ ...run, ...change }] }, error)
  return {
    about: 'HomeFrame: what a home sends after sign-in.',
    cases: [
      valid('empty', {}),
      valid('everything', {
        names: [nameOf(cast)],
        verdicts: [
          held,
          { ...held, outcome: { case: 'sequenced', value: { epoch: 1, n: 4 } } },
          { ...held, outcome: { case: 'safe', value: {} } },
          { ...held, outcome: { case: 'behind', value: {} } },
          { ...held, outcome: { case: 'past', value: {} } },
          { ...held, outcome: { case: 'wait', value: REFUSAL } },
          { ...held, outcome: { case: 'final', value: REFUSAL } },
          {
            ...held,
            outcome: {
              case: 'stale',
              value: { code: 'stale_manifest', newest: [{ member: 1, rootEpoch: 1, version: 2 }] },
            },
          },
          { ...held, outcome: { case: 'moved', value: homeRecord(cast.ana) } },
        ],
        entries: [run],
        behind: [{ conv: 1, headEpoch: 1, headN: 9 }],
        registers: [DELIVERED],
        notices: [{ what: { case: 'prekeysLow', value: { oneTime: 3 } } }],
        pong: 7,
      }),
      ...moveCases(cast),
      valid('the end of a session', { refusal: REFUSAL }),
      valid('an empty page', { entries: [{ conv: 1, page: true, headEpoch: 1, headN: 2 }] }),
      valid('a run over the end of an epoch', { entries: [{ ...run, entry: [entryAt(1, 7), entryAt(2, 1)] }] }),
      ...badVerdicts((what, change, error) => bad(`verdict: ${what}`, verdict(change), error)),
      entries('ref 0', { conv: 0 }),
      entries('pushed, and none', { entry: [] }),
      entries('a head hash of 31 bytes', { headHash: filled(31, 1) }),
      entries('a gap', { entry: [entryAt(1, 1), entryAt(1, 3)] }),
      entries('one twice', { entry: [entryAt(1, 1), entryAt(1, 1)] }),
      entries('descending', { entry: [entryAt(1, 2), entryAt(1, 1)] }),
      entries('an epoch that does not begin at 1', { entry: [entryAt(1, 1), entryAt(2, 2)] }),
      entries('an epoch that goes back', { entry: [entryAt(2, 1), entryAt(1, 1)] }),
      entries('an entry cut off', { entry: [entryAt(1, 1).subarray(0, -1)] }),
      entries('an entry over the limit', { entry: [filled(ENTRY_MAX_BYTES + 1, 1)] }, 'too_large'),
      bad('behind: ref 0', { behind: [{ headEpoch: 1, headN: 1 }] }),
      ...badRegisters((what, change, error) =>
        bad(`register: ${what}`, { registers: [{ ...READ, ...change }] }, error),
      ),
      bad('refusal without a code', { refusal: {} }),
      raw('wire: a number sent as bytes', '3a00'),
      raw('too many verdicts', [['1200', FRAME_ITEMS_MAX + 1]], 'too_many'),
      raw(
        'too many entries in one run',
        [
          ['1a86c003', 1],
          ['1200', 28_675],
        ],
        'too_many',
      ),
      ...brokenWire(raw, FRAME_MAX_BYTES, FRAME_ITEMS_MAX),
    ],
  }
}
