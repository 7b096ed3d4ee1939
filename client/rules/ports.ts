// Everything that a device needs from outside. The engine runs with real sockets, a real database and libsignal, and the
// same engine runs in a simulator with a virtual clock, a database that crashes and a stand-in for the cipher.
import type { Opened, PeerDevice, Place, PrekeyCounts, SealedRun, Sealing, Writer } from '#crypto'
import type {
  Clock,
  ConvId,
  DeviceFrame,
  DeviceKey,
  Home,
  Manifest,
  ParleyError,
  Position,
  PrekeyBundle,
  Random,
  RegionId,
  SignedPrekeys,
  UserId,
} from '#protocol'
import type { DbWriter, DeviceDb, MessageKind, MessageStatus } from './schema.ts'

/**
 * Sessions, prekeys, tags and registers. What an operation changes is staged: later operations see it, and it becomes
 * durable in the transaction that `commit` is called in, together with the messages it belongs to.
 */
export type Cipher = {
  /** Throws a ParleyError for a device that there can be no session with, because its identity key is no key. */
  hasSession(peer: PeerDevice): boolean
  /** Sets a session up, replacing the one before. Throws a ParleyError when the bundle does not belong to the peer. */
  setUp(peer: PeerDevice, bundle: PrekeyBundle): Promise<void>
  /** Drops the session with a device that is gone for good, if there is one. */
  forget(peer: PeerDevice): void
  /** One after the other, each for all peers or for none; ends at the first that cannot be sealed. */
  seal(peers: readonly PeerDevice[], items: readonly Sealing[]): Promise<SealedRun>
  /** Throws a ParleyError for whatever cannot be read, and `conflict` for what belongs elsewhere; nothing is staged then. */
  open(peer: PeerDevice, place: Place, ciphertext: Uint8Array): Promise<Opened>
  /** 8 bytes that this device recognises as its own. */
  makeTag(place: Place): Uint8Array
  ownsTag(place: Place, tag: Uint8Array): boolean
  newStateKey(): Uint8Array
  sealReadMark(stateKey: Uint8Array, where: MarkPlace, at: Position): Uint8Array
  /** Throws a ParleyError; `not_found` when it was sealed under a key that is not among `stateKeys`. */
  openReadMark(
    stateKeys: readonly Uint8Array[],
    writer: Writer,
    where: MarkPlace,
    version: Position,
    body: Uint8Array,
  ): Position
  /** What the home needs, given how many one-time keys it still has; undefined when nothing is due. */
  replenish(counts: PrekeyCounts): SignedPrekeys | undefined
  commit(tx: DbWriter): void
}

export type MarkPlace = { readonly convId: ConvId; readonly member: number }

/** What the home is asked over HTTP. Everything rejects with a ParleyError; nothing here is trusted without its signatures. */
export type Directory = {
  /** Verified in themselves; the engine compares them with what it has seen. */
  find(user: UserId): Promise<{ home: Home; manifest: Manifest }>
  bundle(user: UserId, device: number): Promise<PrekeyBundle>
  prekeyCounts(): Promise<PrekeyCounts>
  uploadPrekeys(prekeys: SignedPrekeys): Promise<void>
}

/** One signed-in session. After its end, `send` does nothing. */
export type HomeSession = {
  readonly inFlightMax: number
  send(frame: DeviceFrame): void
  /** The home broke the rules: end it. */
  end(reason: ParleyError): void
}

export type Message = {
  readonly conv: ConvId
  readonly from: UserId
  readonly mine: boolean
  readonly member: number
  readonly device: DeviceKey
  readonly k: number
  /** NOWHERE until it has a number. */
  readonly at: Position
  readonly kind: MessageKind
  readonly body: Uint8Array
  readonly status: MessageStatus
  readonly code: string
  readonly timeMs: number
}

export type ContactChange = 'found' | 'devices' | 'home' | 'root'

export type DeviceEvent =
  /** `late`: it could not be read when it came and has been sent again. */
  | { readonly type: 'message'; readonly message: Message; readonly late: boolean }
  | {
      readonly type: 'state'
      readonly conv: ConvId
      readonly k: number
      readonly state: 'held' | 'sequenced' | 'cancelled' | 'failed'
      readonly at: Position
      readonly code: string
    }
  | { readonly type: 'delivered' | 'read'; readonly conv: ConvId; readonly user: UserId; readonly upTo: Position }
  /** `devices`: theirs changed; `root`: everything was replaced with the recovery phrase. */
  | { readonly type: 'contact-changed'; readonly user: UserId; readonly change: ContactChange }
  | { readonly type: 'look-up-failed'; readonly user: UserId; readonly code: string; readonly message: string }
  /** The home has prekeys of this device for whoever wants to write to it. */
  | { readonly type: 'prekeys-stocked' }
  /** This profile is an old copy of one that lives on; the engine has stopped. */
  | { readonly type: 'old-copy'; readonly conv: ConvId; readonly k: number }
  /** What stood between these two places is no longer at the home: this device will never have it. */
  | { readonly type: 'expired'; readonly conv: ConvId; readonly after: Position; readonly before: Position }
  /** Another region hosts the conversation; so many of the others' messages have lost their places and will get new ones. */
  | { readonly type: 'host-moved'; readonly conv: ConvId; readonly host: RegionId; readonly unconfirmed: number }
  /** A message that had lost its place stands again, as it was, or (`cancelled`) was never said. */
  | { readonly type: 'confirmed'; readonly message: Message }
  /** The home or host said what cannot be true. */
  | { readonly type: 'host-lies'; readonly conv: ConvId; readonly at: Position; readonly what: string }
  /** A write failed: nothing is acknowledged any more, the profile has to be opened again. */
  | { readonly type: 'broken'; readonly error: Error }

export type DevicePorts = {
  readonly self: Writer
  readonly clock: Clock
  readonly random: Random
  readonly db: DeviceDb
  readonly cipher: Cipher
  readonly directory: Directory
  /** Called after the commit behind it, in order. */
  readonly events: (event: DeviceEvent) => void
}
