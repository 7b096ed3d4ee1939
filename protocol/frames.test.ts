import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { create } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { decodeDeviceFrame, decodeHomeFrame, encodeDeviceFrame, encodeHomeFrame } from './frames.ts'
import { ItemKind, LinkFrameSchema } from './gen/link_pb.ts'
import { DeviceFrameSchema, HomeFrameSchema } from './gen/session_pb.ts'
import { FRAME_ITEMS_MAX, FRAME_MAX_BYTES, LINK_BATCH_MAX_BYTES, SUBMISSION_STATE_MAX_BYTES } from './limits.ts'
import {
  decodeItem,
  decodeLinkFrame,
  decodeLinkRequest,
  decodeLinkResponse,
  encodeItem,
  encodeLinkFrame,
} from './link-frames.ts'
import { ParleyError } from './refusals.ts'
import { bytesOf, type VectorFile } from './vector-file.ts'
import { makeVectors } from './vectors.ts'
import { countItems } from './wire.ts'

const CODES = new Set(['malformed', 'too_large', 'too_many', 'unsupported_version'])
/** A frame takes a few milliseconds; this is for a busy machine. */
const SLOW_MS = 1_500

const vectors = makeVectors()
const validOf = (file: VectorFile): Uint8Array[] => file.cases.filter((vector) => !vector.error).map(bytesOf)

const DECODERS: Record<string, { decode: (bytes: Uint8Array) => unknown; seeds: Uint8Array[] }> = {
  'device frame': { decode: decodeDeviceFrame, seeds: validOf(vectors['device-frames']!) },
  'home frame': { decode: decodeHomeFrame, seeds: validOf(vectors['home-frames']!) },
  'link frame': { decode: decodeLinkFrame, seeds: validOf(vectors['link-frames']!) },
  'link request': { decode: decodeLinkRequest, seeds: validOf(vectors['link-frames']!) },
  'link response': { decode: decodeLinkResponse, seeds: validOf(vectors['link-frames']!) },
}
for (const kind of Object.values(ItemKind)) {
  const seeds = vectors.items!.cases.filter((vector) => vector.kind === kind && !vector.error).map(bytesOf)
  if (seeds.length > 0) DECODERS[`item ${kind}`] = { decode: (bytes) => decodeItem(kind, bytes), seeds }
}

/** Whether it was taken; throws unless it was taken or refused as it should be, soon. */
function tried(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): boolean {
  const begun = process.hrtime.bigint()
  try {
    decode(bytes)
    return true
  } catch (error) {
    assert.ok(error instanceof ParleyError, `threw ${String(error)}`)
    assert.ok(CODES.has(error.code), error.code)
    return false
  } finally {
    assert.ok(Number(process.hrtime.bigint() - begun) / 1e6 < SLOW_MS, 'slow')
  }
}

type Edit = { at: number; value: number; how: 'set' | 'cut' | 'insert' | 'repeat' | 'drop' }

const edits = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 0.999, noNaN: true }),
    value: fc.integer({ min: 0, max: 255 }),
    how: fc.constantFrom<Edit['how']>('set', 'set', 'cut', 'insert', 'repeat', 'drop'),
  }),
  { minLength: 1, maxLength: 4 },
)

function edited(bytes: Uint8Array, { at, value, how }: Edit): Uint8Array {
  const here = Math.floor(at * bytes.length)
  const [before, after] = [bytes.subarray(0, here), bytes.subarray(here)]
  switch (how) {
    case 'set':
      return Buffer.concat([before, Buffer.from([value]), after.subarray(1)])
    case 'cut':
      return before
    case 'insert':
      return Buffer.concat([before, Buffer.from([value]), after])
    case 'repeat':
      return Buffer.concat([bytes, after])
    case 'drop':
      return Buffer.concat([before, after.subarray(1 + (value % 8))])
  }
}

describe('decoders of what comes from outside', () => {
  for (const [name, { decode, seeds }] of Object.entries(DECODERS)) {
    it(`${name}: any bytes are taken or refused as a ParleyError`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => void tried(decode, bytes)),
        { numRuns: 500 },
      )
    })

    it(`${name}: changed frames are taken or refused as a ParleyError`, () => {
      const property = fc.property(fc.constantFrom(...seeds), edits, (seed, changes) => {
        tried(decode, changes.reduce(edited, seed))
      })
      fc.assert(property, { numRuns: 700 })
    })
  }

  it('a frame cut off anywhere is refused, or is the frame of the fields before the cut', () => {
    for (const { decode, seeds } of Object.values(DECODERS)) {
      for (const seed of seeds)
        for (let end = 0; end < Math.min(seed.length, 400); end++) tried(decode, seed.subarray(0, end))
    }
  })

  it('a truncated batch is refused', () => {
    const batch = encodeLinkFrame(
      create(LinkFrameSchema, {
        what: { case: 'batch', value: { number: 1, items: [{ ref: 1, kind: 2, body: new Uint8Array(9) }] } },
      }),
    )
    for (let end = 0; end < batch.length; end++)
      assert.equal(tried(decodeLinkFrame, batch.subarray(0, end)), false, `cut at ${end}`)
  })

  it('what is full to the byte is counted, not decoded', () => {
    for (const pattern of ['1a00', '12021a00', 'f80100', '0a00', '1200', '4a00']) {
      const bytes = new Uint8Array(
        Buffer.alloc(FRAME_MAX_BYTES - (FRAME_MAX_BYTES % (pattern.length / 2)), pattern, 'hex'),
      )
      for (const { decode } of Object.values(DECODERS)) tried(decode, bytes)
    }
  })
})

