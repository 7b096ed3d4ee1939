// What is read and written by hand is what the generated code reads and writes.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { create, type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { encodeContent, readContent } from './content-codec.ts'
import { readDeviceFrame, writeDeviceFrame } from './device-frame-codec.ts'
import { selectParts, writeEntry } from './entry.ts'
import { makeContents } from './fixtures.ts'
import { ContentSchema } from './gen/content_pb.ts'
import {
  IntroSchema,
  ItemKind,
  LinkFrameSchema,
  LogSchema,
  LogStateSchema,
  SafeSchema,
  type SubmissionState,
  SubmissionStateSchema,
  SubmissionsSchema,
} from './gen/link_pb.ts'
import { HomeRecordSchema } from './gen/records_pb.ts'
import { ConversationNameSchema, DeviceFrameSchema, HomeFrameSchema, SubmissionSchema } from './gen/session_pb.ts'
import { readHomeFrame } from './home-frame-codec.ts'
import { HomeFrameWriter, sizeOfOwn } from './home-frame-writer.ts'
import {
  readLog,
  readLogState,
  readSafe,
  readSubmissionState,
  readSubmissions,
  writeLog,
  writeLogState,
  writeSafe,
  writeSubmissionState,
  writeSubmissions,
} from './item-codec.ts'
import { FRAME_ITEMS_MAX, FRAME_MAX_BYTES } from './limits.ts'
import { readLinkFrame } from './link-frame-codec.ts'
import { positionOf } from './position.ts'
import { encodeHomeRecord, encodeIntro, sizeOfName } from './record-writer.ts'
import { ParleyError } from './refusals.ts'
import { packSubmission, unpackSubmission } from './submission-codec.ts'
import { bytesOf, type VectorFile } from './vector-file.ts'
import { makeVectors } from './vectors.ts'
import { decode } from './wire.ts'

const vectors = makeVectors()
const validOf = (file: VectorFile, kind?: number): Uint8Array[] =>
  file.cases.filter((vector) => !vector.error && (kind === undefined || vector.kind === kind)).map(bytesOf)

type Codec = {
  readonly schema: DescMessage
  readonly seeds: readonly Uint8Array[]
  readonly read: (bytes: Uint8Array, itemsMax: number) => object
  readonly write: ((message: never) => Uint8Array) | undefined
}

const CODECS: Readonly<Record<string, Codec>> = {
  'device frame': {
    schema: DeviceFrameSchema,
    seeds: validOf(vectors['device-frames']!),
    read: readDeviceFrame,
    write: writeDeviceFrame,
  },
  'home frame': {
    schema: HomeFrameSchema,
    seeds: validOf(vectors['home-frames']!),
    read: readHomeFrame,
    write: undefined,
  },
  submissions: {
    schema: SubmissionsSchema,
    seeds: validOf(vectors.items!, ItemKind.SUBMISSIONS),
    read: readSubmissions,
    write: writeSubmissions,
  },
  'submission alone': {
    schema: SubmissionSchema,
    seeds: validOf(vectors['device-frames']!).flatMap((seed) =>
      readDeviceFrame(seed, FRAME_ITEMS_MAX).submissions.map((it) => toBinary(SubmissionSchema, it)),
    ),
    read: unpackSubmission,
    write: packSubmission,
  },
  'link frame': {
    schema: LinkFrameSchema,
    seeds: validOf(vectors['link-frames']!),
    read: readLinkFrame,
    write: undefined,
  },
  'log state': {
    schema: LogStateSchema,
    seeds: validOf(vectors.items!, ItemKind.LOG_STATE),
    read: readLogState,
    write: writeLogState,
  },
  safe: { schema: SafeSchema, seeds: validOf(vectors.items!, ItemKind.SAFE), read: readSafe, write: writeSafe },
  'submission state': {
    schema: SubmissionStateSchema,
    seeds: validOf(vectors.items!, ItemKind.SUBMISSION_STATE),
    read: readSubmissionState,
    write: (message: SubmissionState) =>
      message.verdict.case === undefined ? writeSubmissionState(message) : toBinary(SubmissionStateSchema, message),
  },
  content: {
    schema: ContentSchema,
    seeds: makeContents().map((it) => toBinary(ContentSchema, it)),
    read: readContent,
    write: encodeContent,
  },
  log: { schema: LogSchema, seeds: validOf(vectors.items!, ItemKind.LOG), read: readLog, write: writeLog },
}

