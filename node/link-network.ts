// Where links get their streams from, and whom they ask about regions: ports, so that the same links run over libp2p
// and in a simulated network.
import type { ParleyError, Region, RegionId } from '#protocol'
import type { LinkPipe } from './link.ts'

/** The receiving end of a stream. */
export type StreamEvents = {
  received(chunk: Uint8Array): void
  drained(): void
  closed(error: ParleyError | undefined): void
}

/** A stream to a peer whose key is authenticated. `open` attaches the receiver; bytes that came before wait for it. */
export type PeerStream = {
  readonly peerId: string
  /** Raw Ed25519 public key. */
  readonly peerKey: Uint8Array
  open(events: StreamEvents): LinkPipe
}

/** Where links come from: libp2p, or a simulated network. */
export type LinkNetwork = {
  readonly peerId: string
  /** Rejects with a ParleyError, or after a bounded time. */
  dial(peerId: string, multiaddrs: readonly string[]): Promise<PeerStream>
  /** Incoming streams, and peers that have just been connected. */
  serve(handlers: { stream(stream: PeerStream): void; peer(peerId: string): void }): void
}

/** What links ask the directory. */
export type RegionBook = {
  knownRegion(region: RegionId): Region | undefined
  findRegion(region: RegionId, options?: { readonly fresh: boolean }): Promise<Region | undefined>
  /** The highest root epoch of that region seen anywhere. */
  rootEpoch(region: RegionId): number
  noteRootEpoch(region: RegionId, rootEpoch: number): void
}
