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
  type CiphertextMessage,
  CiphertextMessageType,
  IdentityKeyPair,
  PreKeySignalMessage,
  ProtocolAddress,
  processPreKeyBundle,
  SessionRecord,
  SignalMessage,
  signalDecrypt,
  signalDecryptPreKey,
  signalEncrypt,
} from '@signalapp/libsignal-client'
import { type Clock, limits, ParleyError, type PrekeyBundle } from '#protocol'
import type { DeviceKeys } from './account.ts'
import { readBundle } from './bundle.ts'
import { raw } from './bytes.ts'
import type { PeerDevice } from './peer.ts'
import { decryptionError, encryptionError, setUpError } from './signal-errors.ts'
import { Identities, prekeyStores, SessionOf, sessionKey } from './signal-stores.ts'
import { type KeyStorage, stagedKeyStorage } from './storage.ts'
import { userAlias } from './user-alias.ts'
import { countWastedWork } from './wasted-work.ts'

/** Of each plaintext one ciphertext for each peer, in their order, up to the first that could not be encrypted, and why. */
export type SealedRun = {
  readonly sealed: readonly (readonly Uint8Array[])[]
  readonly error: ParleyError | undefined
}

export type Sessions = {
  /** Whether `encrypt` can go on without `setUp`. Throws `malformed` when the identity key of the manifest is no key. */
  hasSession(peer: PeerDevice): boolean
  /**
   * A new session from a bundle; what is received under the old one can still be read. `malformed`, `bad_signature`,
   * `unknown_device` (a bundle of another device), `stale_manifest` (of another registration of it).
   */
  setUp(peer: PeerDevice, bundle: PrekeyBundle): Promise<void>
  /** Ciphertext: libsignal's message type u8, then its message. `no_session`, `too_large`. */
  encrypt(peer: PeerDevice, plaintext: Uint8Array): Promise<Uint8Array>
  /** One plaintext after the other, each for all peers or for none; a session that several have to take is packed once. */
  encryptRun(peers: readonly PeerDevice[], plaintexts: readonly Uint8Array[]): Promise<SealedRun>
  /**
   * `malformed`, `too_large`, `no_session`, `unsigned_device` (an identity that is not the manifest's), `undecryptable`,
   * `replayed`: its key has been used, or given up because 2,000 later messages were read first; whether it was really
   * read is for the caller to look up by the author's k. After an error nothing has changed.
   */
  decrypt(peer: PeerDevice, ciphertext: Uint8Array): Promise<Uint8Array>
  /** The same, and `open` decides: when it throws, the ratchet has not moved. */
  decryptWith<T>(peer: PeerDevice, ciphertext: Uint8Array, open: (plaintext: Uint8Array) => T): Promise<T>
  /** The next message needs `setUp`; what is received under the session can still be read. */
  archive(peer: PeerDevice): Promise<void>
  /** Drops the session, while nothing is done with it: nothing received under it can be read any more. */
  forget(peer: PeerDevice): void
}

export type SessionsOptions = { readonly storage: KeyStorage; readonly device: DeviceKeys; readonly clock: Clock }

/** What an operation needs of a peer and never changes. */
type Peer = {
  readonly device: PeerDevice
  readonly remote: ProtocolAddress
  readonly identities: Identities
  readonly sessionKey: string
}