describe('counting', () => {
  it('counts repeated and unknown fields at any depth, and nothing else', () => {
    const part = { member: 1, device: 1, body: new Uint8Array(3) }
    const frame = create(DeviceFrameSchema, {
      submissions: [{ conv: 1, k: 1, tag: new Uint8Array(8), kind: 1, parts: [part, part] }],
      cursors: [{ conv: 1 }, { conv: 2 }],
      ping: 3,
    })
    const bytes = encodeDeviceFrame(frame)
    assert.equal(countItems(DeviceFrameSchema, bytes, 100), 5)
    const unknown = Buffer.from('f80100f80100', 'hex')
    assert.equal(countItems(DeviceFrameSchema, Buffer.concat([bytes, unknown]), 100), 7)
    const submission = Buffer.from('12081a011a011a011a01'.replaceAll('1a01', '1a00'), 'hex')
    assert.equal(countItems(DeviceFrameSchema, submission, 100), 4, 'single ones that come again')
    const cursor = Buffer.from('1a08080108011001'.concat('1002'), 'hex')
    assert.equal(countItems(DeviceFrameSchema, cursor, 100), 3, 'numbers that come again')
    assert.throws(() => countItems(DeviceFrameSchema, bytes, 4), { code: 'too_many' })
  })

  it('a value of a map that reaches beyond its entry is malformed, though bytes follow', () => {
    // refusal {code "c", facts {"a": 9 bytes where one is left}}, then pongs
    const bytes = Buffer.from(`420b0a01632a060a01611209${'33'}${'3805'.repeat(8)}`, 'hex')
    assert.throws(() => countItems(HomeFrameSchema, bytes, 100), { code: 'malformed' })
  })

  it('what is unknown is not kept', () => {
    const bytes = Buffer.concat([
      encodeDeviceFrame(create(DeviceFrameSchema, { ping: 3 })),
      Buffer.from('f80100', 'hex'),
    ])
    const frame = decodeDeviceFrame(bytes)
    assert.equal(frame.ping, 3)
    assert.equal(frame.$unknown, undefined)
  })

  it('takes exactly as many as the limit says', () => {
    const frame = (count: number) =>
      encodeDeviceFrame(
        create(DeviceFrameSchema, { cursors: Array.from({ length: count }, () => ({ conv: 1, epoch: 1, n: 1 })) }),
      )
    assert.equal(decodeDeviceFrame(frame(FRAME_ITEMS_MAX)).cursors.length, FRAME_ITEMS_MAX)
    assert.throws(() => decodeDeviceFrame(frame(FRAME_ITEMS_MAX + 1)), {
      code: 'too_many',
      facts: { limit: `${FRAME_ITEMS_MAX}` },
    })
  })
})

describe('encoders', () => {
  it('give back what was decoded', () => {
    for (const seed of DECODERS['device frame']!.seeds)
      assert.deepEqual(Buffer.from(encodeDeviceFrame(decodeDeviceFrame(seed))), Buffer.from(seed))
    for (const seed of DECODERS['home frame']!.seeds)
      assert.deepEqual(Buffer.from(encodeHomeFrame(decodeHomeFrame(seed))), Buffer.from(seed))
    for (const vector of vectors.items!.cases.filter((found) => !found.error)) {
      const item = decodeItem(vector.kind as number, bytesOf(vector))
      assert.deepEqual(Buffer.from(encodeItem(item)), Buffer.from(bytesOf(vector)))
    }
  })

  it('throw for a frame over the limit: a bug of the caller', () => {
    const [name] = decodeHomeFrame(DECODERS['home frame']!.seeds.at(1)!).names
    const names = Array.from({ length: 2_000 }, () => name!)
    assert.throws(() => encodeHomeFrame(create(HomeFrameSchema, { names })), RangeError)
  })
})

it('an item is refused for its size beyond the bound of its kind, before it is read', () => {
  const bounds = [
    [ItemKind.SUBMISSION_STATE, SUBMISSION_STATE_MAX_BYTES],
    [ItemKind.LOG, LINK_BATCH_MAX_BYTES],
    [ItemKind.INTRO, LINK_BATCH_MAX_BYTES],
  ] as const
  for (const [kind, most] of bounds) {
    assert.throws(() => decodeItem(kind, new Uint8Array(most + 1)), { code: 'too_large' })
    assert.throws(() => decodeItem(kind, new Uint8Array(most)), { code: 'malformed' })
  }
})
