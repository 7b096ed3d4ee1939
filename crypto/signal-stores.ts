// libsignal's stores over the storage port. Those of sessions and prekeys are for one operation with one peer.
import { hash } from 'node:crypto'
import {
  IdentityChange,
  type IdentityKeyPair,
  IdentityKeyStore,
  KyberPreKeyRecord,
  KyberPreKeyStore,
  PreKeyRecord,
  PreKeyStore,
  type PrivateKey,
  PublicKey,
  SessionRecord,
  SessionStore,
  SignedPreKeyRecord,
  SignedPreKeyStore,
} from '@signalapp/libsignal-client'
import { ParleyError } from '#protocol'
import { raw } from './bytes.ts'
import { LAST_RESORT_USES_MAX } from './limits.ts'
import type { PeerDevice } from './peer.ts'
import type { KeyStorage, Unpacked } from './storage.ts'
import { trimRecord } from './trim-record.ts'

const USE_BYTES = 16

/** Answers that are always the same: libsignal asks four times for every message. */
const DONE = Promise.resolve()
const YES = Promise.resolve(true)
const NO = Promise.resolve(false)
const AS_BEFORE = Promise.resolve(IdentityChange.NewOrUnchanged)

/** A session belongs to a device and the identity key that its manifest names. */
export function sessionKey(peer: PeerDevice): string {
  return `${peer.userId}.${peer.device}.${Buffer.from(peer.identityKey).toString('hex')}`
}

/** A session record as libsignal holds it. */
class OpenRecord implements Unpacked {
  record: SessionRecord

  constructor(record: SessionRecord) {
    this.record = record
  }

  pack(): Uint8Array {
    const whole = this.record.serialize()
    const kept = trimRecord(whole)
    if (kept.length < whole.length) this.record = SessionRecord.deserialize(raw(kept))
    return kept
  }
}

/** Reads the record once, before libsignal asks for it; what operations save waits for `write`. */
export class SessionOf extends SessionStore {
  readonly #storage: KeyStorage
  readonly #key: string
  #record: SessionRecord | null
  #saved: SessionRecord | undefined
  #moved = false

  constructor(storage: KeyStorage, key: string) {
    super()
    this.#storage = storage
    this.#key = key
    const open = storage.unpacked('session', key)
    const row = open ? undefined : storage.get('session', key)
    if (open instanceof OpenRecord) this.#record = open.record
    else this.#record = row ? SessionRecord.deserialize(raw(row)) : null
  }

  get record(): SessionRecord | null {
    return this.#saved ?? this.#record
  }

  save(record: SessionRecord): void {
    this.#saved = record
  }

