// Who people are: the newest home record and manifest seen of everybody, which are the floors for later ones, and the
// devices that verified manifests have named. Records come from the home and are checked here; nothing else is believed.
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import type { PeerDevice } from '#crypto'
import {
  compareVersions,
  type DeviceKey,
  encodeHomeRecord,
  type Home,
  HomeBodySchema,
  type HomeRecord,
  HomeRecordSchema,
  type Manifest,
  ManifestBodySchema,
  ParleyError,
  type RegionId,
  regionIdOf,
  SignedRecordSchema,
  type UserId,
  type Version,
} from '#protocol'
import { GONE_DEVICES_MAX } from '../limits.ts'
import { deviceText, isSameDevice, parseDevice } from './conversation.ts'
import type { Cipher, ContactChange, DevicePorts } from './ports.ts'
import { all, type ContactRow, type DbReader, type DbWriter, type DeviceRow } from './schema.ts'

export type Known = Version & { readonly homeRegion: RegionId; readonly homeGeneration: number }

/** Of a record that was verified before it was stored. */
export function storedHomeRecord(bytes: Uint8Array): HomeRecord {
  return fromBinary(HomeRecordSchema, bytes)
}

export function storedHome(bytes: Uint8Array | undefined): Known | undefined {
  if (!bytes) return undefined
  const body = fromBinary(HomeBodySchema, storedHomeRecord(bytes).head!.payload)
  const { rootEpoch, version, homeGeneration } = body
  return { rootEpoch, version, homeGeneration, homeRegion: regionIdOf(body.homeRegion) }
}

type KnownManifest = Version & { readonly homeGeneration: number }

function storedManifest(bytes: Uint8Array | undefined): KnownManifest | undefined {
  if (!bytes) return undefined
  const body = fromBinary(ManifestBodySchema, fromBinary(SignedRecordSchema, bytes).payload)
  const { rootEpoch, version, homeGeneration } = body
  return { rootEpoch, version, homeGeneration }
}

export type People = {
  /** Makes a stranger's row if there is none. */
  ensure(draft: DbWriter, user: UserId): ContactRow
  /** The newest manifest's version. */
  version(db: DbReader, user: UserId): Version | undefined
  /** By the newest manifest; 0 when none has been seen. */
  homeGeneration(db: DbReader, user: UserId): number
  /**
   * The devices of the newest manifest; undefined when none has been seen. Without those that nothing can be encrypted
   * for: a manifest may name any bytes as an identity key.
   */
  peers(user: UserId): readonly PeerDevice[] | undefined
  /** Also one that is gone, unless many others are since (GONE_DEVICES_MAX): what it wrote before stays its own. */
  device(user: UserId, key: DeviceKey): PeerDevice | undefined
  /** Takes verified records that are newer than what is known; says what changed. */
  learnHome(draft: DbWriter, home: Home): ContactChange | undefined
  learnManifest(draft: DbWriter, manifest: Manifest): ContactChange | undefined
}

/** The cipher knows what a key is. */
function canRead(cipher: Cipher, peer: PeerDevice): boolean {
  try {
    cipher.hasSession(peer)
    return true
  } catch (error) {
    if (!(error instanceof ParleyError)) throw error
    return false
  }
}

const byRegistration = (a: PeerDevice, b: PeerDevice): number =>
  a.registrationEpoch - b.registrationEpoch || a.registrationVersion - b.registrationVersion

const sharesSession = (a: PeerDevice, b: PeerDevice): boolean =>
  a.device === b.device && Buffer.compare(a.identityKey, b.identityKey) === 0

