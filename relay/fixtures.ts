// For tests: regions and people with real keys and records, and a store in memory.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  type Device,
  type DeviceKey,
  DeviceSchema,
  GrantBody_Purpose,
  GrantBodySchema,
  grant,
  HomeBodySchema,
  type Manifest,
  ManifestBodySchema,
  NodeCertificateBodySchema,
  openManifest,
  type Prekey,
  PrekeySchema,
  PrekeysBodySchema,
  type RegionId,
  regionIdBytes,
  regionIdOfRootKey,
  type SignedPrekeys,
  SignedPrekeysSchema,
  type SignedRecord,
  type SigningKey,
  sha256,
  signingKey,
  signRecord,
  signUnder,
  systemClock,
  systemRandom,
  type UserId,
  userIdBytes,
  userIdOfRootKey,
} from '#protocol'
import type { RegionKeys } from './accounts/countersigner.ts'
import { SimulatedDisk } from './store/simulated.ts'
import { openStore } from './store/store.ts'
import type { Store } from './store/types.ts'

const freshKey = (): SigningKey => signingKey(systemRandom.bytes(32))

export type TestRegion = RegionKeys & {
  readonly nodeKey: SigningKey
  readonly nodeSecret: Uint8Array
  readonly certificate: SignedRecord
}

export function makeRegion(): TestRegion {
  const root = freshKey()
  const operational = freshKey()
  const nodeSecret = systemRandom.bytes(32)
  const nodeKey = signingKey(nodeSecret)
  const regionId = regionIdOfRootKey(root.publicKey)
  const body = { purpose: GrantBody_Purpose.OPERATIONAL, key: operational.publicKey, rootEpoch: 1, notAfterMs: 0n }
  const granted = grant(create(GrantBodySchema, body), root)
  const certificateBody = create(NodeCertificateBodySchema, {
    regionId: regionIdBytes(regionId),
    nodeKey: nodeKey.publicKey,
    rootEpoch: 1,
  })
  const payload = toBinary(NodeCertificateBodySchema, certificateBody)
  return {
    regionId,
    operational,
    grant: granted,
    nodeKey,
    nodeSecret,
    certificate: signRecord('parley/node/v1', payload, operational, granted),
  }
}

export type Records = { readonly manifest: SignedRecord; readonly head: SignedRecord; readonly opened: Manifest }
export type TestDevice = DeviceKey & { readonly key: SigningKey; readonly entry: Device }

export type Person = {
  readonly userId: UserId
  readonly device: TestDevice
  readonly first: Records
  /** Signs a manifest and its head with the key of a root epoch. */
  sign(
    options: Partial<{
      rootEpoch: number
      grantEpoch: number
      version: number
      previousHash: Uint8Array
      devices: Device[]
      devicesSince: number
      home: RegionId
      generation: number
    }>,
  ): Records
}

export function makeDevice(number: number, registration: { rootEpoch: number; version: number }): TestDevice {
  const key = freshKey()
  const where = { registrationEpoch: registration.rootEpoch, registrationVersion: registration.version }
  const entry = create(DeviceSchema, {
    number,
    ...where,
    deviceKey: key.publicKey,
    signalIdentityKey: systemRandom.bytes(33),
    signalRegistrationId: 7,
  })
  return { device: number, ...where, key, entry }
}

export function makePerson(region: RegionId): Person {
  const root = freshKey()
  const userId = userIdOfRootKey(root.publicKey)
  const device = makeDevice(1, { rootEpoch: 1, version: 1 })
  const manifestKeys = new Map<number, SigningKey>()
  const sign: Person['sign'] = (options) => {
    const {
      rootEpoch = 1,
      version = 1,
      previousHash = new Uint8Array(0),
      devices = [device.entry],
      devicesSince = version,
      home = region,
    } = options
    const grantEpoch = options.grantEpoch ?? rootEpoch
    const key = manifestKeys.get(grantEpoch) ?? freshKey()
    manifestKeys.set(grantEpoch, key)
    const grantBody = { purpose: GrantBody_Purpose.MANIFEST, key: key.publicKey, rootEpoch: grantEpoch }
    const granted = grant(create(GrantBodySchema, grantBody), root)
    const where = {
      userId: userIdBytes(userId),
      rootEpoch,
      version,
      homeRegion: regionIdBytes(home),
      homeGeneration: options.generation ?? 1,
    }
    const payload = toBinary(
      ManifestBodySchema,
      create(ManifestBodySchema, { ...where, devices, devicesSince, previousHash }),
    )
    const headPayload = toBinary(HomeBodySchema, create(HomeBodySchema, { ...where, manifestHash: sha256(payload) }))
    const manifest = signRecord('parley/manifest/v1', payload, key, granted)
    const head = signRecord('parley/home/v1', headPayload, key, granted)
    return {
      manifest,
      head,
      get opened() {
        return openManifest(manifest, systemClock.now())
      },
    }
  }
  return { userId, device, first: sign({}), sign }
}

const signature = () => systemRandom.bytes(64)
const ec = (id: number, signed: boolean): Prekey =>
  create(PrekeySchema, { id, key: systemRandom.bytes(33), ...(signed && { signature: signature() }) })
const kyber = (id: number): Prekey =>
  create(PrekeySchema, { id, key: systemRandom.bytes(1_569), signature: signature() })

/** `count` one-time keys of each kind with ids from `from`. */
export function makePrekeys(person: Person, count: number, from: number, timeMs: number): SignedPrekeys {
  const ids = Array.from({ length: count }, (_, i) => from + i)
  const { device, registrationEpoch, registrationVersion, key } = person.device
  const body = create(PrekeysBodySchema, {
    userId: userIdBytes(person.userId),
    device,
    registrationEpoch,
    registrationVersion,
    signed: ec(1, true),
    lastResortKyber: kyber(1_000_000),
    oneTime: ids.map((id) => ec(id, false)),
    oneTimeKyber: ids.map(kyber),
    timeMs: BigInt(timeMs),
  })
  const payload = toBinary(PrekeysBodySchema, body)
  return create(SignedPrekeysSchema, { payload, signature: signUnder('parley/prekeys/v1', payload, key) })
}

export type TestStore = { readonly disk: SimulatedDisk; open(): Promise<Store> }

/** A disk that can be opened again: what was not committed is gone then. */
export function makeStore(): TestStore {
  const disk = new SimulatedDisk({ clock: systemClock, random: systemRandom })
  const hooks = {
    closing: () => undefined,
    committed: () => undefined,
    trimBelow: () => Number.POSITIVE_INFINITY,
    failed: (error: Error) => {
      throw error
    },
  }
  return { disk, open: async () => (await openStore({ backend: disk.open(), hooks, clock: systemClock })).store }
}