/** What was read, without the fields that nobody knows; or the code of the refusal. */
function outcome(read: () => object): unknown {
  try {
    return JSON.parse(
      JSON.stringify(read(), (name, value) =>
        name === '$unknown' ? undefined : typeof value === 'bigint' ? `${value}n` : value,
      ),
    )
  } catch (error) {
    if (error instanceof ParleyError) return error.code
    throw error
  }
}

type Edit = { at: number; byte: number; how: 'set' | 'insert' | 'cut' | 'drop' | 'append' }
const edits = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 0.999, noNaN: true }),
    byte: fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 0x80, 0xff, 0x0a, 0x12, 0x1a, 0x22, 0x3a)),
    how: fc.constantFrom<Edit['how']>('set', 'set', 'insert', 'cut', 'drop', 'append'),
  }),
  { maxLength: 4 },
)

function edited(bytes: Uint8Array, { at, byte, how }: Edit): Uint8Array {
  const here = Math.floor(at * bytes.length)
  const [before, after] = [bytes.subarray(0, here), bytes.subarray(here)]
  if (how === 'cut') return before
  if (how === 'append') return Buffer.concat([bytes, after])
  return Buffer.concat([
    before,
    how === 'drop' ? Buffer.alloc(0) : Buffer.from([byte]),
    after.subarray(how === 'insert' ? 0 : 1),
  ])
}

describe('codecs by hand', () => {
  for (const [name, { schema, seeds, read, write }] of Object.entries(CODECS)) {
    it(`${name}: whatever the bytes, read as the generated code reads them`, () => {
      let taken = 0
      const property = fc.property(fc.constantFrom(...seeds), edits, (seed, changes) => {
        const bytes = changes.reduce(edited, seed)
        const theirs = outcome(() => decode(schema, bytes, FRAME_MAX_BYTES, FRAME_ITEMS_MAX))
        assert.deepEqual(
          outcome(() => read(bytes, FRAME_ITEMS_MAX)),
          theirs,
        )
        if (typeof theirs === 'object') taken++
      })
      fc.assert(property, { numRuns: 3_000 })
      assert.ok(taken > 100, `only ${taken} were taken at all`)
    })

    it(`${name}: numbers that come again count, at any depth, as they do there`, () => {
      // Who brings a limit of its own reads as those do that do not.
      if (read.length < 2) return
      const limit = 8
      for (let field = 1; field < 14; field++) {
        for (let inner = 1; inner < 14; inner++) {
          const numbers = Buffer.alloc(4 * limit, Buffer.of(inner << 3, 1))
          for (const bytes of [numbers, Buffer.concat([Buffer.of((field << 3) | 2, numbers.length), numbers])]) {
            assert.deepEqual(
              outcome(() => read(bytes, limit)),
              outcome(() => decode(schema, bytes, FRAME_MAX_BYTES, limit)),
              bytes.toString('hex'),
            )
          }
        }
      }
    })

    if (write) {
      it(`${name}: written as the generated code writes it`, () => {
        for (const seed of seeds) {
          const message = fromBinary(schema, seed)
          assert.deepEqual(Buffer.from(write(message as never)), Buffer.from(toBinary(schema, message)))
        }
      })
    }
  }

  it('a single message in two pieces is merged, and refused when one of them is cut off', () => {
    for (const [name, hex] of [
      ['submissions', '0a0208010a021002'],
      ['submissions', '0a01080a0105'],
      ['submissions', '0a0208010a0110'],
      ['home frame', '42030a01614203120162'],
      ['home frame', '42020a014201614203120162'],
      ['submission state', '0a01080a0105'],
    ] as const) {
      const { schema, read } = CODECS[name]!
      const bytes = new Uint8Array(Buffer.from(hex, 'hex'))
      const theirs = outcome(() => decode(schema, bytes, FRAME_MAX_BYTES, FRAME_ITEMS_MAX))
      assert.deepEqual(
        outcome(() => read(bytes, FRAME_ITEMS_MAX)),
        theirs,
        hex,
      )
    }
  })

  it('home frames: what is said bit by bit is read back by the generated code', () => {
    const part = fc.record({
      member: fc.integer({ min: 0, max: 2 }),
      device: fc.integer({ min: 0, max: 3 }),
      body: fc.uint8Array({ minLength: 1, maxLength: 300 }),
    })
    const number = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constantFrom(0x3fff, 0x4000, 0x1f_ffff, 0xffff_ffff))
    const said = fc.record({
      ref: number,
      k: number,
      n: number,
      epoch: fc.constantFrom(1, 200, 2 ** 21 - 1),
      parts: fc.array(part, { maxLength: 4 }),
      page: fc.boolean(),
      based: fc.boolean(),
      headHash: fc.constantFrom(new Uint8Array(0), new Uint8Array(32).fill(7)),
    })
    fc.assert(
      fc.property(fc.array(said, { minLength: 1, maxLength: 5 }), (runs) => {
        const to = new HomeFrameWriter()
        const reader = { member: 1, device: 2 }
        const verdicts: object[] = []
        const entries: object[] = []
        for (const { ref, k, n, epoch, parts, page, based, headHash } of runs) {
          const at = positionOf(epoch, n)
          const header = { kind: 1, at, member: 0, device: 1, registrationEpoch: 1, registrationVersion: 1, k }
          const tag = new Uint8Array(8).fill(k & 255)
          const entry = writeEntry({ ...header, tag, membershipVersion: 0, timeMs: 5 }, parts)
          const own = selectParts(entry, (m, d) => m === 1 && (d === 2 || d === 0))
          assert.equal(sizeOfOwn(entry, reader), own.length)
          to.sequenced(ref, entry)
          to.safe(ref, k)
          const base = based ? at : undefined
          to.run({ conv: ref, headHash, page, head: at, base }, [entry], [own.length], 0, 1, reader)
          verdicts.push({ conv: ref, k, outcome: { case: 'sequenced', value: { epoch, n } }, tag })
          verdicts.push({ conv: ref, k, outcome: { case: 'safe', value: {} } })
          const run = { conv: ref, entry: [own], headHash, page, headEpoch: epoch, headN: n }
          entries.push(based ? { ...run, base: { epoch, n } } : run)
        }
        to.pong(9)
        const expected = create(HomeFrameSchema, { verdicts, entries, pong: 9 })
        assert.deepEqual(fromBinary(HomeFrameSchema, to.done()), expected)
      }),
      { numRuns: 300 },
    )
  })
})

