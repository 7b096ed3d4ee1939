// Signal sessions (PQXDH with Kyber, Double Ratchet), one for each device of each person.
//
// Whose key it is decides everything: a relay hands out bundles and carries prekey messages, and could name a key of
// its own. So a peer is always given with the identity key that its signed manifest names, nothing else is trusted,
// and a session is filed under that key: a device number that was registered anew has no session, and an old one is
// never written to by mistake.
//
// libsignal works in several asynchronous steps. Operations of one instance run one after another, and each writes to
// the storage only when it has succeeded as a whole.
import {
  CiphertextMessageType,
  PreKeySignalMessage,
  ProtocolAddress,
  processPreKeyBundle,
  SessionRecord,
  SignalMessage,
  signalDecrypt,
  signalDecryptPreKey,
  signalEncrypt,
} from '@signalapp/libsignal-client'
import { type Clock, type Device, limits, ParleyError, type PrekeyBundle, type UserId } from '#protocol'
import type { DeviceKeys } from './account.ts'
import { readBundle } from './bundle.ts'
import { raw } from './bytes.ts'
import { decryptionError, encryptionError, setUpError } from './signal-errors.ts'
import { type SignalStores, sessionKey, signalStores } from './signal-stores.ts'
import { applyKeyChanges, type KeyStorage, stagedKeyStorage } from './storage.ts'
import { userAlias } from './user-alias.ts'

/** A device of a person, as that person's manifest names it. */
export type PeerDevice = {
  readonly userId: UserId
  readonly device: number
  readonly registrationEpoch: number
  readonly registrationVersion: number
  /** libsignal public key, 33 bytes. */
  readonly identityKey: Uint8Array
  readonly signalRegistrationId: number
}

export function peerDevice(userId: UserId, device: Device): PeerDevice {
  return {
    userId,
    device: device.number,
    registrationEpoch: device.registrationEpoch,
    registrationVersion: device.registrationVersion,
    identityKey: device.signalIdentityKey,
    signalRegistrationId: device.signalRegistrationId,
  }
}

export type Sessions = {
  /** Whether `encrypt` can go on without `setUp`. */
  hasSession(peer: PeerDevice): boolean
  /**
   * A new session from a bundle; what is received under the old one can still be read. `malformed`, `bad_signature`,
   * `unknown_device` (a bundle of another device), `stale_manifest` (of another registration of it).
   */
  setUp(peer: PeerDevice, bundle: PrekeyBundle): Promise<void>
  /** Ciphertext: libsignal's message type u8, then its message. `no_session`, `too_large`. */
  encrypt(peer: PeerDevice, plaintext: Uint8Array): Promise<Uint8Array>
  /**
   * `malformed`, `too_large`, `no_session`, `replayed` (read before), `unsigned_device` (an identity that is not the
   * manifest's), `undecryptable`. After an error nothing has changed.
   */
  decrypt(peer: PeerDevice, ciphertext: Uint8Array): Promise<Uint8Array>
  /** The same, and `open` decides: when it throws, the ratchet has not moved. */
  decryptWith<T>(peer: PeerDevice, ciphertext: Uint8Array, open: (plaintext: Uint8Array) => T): Promise<T>
  /** The next message needs `setUp`; what is received under the session can still be read. */
  archive(peer: PeerDevice): Promise<void>
  /** Drops the session: nothing received under it can be read any more. */
  forget(peer: PeerDevice): Promise<void>
}

export type SessionsOptions = { readonly storage: KeyStorage; readonly device: DeviceKeys; readonly clock: Clock }

type Step = { readonly stores: SignalStores; readonly storage: KeyStorage; readonly remote: ProtocolAddress }

