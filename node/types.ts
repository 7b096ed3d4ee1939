// What a node offers to the relay and the bootstrap service, and what it needs from them.
import type { Clock, Home, HomeRecord, ParleyError, Random, Region, RegionId, SignedRecord, UserId } from '#protocol'
import type { RequestMethod } from './limits.ts'

/**
 * The few rows that a node keeps: version floors with the records they come from, and what it publishes. Keys are
 * Latin-1 text. A `put` is durable when it resolves; puts of one key take effect in the order of the calls.
 */
export type NodeStorage = {
  get(key: string): Promise<Uint8Array | undefined>
  put(key: string, value: Uint8Array): Promise<void>
  delete(key: string): Promise<void>
  /** Keys that start with `prefix`, ascending, those after `after` only, at most `limit` of them. */
  range(
    prefix: string,
    options: { readonly after: string | undefined; readonly limit: number },
  ): Promise<[key: string, value: Uint8Array][]>
}

/** Who may take part. `open` lets everyone in; a stricter one asks for a chain to a region that it trusts. */
export type Admission = {
  /** `region` is what the peer's certificate proved; undefined for a peer that showed none (a bootstrap node). */
  admits(peer: { readonly peerId: string; readonly region: RegionId | undefined }): boolean
  /** Whether records that this region vouches for are stored here for others. */
  admitsRecordsOf(region: RegionId): boolean
}

/** One function per event; feeds log and metrics. Ids never become metric labels. */
export type NodeEvents = {
  linkUp(region: RegionId, peerId: string): void
  linkDown(region: RegionId, peerId: string, error: ParleyError | undefined): void
  /** A wanted link could not be made, for this many times in a row; it is tried again. */
  linkFailed(region: RegionId, error: ParleyError, times: number): void
  /** A link that ended before it was up. */
  linkRefused(peerId: string, error: ParleyError): void
  published(kind: RecordKind, accepted: number, tookMs: number): void
  lookedUp(kind: RecordKind, found: boolean, tookMs: number): void
  /** A record that somebody offered and that was not taken. */
  recordRefused(kind: RecordKind, code: string): void
  requestRefused(method: string, code: string): void
  /** A row could not be written or read; the operation that needed it has failed too. */
  storageFailed(error: unknown): void
}

export type RecordKind = 'home' | 'region'

/** New countersignatures and region records for those about to expire; undefined: let it expire. */
export type Renewal = {
  home(home: Home): Promise<HomeRecord | undefined>
  region(region: Region): Promise<SignedRecord | undefined>
}

export type NodeOptions = {
  /** The 32 secret bytes of the node's Ed25519 key: see `loadOrCreateNodeKey`. */
  readonly key: Uint8Array
  /** WebSocket address to listen on; port 0 takes a free one. Undefined: only dials. */
  readonly listen: { readonly host: string; readonly port: number } | undefined
  /** Multiaddrs to tell others instead of the ones listened on (behind a proxy or NAT). */
  readonly announce: readonly string[]
  /** Multiaddrs with `/p2p/<peer id>`. */
  readonly bootstrap: readonly string[]
  readonly mode: 'server' | 'client'
  readonly storage: NodeStorage
  readonly clock: Clock
  readonly random: Random
  readonly admission: Admission
  /** NodeCertificateBody: makes this a node of a region. */
  readonly certificate: SignedRecord | undefined
  readonly renewal: Renewal | undefined
  readonly events: NodeEvents
}

export type LinkItem = {
  /** 32 bytes; sent once per link, then by a small number. */
  readonly id: Uint8Array
  readonly kind: number
  readonly body: Uint8Array
}

export type LinkHandlers = {
  up(region: RegionId, peerId: string): void
  /** The link that `up` announced has ended. What was queued or in flight may or may not have arrived. */
  down(region: RegionId, peerId: string, error: ParleyError | undefined): void
  /**
   * In the order sent. A ParleyError thrown from here cuts this link, with that reason told to the peer. The peer may
   * go on sending when it returns, or when what it returns resolves.
   */
  items(region: RegionId, items: readonly LinkItem[], peerId: string): void | Promise<void>
}

