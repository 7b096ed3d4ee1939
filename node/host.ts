// The libp2p host: WebSockets, noise, yamux, identify, ping, and the private DHT. Whatever libp2p throws becomes a
// ParleyError here.
import { isIP } from 'node:net'
import { yamux } from '@chainsafe/libp2p-yamux'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { type Identify, identify } from '@libp2p/identify'
import type { Connection, Libp2p, PeerId, Stream } from '@libp2p/interface'
import {
  type KadDHT,
  kadDHT,
  passthroughMapper,
  removePrivateAddressesMapper,
  type SingleKadDHT,
} from '@libp2p/kad-dht'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Ping, ping } from '@libp2p/ping'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { type Clock, ParleyError } from '#protocol'
import { isPrivateAddress, usableAddress } from './addresses.ts'
import { createKadCallers } from './kad-callers.ts'
import { type Datastore, KAD_PREFIX, type KadStoreOptions, kadDatastore, readKadKey } from './kad-datastore.ts'
import { encodePutValue, KadMessageReader } from './kad-wire.ts'
import {
  ALLOW_LIST_MAX,
  CONNECTIONS_MAX,
  DIAL_MAX_MS,
  DIALS_PARALLEL_MAX,
  INBOUND_PER_HOST_PER_SECOND_MAX,
  KAD_ANSWER_MAX_MS,
  KAD_FIRST_LOOK_MS,
  KAD_LOOK_MS,
  KAD_PARALLEL,
  KAD_PROTOCOL,
  KAD_SILENCE_MAX_MS,
  KAD_STREAMS_MAX,
  PENDING_MAX,
  REPLICATION,
  STREAMS_INBOUND_MAX,
  STREAMS_OUTBOUND_MAX,
  UPGRADE_MAX_MS,
} from './limits.ts'
import { meshNoise } from './noise-crypto.ts'
import { createSocketGuard, type SocketGuard } from './socket-guard.ts'
import { meshTransport } from './transport.ts'
import type { NodeOptions } from './types.ts'

type Services = { identify: Identify; ping: Ping; dht: KadDHT }
/** What the library's table has beyond its declared interface. */
type RoutingTable = SingleKadDHT['routingTable'] &
  Partial<EventTarget> & {
    find(peer: PeerId): Promise<PeerId | undefined>
    /** Asks the peer for a sign of life first; it stays out when there is none. */
    add(peer: PeerId): Promise<void>
  }
export type Host = {
  readonly libp2p: Libp2p<Services>
  readonly kad: SingleKadDHT & { readonly routingTable: RoutingTable }
  readonly guard: SocketGuard
}

export function listenMultiaddr(host: string, port: number): string {
  if (isIP(host) === 4) return `/ip4/${host}/tcp/${port}/ws`
  if (isIP(host) === 6) return `/ip6/${host}/tcp/${port}/ws`
  if (host === 'localhost') return `/ip4/127.0.0.1/tcp/${port}/ws`
  throw new ParleyError('bad_argument', `the mesh listens on an IP address, not on a name: ${host}`, { host })
}

function parseMultiaddr(text: string): Multiaddr {
  try {
    return multiaddr(text)
  } catch {
    throw new ParleyError('bad_argument', `not a multiaddr: ${text}`, { address: text })
  }
}

/** IP part of a multiaddr, for libp2p's allow list. */
function allowEntry(text: string): string | undefined {
  const [, family, host] = text.split('/')
  return (family === 'ip4' || family === 'ip6') && host
    ? `/${family}/${host}/ipcidr/${family === 'ip4' ? 32 : 128}`
    : undefined
}

