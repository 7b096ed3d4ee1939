// Puts the parts together: host, DHT, directory, links, requests; starts them and ends them in order.
import type { PeerId } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { openNodeCertificate, ParleyError, signingKey, type Timer } from '#protocol'
import { createDialPauses } from './addresses.ts'
import { createDht, createVerifier } from './dht.ts'
import { createDirectory } from './directory.ts'
import { type Host, openStream, peerIdOf, peerOfAddress, startHost, storeAt } from './host.ts'
import {
  ALLOW_LIST_MAX,
  BOOTSTRAP_CHECK_MS,
  BOOTSTRAP_FIRST_MS,
  DIAL_MAX_MS,
  REQUEST_PROTOCOL,
  STOP_MAX_MS,
  VERIFIED_MAX,
  VERIFIED_PUTS_MAX,
} from './limits.ts'
import type { RegionBook } from './link-network.ts'
import { LinkKeeper } from './links.ts'
import { startPublisher } from './publisher.ts'
import { openRecordTable, type RecordTable } from './record-table.ts'
import { createRequests, type RequestNetwork } from './requests.ts'
import { libp2pLinkNetwork, peerStream } from './streams.ts'
import type { NodeOptions, ParleyNode } from './types.ts'

const BOOT_NONCE_BYTES = 16

/** Everyone may join: for testnets. */
export const openAdmission = { admits: () => true, admitsRecordsOf: () => true } as const

/** Events that nobody wants to hear. */
export const silentEvents: NodeOptions['events'] = {
  linkUp: () => undefined,
  linkDown: () => undefined,
  linkFailed: () => undefined,
  linkRefused: () => undefined,
  published: () => undefined,
  lookedUp: () => undefined,
  recordRefused: () => undefined,
  requestRefused: () => undefined,
  storageFailed: () => undefined,
}

/**
 * Listens, connects to the bootstrap nodes (waiting for them a moment only), and serves the DHT. Links are accepted
 * once `links.serve` is called. Throws `bad_argument` for an address that cannot be used, and what is wrong with the
 * certificate.
 */
