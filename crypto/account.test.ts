import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import {
  compareVersions,
  countersign,
  type Device,
  decode,
  GrantBody_Purpose,
  GrantBodySchema,
  GrantSchema,
  grant,
  limits,
  type Manifest,
  type ManifestBody,
  ManifestBodySchema,
  openHomeRecord,
  openManifest,
  type RegionId,
  regionIdOfRootKey,
  type SignedRecord,
  type SigningKey,
  sha256,
  signingKey,
  signRecord,
  simulatedRandom,
  systemRandom,
  userIdOfRootKey,
} from '#protocol'
import {
  type AccountKeys,
  createAccount,
  type DeviceKeys,
  describeDevice,
  identityKeyOf,
  newDeviceKeys,
  recoverAccount,
  type SignedManifest,
  succeedManifest,
} from './account.ts'
import { packAccountKeys, packDeviceKeys, unpackAccountKeys, unpackDeviceKeys } from './key-file.ts'
import { newRecoveryPhrase, rootKeyOfPhrase } from './recovery.ts'
import { north, refused, START_MS, south } from './test-people.ts'

const rootOf = (seed: number): SigningKey => rootKeyOfPhrase(newRecoveryPhrase(simulatedRandom(seed)))
const atNorth = { homeRegion: north, fallbackRegions: [] }

/** A region that countersigns, as a home does. */
function regionOf(seed: number): { id: RegionId; record(signed: SignedManifest): ReturnType<typeof countersign> } {
  const root = signingKey(sha256(Buffer.from(`root ${seed}`)))
  const key = signingKey(sha256(Buffer.from(`operational ${seed}`)))
  const body = { purpose: GrantBody_Purpose.OPERATIONAL, key: key.publicKey, rootEpoch: 1, notAfterMs: 0n }
  const by = grant(create(GrantBodySchema, body), root)
  const id = regionIdOfRootKey(root.publicKey)
  return { id, record: ({ head }) => countersign(head, id, key, by, START_MS, START_MS + 86_400_000) }
}

test('a new account: id of its root key, first manifest with one device, and a head that a home can countersign', () => {
  const region = regionOf(1)
  const rootKey = rootOf(1)
  const made = createAccount(rootKey, { homeRegion: region.id, fallbackRegions: [south] }, systemRandom)
  const manifest = openManifest(made.manifest, START_MS)
  assert.equal(manifest.userId, userIdOfRootKey(rootKey.publicKey))
  assert.deepEqual([manifest.rootEpoch, manifest.version, manifest.homeGeneration], [1, 1, 1])
  assert.deepEqual(manifest.devices, [describeDevice(made.device)])
  assert.deepEqual(manifest.fallbackRegions, [south])
  assert.equal(manifest.previousHash.length, 0)
  const home = openHomeRecord(region.record(made), START_MS)
  assert.deepEqual(home.manifestHash, manifest.hash)
  assert.deepEqual([home.userId, home.homeRegion, home.homeGeneration], [manifest.userId, region.id, 1])
  assert.throws(() => openHomeRecord(regionOf(2).record(made), START_MS), refused('not_home'))
})

test('recovery: same id, everything of the lost devices overridden', () => {
  const rootKey = rootOf(2)
  const first = createAccount(rootKey, atNorth, systemRandom)
  const before = openManifest(first.manifest, START_MS)
  const again = recoverAccount(rootKey, before, atNorth, systemRandom)
  const after = openManifest(again.manifest, START_MS)
  assert.equal(after.userId, before.userId)
  assert.ok(compareVersions(after, before) > 0)
  assert.deepEqual([after.rootEpoch, after.version, after.homeGeneration], [2, 1, 1])
  assert.deepEqual(after.previousHash, before.hash)
  const [lost, found] = [before.devices[0]!, after.devices[0]!]
  assert.deepEqual([found.registrationEpoch, found.registrationVersion], [2, 1])
  assert.notDeepEqual(found.deviceKey, lost.deviceKey)
  assert.notDeepEqual(found.signalIdentityKey, lost.signalIdentityKey)
  assert.notDeepEqual(again.account.manifestKey, first.account.manifestKey)
  assert.notDeepEqual(again.device.tagSecret, first.device.tagSecret)
  // Whatever the lost manifest key signs from now on is older than the recovery.
  const thief = openManifest(
    succeedManifest(first.account, before, { devices: undefined, home: undefined }).manifest,
    START_MS,
  )
  assert.ok(compareVersions(thief, after) < 0)
  assert.throws(
    () => succeedManifest(first.account, after, { devices: undefined, home: undefined }),
    refused('not_granted'),
  )
  assert.throws(() => recoverAccount(rootOf(3), after, atNorth, systemRandom), refused('wrong_root'))
  const moved = recoverAccount(rootKey, after, { homeRegion: south, fallbackRegions: [] }, systemRandom)
  assert.equal(openManifest(moved.manifest, START_MS).homeGeneration, 2)
})

/** What whoever has the manifest key can sign: anything. */
function forgedBy(account: AccountKeys, previous: Manifest, change: Partial<ManifestBody>): SignedRecord {
  const body = fromBinary(ManifestBodySchema, previous.record.payload)
  Object.assign(body, { version: previous.version + 1, previousHash: previous.hash }, change)
  const by = decode(GrantSchema, account.grant, limits.RECORD_MAX_BYTES)
  return signRecord('parley/manifest/v1', toBinary(ManifestBodySchema, body), signingKey(account.manifestKey), by)
}

