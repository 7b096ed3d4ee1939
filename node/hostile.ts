// A DHT peer that speaks the protocol and lies: for this folder's tests, and for putting a node under pressure.
import { BinaryReader } from '@bufbuild/protobuf/wire'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import { Record as KadRecord } from '@libp2p/kad-dht'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { webSockets } from '@libp2p/websockets'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { systemClock, systemRandom } from '#protocol'
import { openStream, storeAt } from './host.ts'
import { KadMessageReader } from './kad-wire.ts'
import { KAD_PROTOCOL } from './limits.ts'

const STREAM_MS = 5_000

export type HostileMode = 'replay' | 'refuse' | 'silent' | 'garbage'

export type HostilePeer = AsyncDisposable & {
  mode: HostileMode
  /** What it answers for a key (hex) in mode `replay`; `always` for every key. */
  readonly answers: Map<string, Uint8Array>
  always: Uint8Array | undefined
  readonly asked: () => number
  multiaddrs(): string[]
  connect(address: string): Promise<void>
  /** Opens streams and says nothing on them. Returns how many it got. */
  streams(peerId: string, count: number): Promise<number>
  /** Asks a peer to store a record. */
  put(peerId: string, key: Uint8Array, value: Uint8Array): Promise<boolean>
}

const GET_VALUE = 1

function field(number: number, bytes: Uint8Array): Buffer {
  const length: number[] = []
  let rest = bytes.length
  for (; rest >= 0x80; rest >>>= 7) length.push((rest & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length, rest]), bytes])
}

function framed(body: Uint8Array): Uint8Array {
  return new Uint8Array(field(0, body).subarray(1))
}

/** What a DHT message asks for: its type, and the key of a record or a peer. */
function questionOf(message: Uint8Array): { type: number; key: Uint8Array } {
  const reader = new BinaryReader(message)
  let type = 0
  let key = new Uint8Array(0)
  while (reader.pos < reader.len) {
    const [number, kind] = reader.tag()
    if (number === 1) type = reader.int32()
    else if (number === 2) key = new Uint8Array(reader.bytes())
    else reader.skip(kind, number)
  }
  return { type, key }
}

export async function hostilePeer(): Promise<HostilePeer> {
  let asked = 0
  const libp2p = await createLibp2p({
    privateKey: await generateKeyPairFromSeed('Ed25519', systemRandom.bytes(32)),
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0/ws'] },
    transports: [webSockets()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { inboundConnectionThreshold: 1_000 },
    services: { identify: identify(), ping: ping() },
  })
  const peer: HostilePeer = {
    mode: 'replay',
    answers: new Map(),
    always: undefined,
    asked: () => asked,
    multiaddrs: () => libp2p.getMultiaddrs().map((address) => address.toString()),
    connect: async (address) => void (await libp2p.dial(multiaddr(address))),
    async streams(peerId, count) {
      const peer = peerIdFromString(peerId)
      const opening = Array.from({ length: count }, () => openStream(libp2p, peer, [], KAD_PROTOCOL, STREAM_MS))
      const opened = await Promise.allSettled(opening)
      return opened.filter(({ status }) => status === 'fulfilled').length
    },
    put: (peerId, key, value) => storeAt(libp2p, systemClock, peerIdFromString(peerId), key, value),
    [Symbol.asyncDispose]: async () => void (await libp2p.stop()),
  }
  const answer = (message: Uint8Array): Uint8Array | undefined => {
    const { type, key } = questionOf(message)
    const record = type === GET_VALUE ? (peer.always ?? peer.answers.get(Buffer.from(key).toString('hex'))) : undefined
    const parts = [Buffer.from([1 << 3, type]), field(2, key)]
    if (record) parts.push(field(3, new KadRecord(key, record, new Date(systemClock.now())).serialize()))
    return framed(Buffer.concat(parts))
  }
  await libp2p.handle(KAD_PROTOCOL, (stream) => {
    const reader = new KadMessageReader()
    stream.addEventListener('message', ({ data }) => {
      const message = reader.push(data.subarray())
      if (!message) return
      asked++
      if (peer.mode === 'refuse') stream.abort(new Error('no'))
      // Whoever asked may have gone: what a listener throws would end the process.
      else if (stream.writeStatus !== 'writable') return
      else if (peer.mode === 'garbage') stream.send(framed(systemRandom.bytes(200)))
      else if (peer.mode === 'replay') stream.send(answer(message)!)
    })
  })
  return peer
}