export async function startNode(options: NodeOptions): Promise<ParleyNode> {
  const { clock, random, events, admission } = options
  const certificate = options.certificate && openNodeCertificate(options.certificate, clock.now())
  if (certificate && Buffer.compare(certificate.nodeKey, signingKey(options.key).publicKey) !== 0) {
    throw new ParleyError('not_granted', 'the node certificate is for another node key')
  }
  const bootstrapPeers = options.bootstrap.map(peerOfAddress)
  await using started = new AsyncDisposableStack()
  const table = await openRecordTable(options.storage, clock, events)
  started.defer(async () => {
    await table.flushed().catch(() => undefined)
    table.close()
  })
  const open = createVerifier(clock, VERIFIED_MAX)
  const store = { table, clock, admission, events, open: createVerifier(clock, VERIFIED_PUTS_MAX) }
  const host = await startHost(options, store, knownAddresses(table))
  started.defer(() => stopInTime(host, options))
  const { libp2p } = host
  const dht = createDht({
    kad: host.kad,
    clock,
    open,
    store: (peer, key, value) => storeAt(libp2p, clock, peer, key, value),
    expectsPeers: () => bootstrapPeers.length > 0 || libp2p.getPeers().length > 0,
    listKeepers: () => bootstrapPeers.filter((peer) => libp2p.getConnections(peer).length > 0),
  })
  const { storage, renewal } = options
  const publisher = await startPublisher({ table, dht, storage, clock, random, renewal, events })
  table.keeping(() => publisher.size())
  started.defer(() => publisher.close())
  const directory = createDirectory({ table, dht, publisher, clock, events })
  const links = createLinks(options, host, directory)
  table.watch((entry) => {
    if (entry.kind === 'region') links.regionChanged(entry.region)
  })
  started.defer(() => links.shutdown())
  const requests = createRequests({ network: requestNetwork(host), links, clock, events })
  started.defer(() => requests.close())
  started.defer(await keepBootstrapped(options, host))
  const owned = started.move()

  return {
    peerId: libp2p.peerId.toString(),
    region: certificate?.regionId,
    multiaddrs: () => libp2p.getMultiaddrs().map((address) => address.toString()),
    peers: () => libp2p.getPeers().map((peer) => peer.toString()),
    directory,
    links,
    handle: requests.handle,
    request: requests.request,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function createLinks(options: NodeOptions, { libp2p }: Host, book: RegionBook): LinkKeeper {
  const { clock, random, admission, certificate, events } = options
  return new LinkKeeper({
    network: libp2pLinkNetwork(libp2p),
    book,
    clock,
    random,
    admission,
    certificate,
    bootNonce: random.bytes(BOOT_NONCE_BYTES),
    events,
    defer: setImmediate,
  })
}

async function stopInTime({ libp2p, guard }: Host, { clock }: NodeOptions): Promise<void> {
  guard.close()
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = clock.after(STOP_MAX_MS, resolve)
  await Promise.race([libp2p.stop(), promise])
  timer.cancel()
}

/** Addresses of nodes of known regions, which are in memory: never locked out. */
function knownAddresses(table: RecordTable): string[] {
  const ids = table.ids('region').slice(0, ALLOW_LIST_MAX)
  return ids
    .map((id) => table.known('region', id))
    .flatMap((entry) => (entry?.kind === 'region' ? entry.region.nodes.flatMap((node) => node.multiaddrs) : []))
}

function requestNetwork({ libp2p }: Host): RequestNetwork {
  return {
    async dial(peerId) {
      const { stream, connection } = await openStream(libp2p, peerIdOf(peerId), [], REQUEST_PROTOCOL, DIAL_MAX_MS)
      return peerStream(stream, connection)
    },
    serve(accept) {
      void libp2p.handle(
        REQUEST_PROTOCOL,
        (stream, connection) => {
          try {
            accept(peerStream(stream, connection))
          } catch (error) {
            stream.abort(error as Error)
          }
        },
        { maxInboundStreams: 2, maxOutboundStreams: 2 },
      )
    },
  }
}

/**
 * The library takes a peer into its table once, when it connects, and not if it is slow to answer then: without this a
 * node whose entry nodes had a bad moment would ask nobody as long as these connections last.
 */
async function meetAgain({ libp2p, kad: { routingTable } }: Host, entries: readonly PeerId[]): Promise<void> {
  const connected = routingTable.size === 0 ? libp2p.getPeers() : entries.filter((it) => isConnected(libp2p, it))
  await Promise.allSettled(
    connected.map(async (peer) => ((await routingTable.find(peer)) ? undefined : routingTable.add(peer))),
  )
}

const isConnected = (libp2p: Host['libp2p'], peer: PeerId): boolean => libp2p.getConnections(peer).length > 0

/**
 * Dials bootstrap nodes that are not connected, and asks them to be DHT peers, now and every BOOTSTRAP_CHECK_MS; those
 * that have been away for long with pauses.
 */
async function keepBootstrapped({ bootstrap, clock, random }: NodeOptions, host: Host): Promise<() => void> {
  const { libp2p } = host
  const pauses = createDialPauses(clock)
  let closed = false
  let timer: Timer | undefined
  const dial = async (address: string): Promise<void> => {
    try {
      await libp2p.dial(multiaddr(address), { signal: AbortSignal.timeout(DIAL_MAX_MS) })
      pauses.connected(address)
    } catch {
      pauses.failed(address)
    }
  }
  const dialAll = async (): Promise<void> => {
    const there = (address: string): boolean => isConnected(libp2p, peerOfAddress(address))
    for (const address of bootstrap.filter(there)) pauses.connected(address)
    await Promise.all(bootstrap.filter((address) => !there(address) && pauses.due(address)).map(dial))
  }
  const again = (): void => {
    if (closed) return
    const check = async (): Promise<void> => {
      await dialAll()
      await meetAgain(host, bootstrap.map(peerOfAddress))
      again()
    }
    timer = clock.after(BOOTSTRAP_CHECK_MS * (0.5 + random.fraction()), () => void check())
  }
  const first = dialAll()
  void first.then(again)
  const { promise, resolve } = Promise.withResolvers<void>()
  const limit = clock.after(BOOTSTRAP_FIRST_MS, resolve)
  await Promise.race([first, promise])
  limit.cancel()
  return () => {
    closed = true
    timer?.cancel()
  }
}