/** Creates and starts; throws `bad_argument` when the address cannot be listened on. */
export async function startHost(options: NodeOptions, store: KadStoreOptions, known: readonly string[]): Promise<Host> {
  const guard = createSocketGuard(options.clock)
  const listen = options.listen ? listenMultiaddr(options.listen.host, options.listen.port) : undefined
  for (const address of [...options.announce, ...options.bootstrap]) parseMultiaddr(address)
  // A node that lives among private addresses (a laptop, one machine) talks to private addresses; a public one does not.
  const mayBePrivate =
    [...options.announce, ...options.bootstrap, ...(options.announce.length === 0 && listen ? [listen] : [])].some(
      isPrivateAddress,
    ) || !listen
  // Known addresses are what strangers wrote: one that does not parse must not keep the node from starting.
  const allow = [...new Set([...options.bootstrap, ...known].map(allowEntry))]
    .filter((entry) => entry !== undefined)
    .filter(usableAddress)
  const callers = createKadCallers(options.clock)
  const validate = async (key: Uint8Array, value: Uint8Array): Promise<void> => {
    callers.ensureMayPut()
    const { kind, id } = readKadKey(key)
    store.open(kind, id, value)
  }
  const choose = (): number => 0
  const libp2p = await createLibp2p<Services>({
    privateKey: await generateKeyPairFromSeed('Ed25519', options.key),
    nodeInfo: { name: 'parley', version: '1' },
    addresses: { listen: listen ? [listen] : [], announce: [...options.announce] },
    transports: [meshTransport(guard)],
    connectionEncrypters: [meshNoise()],
    streamMuxers: [yamux({ maxInboundStreams: STREAMS_INBOUND_MAX, maxOutboundStreams: STREAMS_OUTBOUND_MAX })],
    connectionManager: {
      maxConnections: CONNECTIONS_MAX,
      maxIncomingPendingConnections: PENDING_MAX,
      inboundUpgradeTimeout: UPGRADE_MAX_MS,
      inboundConnectionThreshold: INBOUND_PER_HOST_PER_SECOND_MAX,
      dialTimeout: DIAL_MAX_MS,
      addressDialTimeout: DIAL_MAX_MS / 2,
      maxParallelDials: DIALS_PARALLEL_MAX,
      allow: allow.slice(0, ALLOW_LIST_MAX),
    },
    connectionGater: {
      denyDialMultiaddr: (address) => !mayBePrivate && isPrivateAddress(address.toString()),
    },
    services: {
      identify: identify(),
      ping: ping(),
      dht: (components) => {
        const datastore: Datastore = kadDatastore(components.datastore, store, callers)
        const own = { datastore, registrar: callers.registrar(components.registrar) }
        const mine = new Proxy(components, {
          get: (target, name) => Reflect.get(name in own ? own : target, name),
        })
        return kadDHT({
          protocol: KAD_PROTOCOL,
          datastorePrefix: KAD_PREFIX,
          clientMode: options.mode === 'client',
          allowQueryWithZeroPeers: true,
          initialQuerySelfInterval: KAD_FIRST_LOOK_MS,
          querySelfInterval: KAD_LOOK_MS,
          kBucketSize: REPLICATION,
          alpha: KAD_PARALLEL,
          maxInboundStreams: KAD_STREAMS_MAX,
          incomingMessageTimeout: KAD_SILENCE_MAX_MS,
          validators: { home: validate, region: validate },
          selectors: { home: choose, region: choose },
          peerInfoMapper: mayBePrivate ? passthroughMapper : removePrivateAddressesMapper,
          networkDialTimeout: { minTimeout: KAD_ANSWER_MAX_MS, maxTimeout: KAD_ANSWER_MAX_MS },
        })(mine)
      },
    },
  }).catch((error: unknown) => {
    throw startError(error, options)
  })
  libp2p.addEventListener('connection:open', ({ detail }) => {
    const [, , host, , port] = detail.remoteAddr.toString().split('/')
    if (detail.direction === 'inbound' && host && port) guard.authenticated(host, Number(port))
  })
  return { libp2p, kad: libp2p.services.dht as unknown as Host['kad'], guard }
}

