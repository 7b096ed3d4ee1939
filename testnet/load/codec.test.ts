// The hand-written codec of the generator against the one that everybody else uses.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { decodeDeviceFrame, encodeHomeFrame, HomeFrameSchema, positionOf, systemRandom, writeEntry } from '#protocol'
import {
  bodyBytes,
  bodyK,
  deviceFrameWriter,
  entryK,
  entryMember,
  entryN,
  pingFrame,
  pullFrame,
  readHomeFrame,
} from './codec.ts'
import { FIRST_TEXT_BYTES, TEXT_BYTES } from './limits.ts'

test('what a device writes is what a home reads', () => {
  for (const bytes of [TEXT_BYTES, FIRST_TEXT_BYTES]) {
    const body = systemRandom.bytes(bytes)
    for (const member of [0, 1]) {
      const writer = deviceFrameWriter(member, body)
      for (const k of [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 2 ** 32 - 3]) {
        const frame = decodeDeviceFrame(writer.write(k, k + 2, { epoch: 1, n: 300 }))
        assert.deepEqual(
          frame.submissions.map((it) => it.k),
          [k, k + 1, k + 2],
        )
        for (const { conv, kind, tag, encryptedFor, parts, k: own } of frame.submissions) {
          assert.deepEqual([conv, kind, tag.length, parts.length], [1, 1, 8, 1])
          assert.deepEqual(
            encryptedFor.map((it) => [it.member, it.rootEpoch, it.version]),
            [
              [0, 1, 1],
              [1, 1, 1],
            ],
          )
          assert.deepEqual([parts[0]!.member, parts[0]!.device, parts[0]!.body.length], [member, 1, bytes])
          assert.equal(Buffer.from(parts[0]!.body).readUInt32BE(), own)
          assert.deepEqual(Buffer.from(parts[0]!.body.subarray(4)), Buffer.from(body.subarray(4)))
        }
        assert.deepEqual(
          frame.cursors.map(({ conv, epoch, n }) => [conv, epoch, n]),
          [[1, 1, 300]],
        )
      }
      const bare = decodeDeviceFrame(writer.write(1, 0, { epoch: 2, n: 1 }))
      assert.deepEqual([bare.submissions.length, bare.cursors.length], [0, 1])
    }
  }
  const [pull] = decodeDeviceFrame(pullFrame({ epoch: 1, n: 5 }, 1_000)).pulls
  assert.deepEqual([pull!.conv, pull!.epoch, pull!.n, pull!.maxBytes], [1, 1, 5, 1_000])
  assert.equal(decodeDeviceFrame(pingFrame(7)).ping, 7)
})

const u32 = fc.integer({ min: 1, max: 2 ** 32 - 1 })
const outcome = fc.oneof(
  u32.map((n) => ({ case: 'sequenced' as const, value: { epoch: 1, n } })),
  fc.constantFrom('held' as const, 'past' as const, 'behind' as const, 'safe' as const).map((which) => ({
    case: which,
    value: {},
  })),
)

function entryOf(member: number, k: number, n: number, body: Uint8Array): Uint8Array {
  const device = { device: 1, registrationEpoch: 1, registrationVersion: 1 }
  const header = { ...device, kind: 1, at: positionOf(1, n), member, k, tag: new Uint8Array(8), membershipVersion: 0 }
  return writeEntry({ ...header, timeMs: 1_700_000_000_000 }, [{ member: 1 - member, device: 1, body }])
}

test('what a home writes is what a device reads', () => {
  const verdicts = fc.array(fc.record({ conv: fc.constant(1), k: u32, outcome }), { maxLength: 6 })
  const entries = fc.array(fc.tuple(fc.constantFrom(0, 1), u32, u32, fc.uint8Array({ minLength: 4, maxLength: 50 })), {
    minLength: 1,
    maxLength: 6,
  })
  const behind = { conv: 1, headEpoch: 1, headN: 9, fromEpoch: 1, fromN: 4 }
  fc.assert(
    fc.property(verdicts, entries, fc.boolean(), u32, (said, log, page, pong) => {
      const run = { conv: 1, entry: log.map((it) => entryOf(...it)), headHash: new Uint8Array(32), page }
      const frame = create(HomeFrameSchema, {
        verdicts: said.map((it) => ({ ...it, tag: new Uint8Array(8) })),
        entries: [{ ...run, headEpoch: 1, headN: 77 }],
        behind: [behind],
        registers: [{ conv: 1, kind: 1, member: 1, version: 5n }],
        pong,
      })
      const heard: unknown[] = []
      const bytes = encodeHomeFrame(frame)
      const shifted = Buffer.concat([Buffer.from([1, 2, 3]), bytes, Buffer.from([4])])
      readHomeFrame(shifted, 3, 3 + bytes.length, {
        sequenced: (k) => heard.push(['sequenced', k]),
        verdict: (field, k) => heard.push([field, k]),
        entry: (all, from, to) =>
          heard.push([
            entryMember(all, from),
            entryK(all, from),
            entryN(all, from),
            bodyBytes(all, from, to),
            bodyK(all, from),
          ]),
        run: (isPage, epoch, n) => heard.push(['run', isPage, epoch, n]),
        behind: (...places) => heard.push(['behind', ...places]),
        pong: (ping) => heard.push(['pong', ping]),
        refused: () => heard.push('refused'),
      })
      const fields = { held: 5, past: 6, behind: 7, safe: 8 }
      assert.deepEqual(heard, [
        ...said.map((it) => [it.outcome.case === 'sequenced' ? 'sequenced' : fields[it.outcome.case], it.k]),
        ...log.map(([member, k, n, body]) => [member, k, n, body.length, Buffer.from(body).readUInt32BE()]),
        ['run', page, 1, 77],
        ['behind', 1, 4, 1, 9],
        ['pong', pong],
      ])
    }),
  )
})
