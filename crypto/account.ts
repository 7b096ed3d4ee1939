// An account's keys, and the records that make them count: the root key (from the recovery phrase) grants a manifest
// key; the manifest key signs the list of devices and the home; each device has keys of its own. The root key is used
// here and forgotten; what is to be stored comes back as plain bytes.
import { create, toBinary } from '@bufbuild/protobuf'
import { IdentityKeyPair } from '@signalapp/libsignal-client'
import {
  type Device,
  DeviceSchema,
  decode,
  GrantBody_Purpose,
  GrantBodySchema,
  GrantSchema,
  grant,
  HomeBodySchema,
  limits,
  type Manifest,
  ManifestBodySchema,
  ParleyError,
  type Random,
  type RegionId,
  regionIdBytes,
  type SignedRecord,
  type SigningKey,
  sha256,
  signingKey,
  signRecord,
  type UserId,
  userIdBytes,
  userIdOfRootKey,
  type Version,
} from '#protocol'
import { raw } from './bytes.ts'
import { TAG_SECRET_BYTES } from './limits.ts'

const SECRET_BYTES = 32
/** libsignal's registration ids are 14 bits, not 0; Parley's own registration is (root epoch, version). */
const SIGNAL_REGISTRATION_ID_MAX = 16_380
const FIRST_DEVICE = 1

/** What one device must keep secret. Plain data. */
export type DeviceKeys = {
  readonly userId: UserId
  readonly number: number
  readonly registrationEpoch: number
  readonly registrationVersion: number
  /** Ed25519 secret, 32 bytes: sign-in, prekeys, control entries. */
  readonly deviceKey: Uint8Array
  /** libsignal IdentityKeyPair, serialised. */
  readonly identityKeyPair: Uint8Array
  readonly signalRegistrationId: number
  /** For content tags, 32 bytes. */
  readonly tagSecret: Uint8Array
}

/** What only the primary device keeps: the manifest key and the root key's word for it. Plain data. */
export type AccountKeys = {
  readonly userId: UserId
  readonly rootEpoch: number
  /** Ed25519 secret, 32 bytes. */
  readonly manifestKey: Uint8Array
  /** Grant, serialised. */
  readonly grant: Uint8Array
}

/** A manifest and the head (HomeBody) that a home region countersigns; both signed by the manifest key. */
export type SignedManifest = { readonly manifest: SignedRecord; readonly head: SignedRecord }
export type NewAccount = SignedManifest & { readonly account: AccountKeys; readonly device: DeviceKeys }
export type HomeChoice = {
  readonly homeRegion: RegionId
  readonly fallbackRegions: readonly RegionId[]
  /** The home was restored from a backup: what it hosts begins anew behind what others have, as after a move. */
  readonly again?: boolean
}

type ManifestFields = Version &
  HomeChoice & {
    readonly userId: UserId
    readonly devices: readonly Device[]
    readonly devicesSince: number
    readonly homeGeneration: number
    readonly previousHash: Uint8Array
  }

export function newDeviceKeys(userId: UserId, number: number, registration: Version, random: Random): DeviceKeys {
  return {
    userId,
    number,
    registrationEpoch: registration.rootEpoch,
    registrationVersion: registration.version,
    deviceKey: random.bytes(SECRET_BYTES),
    identityKeyPair: new Uint8Array(IdentityKeyPair.generate().serialize()),
    signalRegistrationId: 1 + Math.floor(random.fraction() * SIGNAL_REGISTRATION_ID_MAX),
    tagSecret: random.bytes(TAG_SECRET_BYTES),
  }
}

/** The device's Ed25519 key, for sign-in and prekeys. */
export function deviceSigningKey(device: DeviceKeys): SigningKey {
  return signingKey(device.deviceKey)
}

/** What a manifest says about this device. */
export function describeDevice(device: DeviceKeys): Device {
  return create(DeviceSchema, {
    number: device.number,
    registrationEpoch: device.registrationEpoch,
    registrationVersion: device.registrationVersion,
    deviceKey: deviceSigningKey(device).publicKey,
    signalIdentityKey: identityKeyOf(device),
    signalRegistrationId: device.signalRegistrationId,
  })
}

/** The device's public Signal identity key, serialised (33 bytes). */
export function identityKeyOf(device: DeviceKeys): Uint8Array {
  return new Uint8Array(IdentityKeyPair.deserialize(raw(device.identityKeyPair)).publicKey.serialize())
}