test('whatever generation a stolen manifest key names, the phrase takes the account home', () => {
  const rootKey = rootOf(8)
  let made = createAccount(rootKey, atNorth, systemRandom)
  let last = openManifest(made.manifest, START_MS)
  for (const epoch of [1, 2, 3]) {
    const stolen = (homeGeneration: number): SignedRecord =>
      forgedBy(made.account, last, { homeGeneration, version: limits.K_MAX })
    assert.throws(() => openManifest(stolen(limits.EPOCH_MAX), START_MS), refused('malformed'))
    const highest = epoch * limits.ROOT_EPOCH_GENERATIONS_MAX
    assert.throws(() => openManifest(stolen(highest + 1), START_MS), refused('malformed'))
    const region = regionOf(8 + epoch)
    made = recoverAccount(
      rootKey,
      openManifest(stolen(highest), START_MS),
      { homeRegion: region.id, fallbackRegions: [] },
      systemRandom,
    )
    last = openManifest(made.manifest, START_MS)
    assert.deepEqual([last.rootEpoch, last.homeGeneration], [epoch + 1, highest + 1])
    assert.equal(openHomeRecord(region.record(made), START_MS).homeGeneration, highest + 1)
  }
})

test('any history of manifests is one valid chain', () => {
  const step = fc.constantFrom('device', 'remove', 'move', 'fallback', 'recover', 'nothing')
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const rootKey = rootOf(4)
      let made = createAccount(rootKey, atNorth, systemRandom)
      let account: AccountKeys = made.account
      let last: Manifest = openManifest(made.manifest, START_MS)
      for (const what of steps) {
        let signed: SignedManifest
        let devices: readonly Device[] = last.devices
        let home = { homeRegion: last.homeRegion, fallbackRegions: last.fallbackRegions }
        if (what === 'recover') {
          made = recoverAccount(rootKey, last, home, systemRandom)
          account = made.account
          signed = made
        } else {
          const registration = { rootEpoch: last.rootEpoch, version: last.version + 1 }
          const free = Math.max(...last.devices.map((device) => device.number)) + 1
          if (what === 'device' && devices.length < 16) {
            devices = [...devices, describeDevice(newDeviceKeys(last.userId, free, registration, systemRandom))]
          }
          if (what === 'remove' && devices.length > 1) devices = devices.slice(0, -1)
          if (what === 'move') home = { ...home, homeRegion: home.homeRegion === north ? south : north }
          if (what === 'fallback') home = { ...home, fallbackRegions: [south] }
          const changed = devices === last.devices ? undefined : devices
          signed = succeedManifest(account, last, { devices: changed, home })
        }
        const next = openManifest(signed.manifest, START_MS)
        assert.equal(next.userId, last.userId)
        assert.ok(compareVersions(next, last) > 0)
        assert.equal(
          next.rootEpoch === last.rootEpoch ? next.version : 1,
          next.rootEpoch === last.rootEpoch ? last.version + 1 : 1,
        )
        assert.deepEqual(next.previousHash, last.hash)
        const isSame = what !== 'recover' && devices === last.devices
        assert.equal(next.devicesSince, isSame ? last.devicesSince : next.version)
        assert.equal(next.homeGeneration - last.homeGeneration, next.homeRegion === last.homeRegion ? 0 : 1)
        const registrations = next.devices.map((device) => `${device.registrationEpoch}.${device.registrationVersion}`)
        assert.equal(new Set(registrations).size, registrations.length)
        last = next
      }
    }),
    { numRuns: 15 },
  )
})

test('keys survive being stored, and go on working', () => {
  const made = createAccount(rootOf(5), atNorth, systemRandom)
  const device: DeviceKeys = unpackDeviceKeys(packDeviceKeys(made.device))
  const account: AccountKeys = unpackAccountKeys(packAccountKeys(made.account))
  assert.deepEqual(device, made.device)
  assert.deepEqual(account, made.account)
  assert.deepEqual(identityKeyOf(device), describeDevice(made.device).signalIdentityKey)
  const last = openManifest(made.manifest, START_MS)
  const next = succeedManifest(account, last, { devices: undefined, home: undefined })
  assert.equal(openManifest(next.manifest, START_MS).version, 2)
  assert.equal(made.device.signalRegistrationId >= 1 && made.device.signalRegistrationId <= 16_380, true)
})

test('stored keys that are damaged are refused, and what they held is not shown', () => {
  const { device, account } = createAccount(rootOf(6), atNorth, systemRandom)
  const good = packDeviceKeys(device)
  const otherKind = Buffer.from(Buffer.from(good).toString().replace('"device"', '"account"'))
  const wrong = [
    otherKind,
    packAccountKeys(account),
    good.slice(1),
    good.slice(0, -9),
    new Uint8Array(0),
    Buffer.from('null'),
    Buffer.from('{}'),
  ]
  for (const bytes of wrong) {
    assert.throws(() => unpackDeviceKeys(bytes), refused('malformed'))
    assert.throws(
      () => unpackDeviceKeys(bytes),
      (error: Error) => !error.message.includes(Buffer.from(device.deviceKey).toString('base64').slice(0, 8)),
    )
  }
})