export type Links = {
  /** Starts to accept and keep links. Called once. */
  serve(handlers: LinkHandlers): void
  /**
   * Queues for the next batch to that region. False, and nothing is queued, while the link is down or its queue is
   * full. Throws `too_large` for an item that no batch can hold.
   */
  send(region: RegionId, item: LinkItem): boolean
  /** What was sent so far need not wait for the end of the step that sent it, where a link has little to carry. */
  flush(): void
  isUp(region: RegionId): boolean
  /** Bytes queued and in flight that the region has not consumed. */
  backlog(region: RegionId): number
  /** From now on there shall be a link to that region: dials, and dials again after it was lost. */
  want(region: RegionId): void
  /** Takes `want` back; a link that is up stays until it ends. */
  unwant(region: RegionId): void
  /** Ends the link, telling the peer why; a wanted one is dialled again after a pause. */
  close(region: RegionId, error: ParleyError): void
  /** What a link's hello has proved about a connected peer. */
  regionOf(peerId: string): RegionId | undefined
  /** Regions whose link is up. */
  up(): RegionId[]
}

export type PublishResult = {
  /** Peers that stored it, when it resolved: enough, or all that answered in time. More may follow. */
  readonly accepted: number
}

export type Directory = {
  /** From memory. Never expired, never older than the newest that this node has accepted. */
  knownHome(user: UserId): Home | undefined
  knownRegion(region: RegionId): Region | undefined
  /** Memory, then disk, then the DHT (under a second). `fresh` asks the DHT in any case and answers with the newest. */
  findHome(user: UserId, options?: { readonly fresh: boolean }): Promise<Home | undefined>
  findRegion(region: RegionId, options?: { readonly fresh: boolean }): Promise<Region | undefined>
  /** Takes a record that came with a message; false when a newer one (or another one of this version) is known. */
  learnHome(home: Home): boolean
  learnRegion(region: Region): boolean
  /** The same from bytes: verifies first, throws the ParleyError of what is wrong with it. */
  learnHomeRecord(record: HomeRecord): Home
  learnRegionRecord(record: SignedRecord): Region
  /**
   * Stores the record here and on peers, and keeps it there (refresh, renewal) until `withdraw` or expiry, across
   * restarts. With no peer in reach it is published as soon as there is one. Throws `too_old` or `conflict`.
   */
  publishHome(record: HomeRecord): Promise<PublishResult>
  publishRegion(record: SignedRecord): Promise<PublishResult>
  /** Stops refreshing (the user has moved away). */
  withdrawHome(user: UserId): Promise<void>
  /** Region records accepted and not expired, at most `limit`. */
  regions(limit: number): Promise<Region[]>
  /** Resolves when everything learnt so far is on disk. */
  flushed(): Promise<void>
}

export type Requester = { readonly peerId: string; readonly region: RegionId | undefined }

/** Answers with bytes, or throws a ParleyError that travels back as it is. */
export type RequestHandler = (from: Requester, body: Uint8Array) => Promise<Uint8Array>

export type ParleyNode = AsyncDisposable & {
  readonly peerId: string
  /** Of the certificate. */
  readonly region: RegionId | undefined
  /** Where others reach it, with `/p2p/<peer id>`. */
  multiaddrs(): string[]
  /** Peers connected now. */
  peers(): string[]
  readonly directory: Directory
  readonly links: Links
  handle(method: RequestMethod, handler: RequestHandler): void
  /**
   * Asks a node of that region; sets up the link first if there is none. Throws the other side's ParleyError, or
   * `unreachable`, `timeout`, `overloaded`.
   */
  request(region: RegionId, method: RequestMethod, body: Uint8Array, timeoutMs: number): Promise<Uint8Array>
}