export function openSessions({ storage, device, clock }: SessionsOptions): Sessions {
  const local = ProtocolAddress.new(userAlias(device.userId), device.number)
  let last: Promise<unknown> = Promise.resolve()

  const run = <T>(peer: PeerDevice, step: (context: Step) => T | Promise<T>): Promise<T> => {
    const attempt = async (): Promise<T> => {
      const staged = stagedKeyStorage(storage)
      const remote = addressOf(peer, device)
      const result = await step({ stores: signalStores(staged.storage, device, peer), storage: staged.storage, remote })
      applyKeyChanges(storage, staged.changes())
      return result
    }
    const result = last.then(attempt)
    last = result.catch(() => undefined)
    return result
  }

  const decryptWith = <T>(peer: PeerDevice, ciphertext: Uint8Array, open: (plaintext: Uint8Array) => T): Promise<T> =>
    run(peer, async ({ stores, remote }) => open(await decryptOne(stores, remote, local, ciphertext)))

  return {
    hasSession: (peer) => hasCurrent(storage, peer, clock),
    setUp: (peer, bundle) =>
      run(peer, async ({ stores, remote }) => {
        const read = readBundle(bundle, peer)
        try {
          await processPreKeyBundle(read, remote, local, stores.session, stores.identity, new Date(clock.now()))
        } catch (error) {
          throw setUpError(error)
        }
      }),
    encrypt: (peer, plaintext) =>
      run(peer, async ({ stores, storage: staged, remote }) => {
        if (!hasCurrent(staged, peer, clock)) throw noSession(peer)
        return encryptOne(stores, remote, local, plaintext, clock)
      }),
    decrypt: (peer, ciphertext) => decryptWith(peer, ciphertext, (plaintext) => plaintext),
    decryptWith,
    archive: (peer) =>
      run(peer, ({ storage: staged }) => {
        const row = staged.get('session', sessionKey(peer))
        if (!row) return
        const record = SessionRecord.deserialize(raw(row))
        record.archiveCurrentState()
        staged.set('session', sessionKey(peer), record.serialize())
      }),
    forget: (peer) => run(peer, ({ storage: staged }) => staged.set('session', sessionKey(peer), undefined)),
  }
}

function addressOf(peer: PeerDevice, own: DeviceKeys): ProtocolAddress {
  if (peer.userId === own.userId && peer.device === own.number) {
    throw new ParleyError('bad_argument', 'a device has no session with itself')
  }
  if (!Number.isInteger(peer.device) || peer.device < 1 || peer.device > limits.DEVICE_NUMBER_MAX) {
    throw new ParleyError('unknown_device', `device number ${peer.device}`)
  }
  return ProtocolAddress.new(userAlias(peer.userId), peer.device)
}

function hasCurrent(storage: KeyStorage, peer: PeerDevice, clock: Clock): boolean {
  const row = storage.get('session', sessionKey(peer))
  return row !== undefined && SessionRecord.deserialize(raw(row)).hasCurrentState(new Date(clock.now()))
}

function noSession(peer: { userId: UserId; device: number }): ParleyError {
  return new ParleyError('no_session', 'no session with this device', { user: peer.userId, device: `${peer.device}` })
}

async function encryptOne(
  stores: SignalStores,
  remote: ProtocolAddress,
  local: ProtocolAddress,
  plaintext: Uint8Array,
  clock: Clock,
): Promise<Uint8Array> {
  const message = await signalEncrypt(
    raw(plaintext),
    remote,
    local,
    stores.session,
    stores.identity,
    new Date(clock.now()),
  ).catch((error: unknown) => {
    throw encryptionError(error)
  })
  const body = message.serialize()
  if (body.length + 1 > limits.PART_MAX_BYTES) {
    throw new ParleyError('too_large', 'ciphertext over the limit of a part', {
      limit: `${limits.PART_MAX_BYTES}`,
      size: `${body.length + 1}`,
    })
  }
  const out = new Uint8Array(body.length + 1)
  out[0] = message.type()
  out.set(body, 1)
  return out
}

async function decryptOne(
  stores: SignalStores,
  remote: ProtocolAddress,
  local: ProtocolAddress,
  ciphertext: Uint8Array,
): Promise<Uint8Array> {
  if (ciphertext.length > limits.PART_MAX_BYTES) {
    throw new ParleyError('too_large', 'ciphertext over the limit of a part', {
      limit: `${limits.PART_MAX_BYTES}`,
      size: `${ciphertext.length}`,
    })
  }
  const message = readCiphertext(ciphertext)
  if (message instanceof SignalMessage && !stores.hasSession()) throw noSession(stores.peer)
  try {
    const plaintext =
      message instanceof SignalMessage
        ? await signalDecrypt(message, remote, local, stores.session, stores.identity)
        : await signalDecryptPreKey(
            message,
            remote,
            local,
            stores.session,
            stores.identity,
            stores.prekey,
            stores.signedPrekey,
            stores.kyberPrekey,
          )
    return plaintext
  } catch (error) {
    throw stores.failure() ?? decryptionError(error)
  }
}

function readCiphertext(ciphertext: Uint8Array): SignalMessage | PreKeySignalMessage {
  const body = raw(ciphertext.slice(1))
  try {
    if (ciphertext[0] === CiphertextMessageType.Whisper) return SignalMessage.deserialize(body)
    if (ciphertext[0] === CiphertextMessageType.PreKey) return PreKeySignalMessage.deserialize(body)
  } catch {
    throw new ParleyError('malformed', 'not a Signal message')
  }
  throw new ParleyError('malformed', 'ciphertext of an unknown type', { type: `${ciphertext[0]}` })
}
