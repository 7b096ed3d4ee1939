// For the tests of this folder: people with accounts, and a home that hands out their prekeys like a real one.
import { create } from '@bufbuild/protobuf'
import {
  type Clock,
  type Device,
  decode,
  limits,
  type Manifest,
  openManifest,
  ParleyError,
  type Prekey,
  type PrekeyBundle,
  PrekeyBundleSchema,
  PrekeysBodySchema,
  type RefusalCode,
  type RegionId,
  regionIdOf,
  type SignedPrekeys,
  SimulatedClock,
  systemRandom,
  userIdBytes,
  verifyUnder,
} from '#protocol'
import { createAccount, type NewAccount } from './account.ts'
import { type Sealable, sealContents } from './content.ts'
import { type PeerDevice, peerDevice } from './peer.ts'
import type { Place } from './place.ts'
import { EMPTY_PREKEY_STATE } from './prekey-state.ts'
import { makePrekeys, planPrekeys } from './prekeys.ts'
import { newRecoveryPhrase, rootKeyOfPhrase } from './recovery.ts'
import { openSessions, type Sessions } from './sessions.ts'
import {
  type KeyChange,
  type KeyStorage,
  memoryKeyStorage,
  type StagedKeyStorage,
  stagedKeyStorage,
} from './storage.ts'

export const START_MS = Date.UTC(2026, 10, 1)
export const clock: Clock = new SimulatedClock(START_MS)
export const north: RegionId = regionIdOf(new Uint8Array(32).fill(1))
export const south: RegionId = regionIdOf(new Uint8Array(32).fill(2))

/** Keeps one-time keys and gives each away once; the last-resort key when none is left. */
export class TestHome {
  readonly #manifest: Manifest
  readonly #device: Device
  #signed: Prekey | undefined
  #lastResort: Prekey | undefined
  readonly oneTime: Prekey[] = []
  readonly oneTimeKyber: Prekey[] = []

  constructor(manifest: Manifest, device: Device) {
    this.#manifest = manifest
    this.#device = device
  }

  take(upload: SignedPrekeys): void {
    const device = this.#device
    if (!verifyUnder('parley/prekeys/v1', upload.payload, device.deviceKey, upload.signature))
      throw new Error('signature')
    const body = decode(PrekeysBodySchema, upload.payload, limits.REQUEST_MAX_BYTES)
    this.#signed = body.signed
    this.#lastResort = body.lastResortKyber
    this.oneTime.push(...body.oneTime)
    this.oneTimeKyber.push(...body.oneTimeKyber)
  }

  bundle(): PrekeyBundle {
    const device = this.#device
    const oneTime = this.oneTime.shift()
    const kyber = this.oneTimeKyber.shift()
    return create(PrekeyBundleSchema, {
      userId: userIdBytes(this.#manifest.userId),
      device: device.number,
      registrationEpoch: device.registrationEpoch,
      registrationVersion: device.registrationVersion,
      ...(this.#signed && { signed: this.#signed }),
      ...(oneTime && { oneTime }),
      ...((kyber ?? this.#lastResort) && { kyber: kyber ?? this.#lastResort! }),
      kyberIsLastResort: !kyber,
    })
  }
}

export type Person = NewAccount & {
  readonly manifestRead: Manifest
  readonly base: KeyStorage
  readonly staged: StagedKeyStorage
  readonly sessions: Sessions
  readonly home: TestHome
  /** As others address this person's device. */
  readonly peer: PeerDevice
  /** Makes staged writes durable, as a client does in the transaction of a message. */
  commit(): KeyChange[]
}

export function personOf(account: NewAccount, oneTimeKeys: number): Person {
  const manifestRead = openManifest(account.manifest, START_MS)
  const base = memoryKeyStorage()
  const staged = stagedKeyStorage(base)
  const commit = (): KeyChange[] => {
    const changes = staged.changes()
    for (const { table, key, value } of changes) base.set(table, key, value)
    staged.reset()
    return changes
  }
  const home = new TestHome(manifestRead, manifestRead.devices[0]!)
  const plan = planPrekeys(EMPTY_PREKEY_STATE, { oneTime: 0, oneTimeKyber: 0 }, START_MS)
  home.take(makePrekeys(base, account.device, { ...plan, oneTime: oneTimeKeys, oneTimeKyber: oneTimeKeys }, START_MS))
  return {
    ...account,
    manifestRead,
    base,
    staged,
    commit,
    home,
    sessions: openSessions({ storage: staged.storage, device: account.device, clock }),
    peer: peerDevice(manifestRead.userId, manifestRead.devices[0]!),
  }
}

export function newPerson(oneTimeKeys = 3): Person {
  const rootKey = rootKeyOfPhrase(newRecoveryPhrase(systemRandom))
  return personOf(createAccount(rootKey, { homeRegion: north, fallbackRegions: [] }, systemRandom), oneTimeKeys)
}

/** `from` can write to `to`. */
export async function introduce(from: Person, to: Person): Promise<void> {
  await from.sessions.setUp(to.peer, to.home.bundle())
  from.commit()
}

/** Both have written once, so that no more prekey messages are sent. */
export async function acquainted(): Promise<[Person, Person]> {
  const ana = newPerson()
  const ben = newPerson()
  await introduce(ana, ben)
  await ben.sessions.decrypt(ana.peer, await ana.sessions.encrypt(ben.peer, Uint8Array.of(1)))
  await ana.sessions.decrypt(ben.peer, await ben.sessions.encrypt(ana.peer, Uint8Array.of(2)))
  ana.commit()
  ben.commit()
  return [ana, ben]
}

/** For assert.rejects and assert.throws: a ParleyError with one of these codes. */
export const refused =
  (...codes: RefusalCode[]): ((error: unknown) => boolean) =>
  (error) =>
    error instanceof ParleyError && codes.includes(error.code)

/** The outcome as a value: what it resolved to, or the code of the ParleyError. Other errors stay errors. */
export async function outcome<T>(promise: Promise<T>): Promise<{ value: T } | { code: RefusalCode }> {
  try {
    return { value: await promise }
  } catch (error) {
    if (error instanceof ParleyError) return { code: error.code }
    throw error
  }
}

/** One ciphertext for each peer. */
export async function sealContent(
  sessions: Sessions,
  peers: readonly PeerDevice[],
  place: Place,
  content: Sealable,
): Promise<readonly Uint8Array[]> {
  const { sealed, error } = await sealContents(sessions, peers, [{ place, content }])
  if (error) throw error
  return sealed[0]!
}
