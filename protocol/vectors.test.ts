import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type DescMessage, fromBinary, type JsonValue, toJson } from '@bufbuild/protobuf'
import { chainHash, checkEntry, epochHash, readHeader, readParts } from './entry.ts'
import { makeCast } from './fixtures.ts'
import { decodeDeviceFrame, decodeHomeFrame } from './frames.ts'
import { ItemKind, LinkFrameSchema } from './gen/link_pb.ts'
import { HomeRecordSchema, SignedPrekeysSchema, SignedRecordSchema } from './gen/records_pb.ts'
import { DeviceFrameSchema, HomeFrameSchema } from './gen/session_pb.ts'
import { readGenesis } from './genesis.ts'
import { openClosed, openHostRegister } from './host-registers.ts'
import {
  convIdBytes,
  convIdOfGenesis,
  ensureConvId,
  ensureRegionId,
  ensureUserId,
  regionIdBytes,
  regionIdOfRootKey,
  userIdBytes,
  userIdOfRootKey,
} from './ids.ts'
import { decodeItem, decodeLinkFrame } from './link-frames.ts'
import { epochOf, nOf } from './position.ts'
import { openPrekeys } from './prekeys.ts'
import { openHomeRecord, openManifest } from './records.ts'
import { ParleyError } from './refusals.ts'
import { openNodeCertificate, openRegionRecord } from './region-records.ts'
import { playSignIn } from './sign-in-player.ts'
import { bytesOf, hex, unhex, type VectorCase, type VectorFile } from './vector-file.ts'
import { makeVectors, VECTOR_SEED, vectorText } from './vectors.ts'

const FOLDER = join(import.meta.dirname, 'vectors')

const IDS = {
  user: { ensure: ensureUserId, bytes: userIdBytes, of: userIdOfRootKey },
  region: { ensure: ensureRegionId, bytes: regionIdBytes, of: regionIdOfRootKey },
  conversation: { ensure: ensureConvId, bytes: convIdBytes, of: convIdOfGenesis },
} as const

function checkId(vector: VectorCase): void {
  const { ensure, bytes, of } = IDS[vector.kind as 'user'] as (typeof IDS)['user']
  const id = ensure(vector.text as string)
  assert.equal(hex(bytes(id)), vector.bytes)
  if (vector.preimage) assert.equal(of(unhex(vector.preimage as string)), vector.text)
}

function checkEntryCase(vector: VectorCase): void {
  if (vector.register) {
    const next = epochHash(unhex(vector.previous as string), unhex(vector.register as string))
    assert.equal(hex(next), vector.hash)
    return
  }
  const bytes = bytesOf(vector)
  checkEntry(bytes)
  if (vector.hash) assert.equal(hex(chainHash(unhex(vector.previous as string), bytes)), vector.hash)
  if (!vector.header) return
  const { at, tag, ...rest } = readHeader(bytes)
  assert.deepEqual({ ...rest, epoch: epochOf(at), n: nOf(at), tag: hex(tag) }, vector.header)
  assert.deepEqual(
    readParts(bytes).map((part) => ({ ...part, body: hex(part.body) })),
    vector.parts,
  )
}

function sameJson<T extends DescMessage>(schema: T, vector: VectorCase, found: Parameters<typeof toJson<T>>[1]): void {
  assert.deepEqual(toJson(schema, found), vector.json as JsonValue)
}

type Check = (vector: VectorCase, file: VectorFile) => void
const record = (vector: VectorCase) => fromBinary(SignedRecordSchema, bytesOf(vector))
const nowOf = (file: VectorFile): number => file.nowMs as number

const CHECKS: Record<string, Check> = {
  ids: checkId,
  genesis(vector) {
    const bytes = bytesOf(vector)
    readGenesis(bytes)
    assert.equal(convIdOfGenesis(bytes), vector.convId)
  },
  entries: checkEntryCase,
  grants: (vector, file) => void openManifest(record(vector), nowOf(file)),
  manifests: (vector, file) => void openManifest(record(vector), nowOf(file)),
  'home-records': (vector, file) => void openHomeRecord(fromBinary(HomeRecordSchema, bytesOf(vector)), nowOf(file)),
  'region-records': (vector, file) => void openRegionRecord(record(vector), nowOf(file)),
  'node-certificates': (vector, file) => void openNodeCertificate(record(vector), nowOf(file)),
  closed: (vector, file) => void openClosed(record(vector), nowOf(file)),
  'host-registers': (vector, file) => void openHostRegister(record(vector), nowOf(file)),
  prekeys(vector, file) {
    const manifest = openManifest(fromBinary(SignedRecordSchema, unhex(file.manifest as string)), nowOf(file))
    const owner = { userId: manifest.userId, device: manifest.devices[0]! }
    openPrekeys(fromBinary(SignedPrekeysSchema, bytesOf(vector)), owner, nowOf(file))
  },
  'sign-in': (vector, file) => playSignIn(makeCast(VECTOR_SEED), vector, file),
  'device-frames': (vector) => sameJson(DeviceFrameSchema, vector, decodeDeviceFrame(bytesOf(vector))),
  'home-frames': (vector) => sameJson(HomeFrameSchema, vector, decodeHomeFrame(bytesOf(vector))),
  'link-frames': (vector) => sameJson(LinkFrameSchema, vector, decodeLinkFrame(bytesOf(vector))),
  items(vector) {
    const item = decodeItem(vector.kind as number, bytesOf(vector))
    assert.equal(item.kind, vector.kind)
  },
}

const readVectors = (name: string): VectorFile => JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8'))

describe('vectors', () => {
  it('are what write-vectors.ts writes', () => {
    const made = makeVectors()
    assert.deepEqual(
      readdirSync(FOLDER).sort(),
      Object.keys(made)
        .map((name) => `${name}.json`)
        .sort(),
    )
    for (const [name, file] of Object.entries(made)) {
      assert.ok(readFileSync(join(FOLDER, `${name}.json`), 'utf8') === vectorText(file), `${name}.json is stale`)
    }
  })

  it('have items of every kind', () => {
    const seen = new Set(
      readVectors('items')
        .cases.filter((vector) => !vector.error)
        .map((vector) => vector.kind),
    )
    const known = Object.values(ItemKind).filter((kind) => kind !== ItemKind.UNSPECIFIED)
    assert.deepEqual([...seen].sort(), known.sort())
  })

  for (const [name, check] of Object.entries(CHECKS)) {
    it(`${name}: valid ones pass, each other one is refused with its code`, () => {
      const file = readVectors(name)
      for (const vector of file.cases) {
        try {
          check(vector, file)
        } catch (error) {
          if (!(error instanceof ParleyError)) throw new Error(`${vector.name}`, { cause: error })
          assert.equal(error.code, vector.error, `${vector.name}: ${error.code}, ${error.message}`)
          continue
        }
        assert.equal(undefined, vector.error, `${vector.name}: was not refused`)
      }
    })
  }
})