  /** The operation has succeeded, and another follows. */
  keep(): void {
    if (!this.#saved) return
    this.#record = this.#saved
    this.#saved = undefined
    this.#moved = true
  }

  /** The operation has failed. */
  drop(): void {
    this.#saved = undefined
  }

  /** What operations that succeeded have made of it; it stays open. */
  write(): void {
    this.keep()
    if (this.#moved && this.#record) this.#storage.set('session', this.#key, new OpenRecord(this.#record))
  }

  override saveSession(_name: unknown, record: SessionRecord): Promise<void> {
    this.#saved = record
    return DONE
  }

  override getSession(): Promise<SessionRecord | null> {
    return Promise.resolve(this.record)
  }

  override async getExistingSessions(): Promise<SessionRecord[]> {
    return this.record ? [this.record] : []
  }
}

/** The own identity key, and of the peer the one that its manifest names: no other is trusted. */
export class Identities extends IdentityKeyStore {
  readonly #own: IdentityKeyPair
  readonly #registrationId: number
  readonly #expected: PublicKey

  constructor(own: IdentityKeyPair, registrationId: number, peer: PeerDevice) {
    super()
    this.#own = own
    this.#registrationId = registrationId
    this.#expected = readIdentityKey(peer)
    // Of another device of the same person libsignal takes it for its own, and follows its chains without any bound.
    if (this.#expected.equals(own.publicKey)) {
      throw new ParleyError('malformed', 'the identity key of the manifest is of this device', {
        device: `${peer.device}`,
      })
    }
  }

  override async getIdentityKeyPair(): Promise<IdentityKeyPair> {
    return this.#own
  }

  override async getIdentityKey(): Promise<PrivateKey> {
    return this.#own.privateKey
  }

  override async getLocalRegistrationId(): Promise<number> {
    return this.#registrationId
  }

  override saveIdentity(): Promise<IdentityChange> {
    return AS_BEFORE
  }

  override isTrustedIdentity(_name: unknown, key: PublicKey): Promise<boolean> {
    return key.equals(this.#expected) ? YES : NO
  }

  override async getIdentity(): Promise<PublicKey> {
    return this.#expected
  }
}

function readIdentityKey(peer: PeerDevice): PublicKey {
  try {
    return PublicKey.deserialize(raw(peer.identityKey))
  } catch {
    throw new ParleyError('malformed', 'the identity key of the manifest is no key', { device: `${peer.device}` })
  }
}

const gone = (what: string, id: number): ParleyError =>
  new ParleyError('undecryptable', `the ${what} prekey it was made with is gone`, { prekey: `${id}` })

class OneTimePrekeys extends PreKeyStore {
  readonly #storage: KeyStorage

  constructor(storage: KeyStorage) {
    super()
    this.#storage = storage
  }

  override async savePreKey(id: number, record: PreKeyRecord): Promise<void> {
    this.#storage.set('prekey', `${id}`, record.serialize())
  }

  override async getPreKey(id: number): Promise<PreKeyRecord> {
    const row = this.#storage.get('prekey', `${id}`)
    if (!row) throw gone('one-time', id)
    return PreKeyRecord.deserialize(raw(row))
  }

  override async removePreKey(id: number): Promise<void> {
    this.#storage.set('prekey', `${id}`, undefined)
  }
}

class SignedPrekeys extends SignedPreKeyStore {
  readonly #storage: KeyStorage

  constructor(storage: KeyStorage) {
    super()
    this.#storage = storage
  }

  override async saveSignedPreKey(id: number, record: SignedPreKeyRecord): Promise<void> {
    this.#storage.set('signed', `${id}`, record.serialize())
  }

  override async getSignedPreKey(id: number): Promise<SignedPreKeyRecord> {
    const row = this.#storage.get('signed', `${id}`)
    if (!row) throw gone('signed', id)
    return SignedPreKeyRecord.deserialize(raw(row))
  }
}

/**
 * A one-time key goes when it has been used. A last-resort key stays, so a set-up under it could be replayed after the
 * session has been forgotten: what has been seen is remembered as long as the key.
 */
class KyberPrekeys extends KyberPreKeyStore {
  readonly #storage: KeyStorage

  constructor(storage: KeyStorage) {
    super()
    this.#storage = storage
  }

  override async saveKyberPreKey(id: number, record: KyberPreKeyRecord): Promise<void> {
    this.#storage.set('kyber', `${id}`, record.serialize())
  }

  override async getKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    const row = this.#storage.get('kyber', `${id}`) ?? this.#storage.get('last-resort', `${id}`)
    if (!row) throw gone('Kyber', id)
    return KyberPreKeyRecord.deserialize(raw(row))
  }

  override async markKyberPreKeyUsed(id: number, signedId: number, baseKey: PublicKey): Promise<void> {
    if (this.#storage.get('kyber', `${id}`)) {
      this.#storage.set('kyber', `${id}`, undefined)
      return
    }
    const use = hash('sha256', Buffer.concat([Buffer.from(`${signedId}.`), baseKey.serialize()]), 'buffer').subarray(
      0,
      USE_BYTES,
    )
    const seen = Buffer.from(this.#storage.get('used', `${id}`) ?? [])
    for (let at = 0; at < seen.length; at += USE_BYTES) {
      if (use.equals(seen.subarray(at, at + USE_BYTES))) {
        throw new ParleyError('replayed', 'this session was set up before')
      }
    }
    const kept = seen.subarray(Math.max(0, seen.length - (LAST_RESORT_USES_MAX - 1) * USE_BYTES))
    this.#storage.set('used', `${id}`, new Uint8Array(Buffer.concat([kept, use])))
  }
}

/** The same store; what its methods throw is told to `failed` on the way. */
function watched<T extends object>(store: T, failed: (error: unknown) => void): T {
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      return async (...args: unknown[]): Promise<unknown> => {
        try {
          return await member.apply(target, args)
        } catch (error) {
          failed(error)
          throw error
        }
      }
    },
  })
}

export type PrekeyStores = {
  readonly prekey: PreKeyStore
  readonly signedPrekey: SignedPreKeyStore
  readonly kyberPrekey: KyberPreKeyStore
  /** What a store threw, if one did: libsignal replaces errors of stores by one of its own. */
  failure(): unknown
}

export function prekeyStores(storage: KeyStorage): PrekeyStores {
  let failure: unknown
  const failed = (error: unknown): void => {
    failure ??= error
  }
  return {
    prekey: watched(new OneTimePrekeys(storage), failed),
    signedPrekey: watched(new SignedPrekeys(storage), failed),
    kyberPrekey: watched(new KyberPrekeys(storage), failed),
    failure: () => failure,
  }
}
