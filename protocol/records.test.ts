import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { compareVersions, signRecord } from './chain.ts'
import { verifyUnder } from './contexts.ts'
import { signingKey, verifySignature } from './ed25519.ts'
import {
  certificateRecord,
  DAY_MS,
  deviceEntry,
  filled,
  grantFor,
  headRecord,
  homeRecord,
  makeCast,
  manifestPayload,
  manifestRecord,
  NOW_MS,
  regionRecord,
} from './fixtures.ts'
import { GrantBody_Purpose, HomeRecordSchema, SignedRecordSchema } from './gen/records_pb.ts'
import { CLOCK_SKEW_MS, COUNTERSIGNATURE_MAX_MS, RECORD_MAX_BYTES } from './limits.ts'
import { countersign, openHomeRecord, openManifest } from './records.ts'
import { ParleyError } from './refusals.ts'
import { openNodeCertificate, openRegionRecord } from './region-records.ts'
import { decode } from './wire.ts'

const cast = makeCast(11)
const { ana, north, stranger } = cast
const key = signingKey(filled(32, 9))

describe('signatures', () => {
  it('hold for one context, payload and key only', () => {
    const record = manifestRecord(ana)
    const holds = (context: 'parley/manifest/v1' | 'parley/home/v1', payload = record.payload, by = record.publicKey) =>
      verifyUnder(context, payload, by, record.signature)
    assert.ok(holds('parley/manifest/v1'))
    assert.ok(!holds('parley/home/v1'))
    assert.ok(!holds('parley/manifest/v1', filled(3, 1)))
    assert.ok(!holds('parley/manifest/v1', record.payload, stranger.publicKey))
  })

  it('never throw, whatever key or signature comes', () => {
    const sizes = fc.constantFrom(0, 31, 32, 33, 63, 64, 65)
    const bytes = sizes.chain((size) => fc.uint8Array({ minLength: size, maxLength: size }))
    fc.assert(fc.property(bytes, bytes, (a, b) => assert.equal(verifySignature(a, filled(3, 1), b), false)))
    assert.throws(() => signingKey(filled(31, 1)), RangeError)
  })
})

describe('records', () => {
  const signed = (bytes: Uint8Array) => decode(SignedRecordSchema, bytes, RECORD_MAX_BYTES)
  const openers = {
    manifest: {
      bytes: toBinary(SignedRecordSchema, manifestRecord(ana)),
      open: (bytes: Uint8Array) => openManifest(signed(bytes), NOW_MS),
    },
    home: {
      bytes: toBinary(HomeRecordSchema, homeRecord(ana)),
      open: (bytes: Uint8Array) => openHomeRecord(decode(HomeRecordSchema, bytes, RECORD_MAX_BYTES), NOW_MS),
    },
    region: {
      bytes: toBinary(SignedRecordSchema, regionRecord(north)),
      open: (bytes: Uint8Array) => openRegionRecord(signed(bytes), NOW_MS),
    },
    certificate: {
      bytes: toBinary(SignedRecordSchema, certificateRecord(north)),
      open: (bytes: Uint8Array) => openNodeCertificate(signed(bytes), NOW_MS),
    },
  }

  for (const [name, { bytes, open }] of Object.entries(openers)) {
    it(`${name}: opens, and with any bit changed is refused`, () => {
      open(bytes)
      for (let at = 0; at < bytes.length; at++) {
        const changed = bytes.slice()
        changed[at]! ^= 1 << (at % 8)
        assert.throws(() => open(changed), ParleyError, `byte ${at}`)
      }
    })
  }

  it('say what is in them', () => {
    const manifest = openManifest(manifestRecord(ana), NOW_MS)
    const home = openHomeRecord(homeRecord(ana), NOW_MS)
    const region = openRegionRecord(regionRecord(north), NOW_MS)
    assert.equal(manifest.userId, ana.id)
    assert.equal(manifest.homeRegion, north.id)
    assert.deepEqual(home.manifestHash, manifest.hash)
    assert.equal(home.countersignedBy, north.id)
    assert.equal(home.countersignerEpoch, 1)
    assert.equal(region.regionId, north.id)
    assert.equal(region.nodes[0]?.clientUrls.length, 2)
    assert.equal(openRegionRecord(regionRecord(north, { name: 'no\u001b[31mrth' }), NOW_MS).name, 'no[31mrth')
    assert.deepEqual(openNodeCertificate(certificateRecord(north), NOW_MS).nodeKey, north.node.publicKey)
  })

  it('do not keep the frame alive that brought them', () => {
    const frame = new Uint8Array(1_000_000)
    const bytes = toBinary(SignedRecordSchema, manifestRecord(ana))
    frame.set(bytes, 1_000)
    const opened = openManifest(fromBinary(SignedRecordSchema, frame.subarray(1_000, 1_000 + bytes.length)), NOW_MS)
    assert.ok(opened.record.payload.buffer.byteLength < 10_000)
    assert.ok(opened.devices[0]!.deviceKey.buffer.byteLength < 10_000)
  })

  it('a replaced manifest key signs nothing of the new root epoch, and what it signs is older', () => {
    const fresh = signingKey(filled(32, 21))
    const by = grantFor(GrantBody_Purpose.MANIFEST, fresh, ana.root, { rootEpoch: 2 })
    const recovered = openManifest(
      signRecord('parley/manifest/v1', manifestPayload(ana, { rootEpoch: 2 }), fresh, by),
      NOW_MS,
    )
    const replaced = openManifest(manifestRecord(ana, { version: 900, previousHash: filled(32, 1) }), NOW_MS)
    assert.ok(compareVersions(recovered, replaced) > 0)
    assert.throws(() => openManifest(manifestRecord(ana, { rootEpoch: 2 }), NOW_MS), { code: 'not_granted' })
    const stolen = signRecord('parley/manifest/v1', manifestPayload(ana, { rootEpoch: 2 }), ana.manifestKey, by)
    assert.throws(() => openManifest(stolen, NOW_MS), { code: 'not_granted' })
  })

  it('two devices may not share a number, whatever their keys', () => {
    const twice = manifestRecord(ana, { devices: [deviceEntry(ana), deviceEntry(ana, { deviceKey: key.publicKey })] })
    assert.throws(() => openManifest(twice, NOW_MS), { code: 'malformed' })
  })

  it('expire when two honest clocks agree that they have', () => {
    const notAfterMs = NOW_MS + DAY_MS
    const record = homeRecord(ana, north, notAfterMs)
    openHomeRecord(record, notAfterMs + CLOCK_SKEW_MS)
    assert.throws(() => openHomeRecord(record, notAfterMs + CLOCK_SKEW_MS + 1), { code: 'expired' })
    const longest = NOW_MS + COUNTERSIGNATURE_MAX_MS
    openHomeRecord(homeRecord(ana, north, longest + CLOCK_SKEW_MS), NOW_MS)
    assert.throws(() => openHomeRecord(homeRecord(ana, north, longest + CLOCK_SKEW_MS + 1), NOW_MS), {
      code: 'malformed',
    })
  })

  it('a countersignature by a region whose grant has expired is worth nothing', () => {
    const by = grantFor(GrantBody_Purpose.OPERATIONAL, north.operational, north.root, {
      notAfterMs: BigInt(NOW_MS - DAY_MS),
    })
    const record = countersign(headRecord(ana), north.id, north.operational, by, NOW_MS, NOW_MS + DAY_MS)
    assert.throws(() => openHomeRecord(record, NOW_MS), { code: 'expired' })
  })
})