function newAccountKeys(rootKey: SigningKey, rootEpoch: number, random: Random): AccountKeys {
  const manifestKey = random.bytes(SECRET_BYTES)
  const body = create(GrantBodySchema, {
    purpose: GrantBody_Purpose.MANIFEST,
    key: signingKey(manifestKey).publicKey,
    rootEpoch,
    notAfterMs: 0n,
  })
  return {
    userId: userIdOfRootKey(rootKey.publicKey),
    rootEpoch,
    manifestKey,
    grant: toBinary(GrantSchema, grant(body, rootKey)),
  }
}

function signManifest(account: AccountKeys, fields: ManifestFields): SignedManifest {
  const key = signingKey(account.manifestKey)
  const by = decode(GrantSchema, account.grant, limits.RECORD_MAX_BYTES)
  const home = {
    userId: userIdBytes(fields.userId),
    rootEpoch: fields.rootEpoch,
    version: fields.version,
    homeRegion: regionIdBytes(fields.homeRegion),
    fallbackRegions: fields.fallbackRegions.map(regionIdBytes),
    homeGeneration: fields.homeGeneration,
  }
  const { devices, devicesSince, previousHash } = fields
  const payload = toBinary(
    ManifestBodySchema,
    create(ManifestBodySchema, { ...home, devices: [...devices], devicesSince, previousHash }),
  )
  const headPayload = toBinary(HomeBodySchema, create(HomeBodySchema, { ...home, manifestHash: sha256(payload) }))
  return {
    manifest: signRecord('parley/manifest/v1', payload, key, by),
    head: signRecord('parley/home/v1', headPayload, key, by),
  }
}

/** A fresh account: root epoch 1, manifest version 1, one device with number 1. */
export function createAccount(rootKey: SigningKey, home: HomeChoice, random: Random): NewAccount {
  const first: Version = { rootEpoch: 1, version: 1 }
  const account = newAccountKeys(rootKey, first.rootEpoch, random)
  const device = newDeviceKeys(account.userId, FIRST_DEVICE, first, random)
  const signed = signManifest(account, {
    ...first,
    ...home,
    userId: account.userId,
    devices: [describeDevice(device)],
    devicesSince: first.version,
    homeGeneration: 1,
    previousHash: new Uint8Array(0),
  })
  return { account, device, ...signed }
}

/**
 * The account again after its devices were lost: same id, root epoch one higher, a new manifest key and one new device,
 * so that nothing which the lost devices hold counts any more. `previous` is the newest manifest that can be found.
 * `wrong_root` when the phrase belongs to another account.
 */
export function recoverAccount(rootKey: SigningKey, previous: Manifest, home: HomeChoice, random: Random): NewAccount {
  if (userIdOfRootKey(rootKey.publicKey) !== previous.userId) {
    throw new ParleyError('wrong_root', 'the recovery phrase belongs to another account', { id: previous.userId })
  }
  const next: Version = { rootEpoch: previous.rootEpoch + 1, version: 1 }
  const account = newAccountKeys(rootKey, next.rootEpoch, random)
  const device = newDeviceKeys(account.userId, FIRST_DEVICE, next, random)
  const signed = signManifest(account, {
    ...next,
    ...home,
    userId: account.userId,
    devices: [describeDevice(device)],
    devicesSince: next.version,
    homeGeneration: generationAfter(previous, home),
    previousHash: previous.hash,
  })
  return { account, device, ...signed }
}

/**
 * The next manifest after `previous`, which must be of this account and root epoch (`not_granted` otherwise: the
 * manifest key has been replaced). What `change` leaves undefined stays.
 */
export function succeedManifest(
  account: AccountKeys,
  previous: Manifest,
  change: { readonly devices: readonly Device[] | undefined; readonly home: HomeChoice | undefined },
): SignedManifest {
  if (previous.userId !== account.userId || previous.rootEpoch !== account.rootEpoch) {
    throw new ParleyError('not_granted', 'this manifest key does not speak for the account any more', {
      rootEpoch: `${previous.rootEpoch}`,
    })
  }
  const home = change.home ?? { homeRegion: previous.homeRegion, fallbackRegions: previous.fallbackRegions }
  const version = previous.version + 1
  return signManifest(account, {
    ...home,
    userId: account.userId,
    rootEpoch: account.rootEpoch,
    version,
    devices: change.devices ?? previous.devices,
    devicesSince: change.devices ? version : previous.devicesSince,
    homeGeneration: generationAfter(previous, home),
    previousHash: previous.hash,
  })
}

function generationAfter(previous: Manifest, { homeRegion, again }: HomeChoice): number {
  return previous.homeGeneration + (previous.homeRegion === homeRegion && !again ? 0 : 1)
}