function startError(error: unknown, options: NodeOptions): unknown {
  const text = collectMessages(error)
  const where = options.listen ? `${options.listen.host}:${options.listen.port}` : ''
  if (/EADDRINUSE/.test(text))
    return new ParleyError(
      'bad_argument',
      `the mesh address ${where} is in use: choose another port, or stop what listens there`,
      { address: where },
    )
  if (/EACCES|EPERM/.test(text))
    return new ParleyError('bad_argument', `no rights to listen on ${where}: choose a port above 1023`, {
      address: where,
    })
  if (/EADDRNOTAVAIL/.test(text))
    return new ParleyError('bad_argument', `${where} is no address of this machine`, { address: where })
  return error
}

function collectMessages(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(collectMessages).join(' ')
  if (!(error instanceof Error)) return String(error)
  return `${error.message} ${error.cause ? collectMessages(error.cause) : ''}`
}

/** Raw Ed25519 public key of an authenticated peer. */
export function rawKey(peer: PeerId): Uint8Array {
  const key = peer.publicKey
  if (key?.type !== 'Ed25519') throw new ParleyError('not_admitted', 'nodes have Ed25519 keys')
  return key.raw
}

/** Opens a stream, dialling when there is no connection yet. Throws `unreachable`, or `timeout` for a silent peer. */
export async function openStream(
  libp2p: Libp2p,
  peer: PeerId,
  addresses: readonly string[],
  protocol: string,
  timeoutMs: number,
): Promise<{ stream: Stream; connection: Connection }> {
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    const targets = addresses.filter(usableAddress).map((address) => withPeer(multiaddr(address), peer))
    const connection = await libp2p.dial(
      targets.length > 0 && libp2p.getConnections(peer).length === 0 ? targets : peer,
      { signal },
    )
    return { stream: await connection.newStream(protocol, { signal }), connection }
  } catch (error) {
    throw signal.aborted ? new ParleyError('timeout', 'the peer does not answer') : unreachable(error)
  }
}

const withPeer = (address: Multiaddr, peer: PeerId): Multiaddr =>
  address.toString().includes('/p2p/') ? address : address.encapsulate(`/p2p/${peer.toString()}`)

export function unreachable(error: unknown): ParleyError {
  return error instanceof ParleyError
    ? error
    : new ParleyError(
        'unreachable',
        `no connection: ${error instanceof Error ? error.message.slice(0, 200) : 'unknown'}`,
      )
}

/** Throws `malformed`. */
export function peerIdOf(text: string): PeerId {
  try {
    return peerIdFromString(text)
  } catch {
    throw new ParleyError('malformed', 'not a peer id')
  }
}

/** Whom an address leads to: what libp2p compares with the peer that answers. Throws `malformed`. */
export const peerOfAddress = (address: string): PeerId => peerIdOf(address.split('/p2p/').at(-1) ?? '')

/** Asks a peer to store a DHT record; false for whatever keeps it from doing so within KAD_ANSWER_MAX_MS. */
export async function storeAt(
  libp2p: Libp2p,
  clock: Clock,
  peer: PeerId,
  key: Uint8Array,
  value: Uint8Array,
): Promise<boolean> {
  try {
    const { stream } = await openStream(libp2p, peer, [], KAD_PROTOCOL, KAD_ANSWER_MAX_MS)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const timer = clock.after(KAD_ANSWER_MAX_MS, () => resolve(false))
    const reader = new KadMessageReader()
    stream.addEventListener('message', ({ data }) => {
      try {
        if (reader.push(data.subarray())) resolve(true)
      } catch {
        resolve(false)
      }
    })
    stream.addEventListener('close', () => resolve(false))
    stream.addEventListener('remoteCloseWrite', () => resolve(false))
    stream.send(encodePutValue(key, value, clock.now()))
    const stored = await promise
    timer.cancel()
    stream.abort(new Error('done'))
    return stored
  } catch {
    return false
  }
}