const bytesUpTo = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength })
const signedRecord = fc.record({
  payload: bytesUpTo(300),
  publicKey: bytesUpTo(32),
  grant: fc.option(fc.record({ rootKey: bytesUpTo(32), payload: bytesUpTo(200), signature: bytesUpTo(64) }), {
    nil: undefined,
  }),
  signature: bytesUpTo(64),
})
const homeRecord = fc
  .record({
    head: fc.option(signedRecord, { nil: undefined }),
    countersignature: fc.option(signedRecord, { nil: undefined }),
  })
  .map(({ head, countersignature }) =>
    create(HomeRecordSchema, { ...(head && { head }), ...(countersignature && { countersignature }) } as never),
  )

it('home records, introductions and names are written as the generated code writes them', () => {
  fc.assert(
    fc.property(bytesUpTo(65), fc.array(homeRecord, { maxLength: 3 }), (genesis, homeRecords) => {
      for (const record of homeRecords) assert.deepEqual(encodeHomeRecord(record), toBinary(HomeRecordSchema, record))
      const intro = create(IntroSchema, { genesis, homeRecords })
      assert.deepEqual(encodeIntro(genesis, homeRecords), toBinary(IntroSchema, intro))
      const name = create(ConversationNameSchema, { ref: genesis.length, convId: genesis, genesis, homeRecords })
      const whole = toBinary(ConversationNameSchema, name)
      assert.equal(sizeOfName(name), whole.length)
      const frame = create(DeviceFrameSchema, { names: [name] })
      assert.deepEqual(writeDeviceFrame(frame), toBinary(DeviceFrameSchema, frame))
    }),
  )
})
