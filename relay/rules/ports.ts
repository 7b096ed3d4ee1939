// What the rules of a relay need from outside, and what they offer. No socket, disk or timer in here.
import type {
  Clock,
  ConvId,
  DeviceFrame,
  DeviceKey,
  Home,
  Manifest,
  ParleyError,
  Random,
  RegionId,
  RegionSigner,
  UserId,
} from '#protocol'
import type { Replayed, StoreHooks } from '../store/types.ts'

/** One item of a link batch. `body` is encoded by its kind (ItemKind in link.proto). */
export type Item = { readonly conv: ConvId; readonly kind: number; readonly body: Uint8Array }

/** Best effort: what is lost is sent again after `linkUp`. */
export type LinkPort = {
  /** Queues for the next batch to that region. Nothing happens while the link is down. */
  send(region: RegionId, item: Item): void
  /** What was sent in this turn may leave: it has farther to go than what is for devices. */
  flush(): void
  isUp(region: RegionId): boolean
  /** Bytes queued and in flight that the region has not consumed. */
  backlog(region: RegionId): number
  /** Asks for a link to that region; `linkUp` follows when there is one. */
  want(region: RegionId): void
  /** Cuts the link: the region said something that it may not say. */
  close(region: RegionId, reason: ParleyError): void
}

/** A signed-in device. */
export type DeviceSession = {
  readonly id: string
  readonly userId: UserId
  readonly device: DeviceKey
  /** An encoded HomeFrame. */
  send(frame: Uint8Array): void
  /** Bytes that the socket has not taken yet. */
  backlog(): number
  /** Ends the session, with a refusal if there is a reason to tell. */
  close(reason: ParleyError | undefined): void
}

export type FormerHome = {
  readonly region: RegionId
  /** The person says that it will not answer any more; what only it had is given up. */
  readonly gone: boolean
  /** The last home generation in which they lived there. */
  readonly generation: number
}

/** Verified records. `known*` answer from memory, synchronously; `find*` may ask the DHT and other regions. */
export type DirectoryPort = {
  knownHome(user: UserId): Home | undefined
  /**
   * Of somebody who lives here the account is known from then on, for as long as it is asked for now and then. `fresh`: of
   * others the DHT is asked, whatever is known.
   */
  findHome(user: UserId, found?: { readonly fresh: boolean }): Promise<Home | undefined>
  knownManifest(user: UserId): Manifest | undefined
  /** At least as new as the home record says. */
  findManifest(user: UserId, home: Home): Promise<Manifest | undefined>
  /** Takes a verified home record that came with a message; false when a newer one is known. */
  learnHome(home: Home): boolean
  /** Of somebody who moved here: where they lived before, as far as that is known. */
  formerHome(user: UserId): FormerHome | undefined
  /** The same, also of somebody who has moved on since. */
  findFormerHome(user: UserId): Promise<FormerHome | undefined>
}

export type RelayPorts = {
  readonly region: RegionId
  readonly clock: Clock
  readonly random: Random
  readonly links: LinkPort
  readonly directory: DirectoryPort
  readonly events: RelayEvents
  /** Speaks for the region: what it closed, what it hosts. */
  readonly signer: RegionSigner
  /** 32 bytes that nobody else has and that outlive the store: seals what this region gives others to keep for it. */
  readonly noteSecret: Uint8Array
}

/** Passed in by the owner, who owns the store: the relay puts its changes into commits, and lets out what they gate. */
export type RelayHooks = Pick<StoreHooks, 'closing' | 'committed' | 'trimBelow'>

/** One function per business event; feeds log and metrics. Ids never become metric labels. */
export type RelayEvents = {
  submitted(count: number): void
  sequenced(count: number): void
  delivered(count: number): void
  held(count: number): void
  refused(code: string): void
  demoted(region: RegionId, streams: number): void
}

/** What others do not have yet, in the conversations that are in use. */
export type Owed = {
  /** Items in the windows of feeds. */
  readonly window: number
  /** Streams that are served from the tables. */
  readonly lagging: number
  /** Conversations in which one of a person's devices is behind. */
  readonly inbox: number
}

export type Relay = {
  /** A session that signed in; an older one of the same device ends. */
  openSession(session: DeviceSession): void
  closeSession(id: string): void
  /** A frame that breaks the rules ends its session (`DeviceSession.close`). */
  deviceFrame(id: string, frame: DeviceFrame): void
  linkUp(region: RegionId): void
  linkDown(region: RegionId): void
  /** An item that this region may not send cuts its link (`LinkPort.close`). */
  items(region: RegionId, items: readonly Item[]): void
  /** Called by the owner every TICK_MS: what waits for time, the rules have no timers of their own. */
  tick(): void
  /** A manifest of a local user was replaced: sessions of devices that left it end. */
  manifestChanged(manifest: Manifest): void
  /** Somebody lives elsewhere now, as the directory knows: their conversations follow. */
  homeChanged(user: UserId): void
}

export type RelayEngine = {
  readonly relay: Relay
  /** To be called by the store; see RelayHooks. */
  readonly hooks: RelayHooks
  /**
   * Before anything else: what the former boot's journal still owed becomes lag rows. Throws `old_backup` when the store
   * was found to be one.
   */
  takeOver(replayed: readonly Replayed[]): Promise<void>
  /** Devices wait for this: other regions may know that the store is an old backup. Rejects when they do. */
  heard(): Promise<void>
  /** For tests, metrics and checkers. */
  inspect(): {
    /** In memory, and the devices whose submissions are numbered in them. */
    conversations: number
    authors: number
    windowItems(region: RegionId): number
    /** How far the journal of another region has come, as it said, as a commit of its present life. */
    journalOf(region: RegionId): number
    owed(): Owed
  }
}