export function openPeople({ db, cipher, self }: Pick<DevicePorts, 'db' | 'cipher' | 'self'>): People {
  const devices = new Map<UserId, Map<string, DeviceRow>>()
  const peers = new WeakMap<DeviceRow, PeerDevice>()
  /** Worked out once: a device keeps its key. */
  const readers = new WeakMap<PeerDevice, boolean>()
  const versions = new Map<UserId, KnownManifest>()
  /** Who of a person's devices was asked for last. */
  const recent = new Map<UserId, PeerDevice>()

  /** The same object for the same device: what is worked out for a peer is kept by it. */
  const peerOf = (row: DeviceRow): PeerDevice => {
    let peer = peers.get(row)
    if (!peer) {
      const { user: userId, identityKey, signalRegistrationId } = row
      peer = { userId, ...parseDevice(row.device), identityKey, signalRegistrationId }
      peers.set(row, peer)
    }
    return peer
  }
  const isReader = (peer: PeerDevice): boolean => {
    let known = readers.get(peer)
    if (known === undefined) {
      // This device has no session with itself, so there is nothing to ask.
      known = (peer.userId === self.userId && isSameDevice(peer, self)) || canRead(cipher, peer)
      readers.set(peer, known)
    }
    return known
  }
  const devicesOf = (user: UserId): Map<string, DeviceRow> => {
    let rows = devices.get(user)
    if (!rows) {
      rows = new Map(all(db, 'devices', user).map((row) => [row.device, row]))
      devices.set(user, rows)
    }
    return rows
  }

  const version = (reader: DbReader, user: UserId): KnownManifest | undefined => {
    const known = versions.get(user) ?? storedManifest(reader.get('contacts', [user])?.manifest)
    if (known) versions.set(user, known)
    return known
  }

  const ensure = (draft: DbWriter, user: UserId): ContactRow => {
    const known = draft.get('contacts', [user])
    if (known) return known
    const row = { user, name: '', accepted: false, verified: false, home: undefined, manifest: undefined }
    draft.put('contacts', row)
    return row
  }

  /** Whoever replaces devices again and again fills nobody's profile with them. */
  const forgetOldest = (draft: DbWriter, rows: Map<string, DeviceRow>): void => {
    const gone = [...rows.values()].filter((row) => row.gone).map((row) => ({ row, peer: peerOf(row) }))
    const surplus = gone.sort((a, b) => byRegistration(a.peer, b.peer)).slice(0, -GONE_DEVICES_MAX)
    for (const { row } of surplus) {
      rows.delete(row.device)
      draft.delete('devices', [row.user, row.device])
    }
    // A device that was registered again with its key goes on under the session it had.
    const kept = [...rows.values()]
    for (const { peer } of surplus) if (!kept.some((other) => sharesSession(peerOf(other), peer))) cipher.forget(peer)
  }

  const replaceDevices = (draft: DbWriter, manifest: Manifest): boolean => {
    const rows = devicesOf(manifest.userId)
    const named = new Set<string>()
    let changed = false
    recent.delete(manifest.userId)
    const put = (row: DeviceRow): void => {
      rows.set(row.device, row)
      draft.put('devices', row)
      changed = true
    }
    for (const device of manifest.devices) {
      const text = deviceText({ ...device, device: device.number })
      named.add(text)
      if (rows.get(text)?.gone === false) continue
      const { signalIdentityKey, signalRegistrationId } = device
      put({ user: manifest.userId, device: text, identityKey: signalIdentityKey, signalRegistrationId, gone: false })
    }
    for (const row of rows.values()) if (!row.gone && !named.has(row.device)) put({ ...row, gone: true })
    if (changed) forgetOldest(draft, rows)
    return changed
  }

  return {
    ensure,
    version,
    homeGeneration: (reader, user) => version(reader, user)?.homeGeneration ?? 0,
    peers(user) {
      const rows = [...devicesOf(user).values()].filter((row) => !row.gone)
      return rows.length > 0 || versions.has(user) ? rows.map(peerOf).filter(isReader) : undefined
    },
    device(user, key) {
      const last = recent.get(user)
      if (last && isSameDevice(last, key)) return last
      const row = devicesOf(user).get(deviceText(key))
      if (!row) return undefined
      recent.set(user, peerOf(row))
      return peerOf(row)
    },
    learnHome(draft, home) {
      const row = ensure(draft, home.userId)
      const known = storedHome(row.home)
      if (known && compareVersions(home, known) < 0) return undefined
      draft.put('contacts', { ...row, home: encodeHomeRecord(home.record) })
      return known && known.homeRegion !== home.homeRegion ? 'home' : undefined
    },
    learnManifest(draft, manifest) {
      const known = version(draft, manifest.userId)
      if (known && compareVersions(manifest, known) <= 0) return undefined
      const row = ensure(draft, manifest.userId)
      draft.put('contacts', { ...row, manifest: toBinary(SignedRecordSchema, manifest.record) })
      const { userId, rootEpoch, homeGeneration } = manifest
      versions.set(userId, { rootEpoch, version: manifest.version, homeGeneration })
      const changed = replaceDevices(draft, manifest)
      if (!known) return 'found'
      if (manifest.rootEpoch > known.rootEpoch) return 'root'
      return changed ? 'devices' : undefined
    },
  }
}

/** Records that belong together: the manifest is the one that the home record names, or newer. */
export function ensureTogether(user: UserId, home: Home, manifest: Manifest): void {
  if (home.userId !== user || manifest.userId !== user) {
    throw new ParleyError('wrong_root', 'records of somebody else', { id: user })
  }
  const order = compareVersions(manifest, home)
  if (order < 0) throw new ParleyError('too_old', 'a manifest older than the home record', { id: user })
  if (order === 0 && Buffer.compare(manifest.hash, home.manifestHash) !== 0) {
    throw new ParleyError('conflict', 'the manifest is not the one that the home record names', { id: user })
  }
}