export function openSessions({ storage, device, clock }: SessionsOptions): Sessions {
  const local = ProtocolAddress.new(userAlias(device.userId), device.number)
  const own = IdentityKeyPair.deserialize(raw(device.identityKeyPair))
  const peers = new WeakMap<PeerDevice, Peer>()
  const wasted = countWastedWork(clock)
  let last: Promise<unknown> | undefined

  const inTurn = <T>(operation: () => Promise<T>): Promise<T> => {
    const result = last ? last.then(operation) : operation()
    const over = (): void => {
      if (last === done) last = undefined
    }
    const done = result.then(over, over)
    last = done
    return result
  }
  const peerOf = (peer: PeerDevice): Peer => {
    let known = peers.get(peer)
    if (!known) {
      const remote = addressOf(peer, device)
      const identities = new Identities(own, device.signalRegistrationId, peer)
      known = { device: peer, remote, identities, sessionKey: sessionKey(peer) }
      peers.set(peer, known)
    }
    return known
  }

  const encryptRun = (to: readonly PeerDevice[], plaintexts: readonly Uint8Array[]): Promise<SealedRun> =>
    inTurn(async () => encryptAll(storage, to.map(peerOf), local, plaintexts, clock))
  const decryptWith = <T>(peer: PeerDevice, ciphertext: Uint8Array, open: (plaintext: Uint8Array) => T): Promise<T> =>
    inTurn(async () => {
      const from = peerOf(peer)
      const session = new SessionOf(storage, from.sessionKey)
      checkSize(ciphertext)
      const message = readCiphertext(ciphertext)
      const attempt = wasted.attempt(from.sessionKey, message)
      const prekeys = message instanceof SignalMessage ? undefined : stagedKeyStorage(storage)
      let plaintext: Uint8Array
      try {
        plaintext =
          message instanceof SignalMessage
            ? await decryptOne(session, from, local, message)
            : await decryptFirst(session, prekeys!.storage, from, local, message)
      } catch (error) {
        attempt.failed()
        throw error
      }
      attempt.succeeded()
      const opened = open(plaintext)
      prekeys?.passOn()
      session.write()
      return opened
    })

  return {
    hasSession: (peer) =>
      new SessionOf(storage, peerOf(peer).sessionKey).record?.hasCurrentState(new Date(clock.now())) ?? false,
    setUp: (peer, bundle) => inTurn(async () => setUpOne(storage, peerOf(peer), local, bundle, clock)),
    async encrypt(peer, plaintext) {
      const { sealed, error } = await encryptRun([peer], [plaintext])
      if (error) throw error
      return sealed[0]![0]!
    },
    encryptRun,
    decrypt: (peer, ciphertext) => decryptWith(peer, ciphertext, (plaintext) => plaintext),
    decryptWith,
    archive: (peer) =>
      inTurn(async () => {
        const session = new SessionOf(storage, sessionKey(peer))
        if (!session.record) return
        const record = SessionRecord.deserialize(session.record.serialize())
        record.archiveCurrentState()
        session.save(record)
        session.write()
      }),
    forget: (peer) => storage.set('session', sessionKey(peer), undefined),
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

function noSession(peer: PeerDevice): ParleyError {
  return new ParleyError('no_session', 'no session with this device', { user: peer.userId, device: `${peer.device}` })
}

async function setUpOne(
  storage: KeyStorage,
  { device, remote, identities, sessionKey: key }: Peer,
  local: ProtocolAddress,
  bundle: PrekeyBundle,
  clock: Clock,
): Promise<void> {
  const read = readBundle(bundle, device)
  const session = new SessionOf(storage, key)
  try {
    await processPreKeyBundle(read, remote, local, session, identities, new Date(clock.now()))
  } catch (error) {
    throw setUpError(error)
  }
  session.write()
}

/** What did not succeed as a whole leaves no trace in any session. */
async function encryptAll(
  storage: KeyStorage,
  peers: readonly Peer[],
  local: ProtocolAddress,
  plaintexts: readonly Uint8Array[],
  clock: Clock,
): Promise<SealedRun> {
  const sessions = new Map(peers.map((peer) => [peer.sessionKey, new SessionOf(storage, peer.sessionKey)]))
  const now = new Date(clock.now())
  const sealed: Uint8Array[][] = []
  let error: ParleyError | undefined
  for (const plaintext of plaintexts) {
    const bodies: Uint8Array[] = []
    try {
      for (let i = 0; i < peers.length; i++) {
        const peer = peers[i]!
        bodies.push(await encryptOne(sessions.get(peer.sessionKey)!, peer, local, plaintext, now))
      }
    } catch (failure) {
      if (!(failure instanceof ParleyError)) throw failure
      error = failure
      for (const session of sessions.values()) session.drop()
      break
    }
    for (const session of sessions.values()) session.keep()
    sealed.push(bodies)
  }
  for (const session of sessions.values()) session.write()
  return { sealed, error }
}

async function encryptOne(
  session: SessionOf,
  { device, remote, identities }: Peer,
  local: ProtocolAddress,
  plaintext: Uint8Array,
  now: Date,
): Promise<Uint8Array> {
  if (!session.record) throw noSession(device)
  let message: CiphertextMessage
  try {
    message = await signalEncrypt(raw(plaintext), remote, local, session, identities, now)
  } catch (error) {
    throw encryptionError(error)
  }
  const body = message.serialize()
  const { buffer, byteOffset, length } = Buffer.allocUnsafe(body.length + 1)
  const out = new Uint8Array(buffer, byteOffset, length)
  out[0] = message.type()
  out.set(body, 1)
  checkSize(out)
  return out
}

async function decryptOne(
  session: SessionOf,
  { device, remote, identities }: Peer,
  local: ProtocolAddress,
  message: SignalMessage,
): Promise<Uint8Array> {
  if (!session.record) throw noSession(device)
  try {
    return await signalDecrypt(message, remote, local, session, identities)
  } catch (error) {
    throw decryptionError(error)
  }
}

/** A message that sets its session up, with prekeys of this device. */
async function decryptFirst(
  session: SessionOf,
  storage: KeyStorage,
  { remote, identities }: Peer,
  local: ProtocolAddress,
  message: PreKeySignalMessage,
): Promise<Uint8Array> {
  const { prekey, signedPrekey, kyberPrekey, failure } = prekeyStores(storage)
  try {
    return await signalDecryptPreKey(message, remote, local, session, identities, prekey, signedPrekey, kyberPrekey)
  } catch (error) {
    throw failure() ?? decryptionError(error)
  }
}

function checkSize(ciphertext: Uint8Array): void {
  if (ciphertext.length <= limits.PART_MAX_BYTES) return
  throw new ParleyError('too_large', 'ciphertext over the limit of a part', {
    limit: `${limits.PART_MAX_BYTES}`,
    size: `${ciphertext.length}`,
  })
}

function readCiphertext(ciphertext: Uint8Array): SignalMessage | PreKeySignalMessage {
  const body = raw(ciphertext.subarray(1))
  try {
    if (ciphertext[0] === CiphertextMessageType.Whisper) return SignalMessage.deserialize(body)
    if (ciphertext[0] === CiphertextMessageType.PreKey) return PreKeySignalMessage.deserialize(body)
  } catch {
    throw new ParleyError('malformed', 'not a Signal message')
  }
  throw new ParleyError('malformed', 'ciphertext of an unknown type', { type: `${ciphertext[0]}` })
}
