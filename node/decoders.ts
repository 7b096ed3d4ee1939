// Every decoder of this folder, for the fuzzer: frames and streams of links and requests, keys and records of the DHT.
import { create, toBinary } from '@bufbuild/protobuf'
import { Record as KadRecord } from '@libp2p/kad-dht'
import {
  HomeRecordSchema,
  type LinkFrame,
  LinkFrameSchema,
  LinkHelloSchema,
  LinkRequestSchema,
  LinkResponseSchema,
  limits,
  ParleyError,
  refusalOf,
  SignedRecordSchema,
  SimulatedClock,
} from '#protocol'
import {
  bytesOfText,
  certificateRecord,
  type Decoder,
  homeRecord,
  makeCast,
  NOW_MS,
  regionRecord,
  textOf,
} from '#protocol/decoders'
import { isPrivateAddress } from './addresses.ts'
import { createVerifier } from './dht.ts'
import { peerIdOf } from './host.ts'
import { createKadCallers } from './kad-callers.ts'
import { type Datastore, KAD_PREFIX, kadDatastore, kadKey, readKadKey } from './kad-datastore.ts'
import { encodePutValue, KadMessageReader } from './kad-wire.ts'
import { KAD_MESSAGE_MAX_BYTES, LINK_FRAME_MAX_BYTES, REQUEST_FRAME_MAX_BYTES, VERIFIED_PUTS_MAX } from './limits.ts'
import { Link } from './link.ts'
import {
  decodeFrame,
  encodeBatch,
  encodeCredit,
  encodeHello,
  encodePing,
  encodePong,
  encodeRefusal,
} from './link-codec.ts'
import type { PeerStream, StreamEvents } from './link-network.ts'
import { openAdmission, silentEvents } from './node.ts'
import { idText } from './record-kinds.ts'
import { openRecordTable } from './record-table.ts'
import { createRequests, type RequestNetwork } from './requests.ts'
import { memoryStorage } from './storage.ts'
import type { RecordKind } from './types.ts'
import { frame } from './wire.ts'

const CAST = makeCast(7)
const clock = new SimulatedClock(NOW_MS)
const ADDRESS_MAX_CHARS = limits.ADDRESS_MAX_CHARS
const PEER_ID = '12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo'

function linkFrames(): Uint8Array[] {
  const hello = create(LinkHelloSchema, {
    version: 1,
    bootNonce: new Uint8Array(16).fill(1),
    certificate: certificateRecord(CAST.north),
    timeMs: BigInt(NOW_MS),
  })
  const id = new Uint8Array(32).fill(4)
  const items = [1, 2, 3].map((kind) => ({ ref: 1, kind, body: new Uint8Array(20 * kind).fill(kind) }))
  return [
    encodeHello(hello),
    encodeBatch({ number: 1, names: [{ ref: 1, id }], items }),
    encodeCredit(4_096, 3),
    encodePing(1),
    encodePong(1),
    encodeRefusal(new ParleyError('overloaded', 'later', { limit: '3' }, 500)),
  ]
}

const frameDecoder: Decoder<NonNullable<LinkFrame['what']>> = {
  name: 'node/decodeFrame',
  covers: ['link-codec.ts decodeFrame'],
  maxBytes: LINK_FRAME_MAX_BYTES,
  examples: () => linkFrames().map((framed) => framed.subarray(4)),
  decode: (bytes) => decodeFrame(bytes, LINK_FRAME_MAX_BYTES),
  encode: (what) => toBinary(LinkFrameSchema, create(LinkFrameSchema, { what })),
}

/** A whole stream as a link hears it, in two chunks. What the peer did wrong is what the link ended with. */
const streamDecoder: Decoder<number> = {
  name: 'node/Link',
  covers: ['link.ts Link', 'wire.ts FrameReader', 'link-names.ts LinkNamesRead'],
  maxBytes: LINK_FRAME_MAX_BYTES + 4,
  examples: () => {
    const [hello, batch, credit, ping] = linkFrames()
    return [Buffer.concat([hello!, batch!, ping!]), Buffer.concat([hello!, ping!, batch!])]
      .map((one) => new Uint8Array(one))
      .concat(new Uint8Array(Buffer.concat([hello!, batch!, credit!])).subarray(0, hello!.length + batch!.length))
  },
  decode(bytes) {
    let items = 0
    let ended: ParleyError | undefined
    const pipe = { write: () => true, end: () => undefined }
    const owner = {
      hello: () => undefined,
      items: (more: readonly unknown[]) => {
        items += more.length
      },
      ended: (error: ParleyError | undefined) => {
        ended = error ?? new ParleyError('closing', 'the link has ended')
      },
    }
    const introduction = { bootNonce: new Uint8Array(16), certificate: undefined, timeMs: NOW_MS }
    const link = new Link(pipe, owner, introduction, 0, () => undefined)
    const half = bytes.length >> 1
    link.received(bytes.subarray(0, half), 1)
    link.received(bytes.subarray(half), 2)
    link.closed(undefined)
    if (ended && ended.code !== 'closing') throw ended
    return items
  },
}

const kadMessageDecoder: Decoder<Uint8Array | undefined> = {
  name: 'node/KadMessageReader',
  covers: ['kad-wire.ts KadMessageReader'],
  maxBytes: KAD_MESSAGE_MAX_BYTES,
  examples: () => [encodePutValue(kadKey('home', CAST.ana.id), new Uint8Array(100), NOW_MS)],
  decode(bytes) {
    const reader = new KadMessageReader()
    return reader.push(bytes.subarray(0, bytes.length >> 1)) ?? reader.push(bytes.subarray(bytes.length >> 1))
  },
}

const keyDecoder: Decoder<{ kind: RecordKind; id: Uint8Array }> = {
  name: 'node/readKadKey',
  covers: ['kad-datastore.ts readKadKey'],
  maxBytes: 64,
  examples: () => [kadKey('home', CAST.ana.id), kadKey('region', CAST.north.id)],
  decode: readKadKey,
  encode: ({ kind, id }) => kadKey(kind, idText(kind, id)),
}

const recordBytes = (kind: RecordKind): Uint8Array =>
  kind === 'home'
    ? toBinary(HomeRecordSchema, homeRecord(CAST.ana))
    : toBinary(SignedRecordSchema, regionRecord(CAST.north))

/**
 * What a DHT peer asks this node to store, as `length of the key u8 ‖ key ‖ value`: Kademlia's own record around both has
 * been read and written again by libp2p when it comes here.
 */
async function putDecoder(): Promise<Decoder<undefined>> {
  const table = await openRecordTable(memoryStorage(), clock, silentEvents)
  const open = createVerifier(clock, VERIFIED_PUTS_MAX)
  const base = { put: async (key: unknown) => key } as unknown as Datastore
  const store = kadDatastore(
    base,
    { table, clock, admission: openAdmission, events: silentEvents, open },
    createKadCallers(clock),
  )
  const name = { toString: () => `${KAD_PREFIX}/record/x` } as unknown as Parameters<Datastore['put']>[0]
  const put = (kind: RecordKind, id: string): Uint8Array => {
    const key = kadKey(kind, id)
    return new Uint8Array(Buffer.concat([Buffer.of(key.length), key, recordBytes(kind)]))
  }
  return {
    name: 'node/kadDatastore',
    covers: ['kad-datastore.ts kadDatastore', 'dht.ts createVerifier', 'record-kinds.ts openEntry'],
    maxBytes: KAD_MESSAGE_MAX_BYTES,
    examples: () => [put('home', CAST.ana.id), put('region', CAST.north.id)],
    wrap(bytes) {
      const value = 1 + (bytes[0] ?? 0)
      return new KadRecord(bytes.slice(1, value), bytes.slice(value), new Date(NOW_MS)).serialize()
    },
    async decode(bytes) {
      await store.put(name, bytes)
      return undefined
    },
  }
}

/** A stream whose other end is the fuzzer. */
function fakeStream(written: (bytes: Uint8Array) => void): {
  stream: PeerStream
  events: () => StreamEvents | undefined
  over: () => boolean
} {
  let taken: StreamEvents | undefined
  let ended = false
  const end = (): void => {
    ended = true
  }
  const write = (bytes: Uint8Array): boolean => {
    written(bytes)
    return true
  }
  const open = (events: StreamEvents) => {
    taken = events
    return { write, end }
  }
  return { stream: { peerId: PEER_ID, peerKey: new Uint8Array(32), open }, events: () => taken, over: () => ended }
}

function requestDecoders(): Decoder[] {
  let accept: (stream: PeerStream) => void = () => undefined
  let dialled = fakeStream(() => undefined)
  const network: RequestNetwork = {
    serve: (taker) => {
      accept = taker
    },
    dial: async () => dialled.stream,
  }
  const links = { regionOf: () => CAST.south.id, peerOf: () => PEER_ID, reach: async () => true }
  const requests = createRequests({ network, links, clock, events: silentEvents })
  requests.handle('records', async (_from, body) => body)
  const cut = (over: boolean): void => {
    if (over) throw new ParleyError('malformed', 'the stream was cut')
  }
  const request = create(LinkRequestSchema, { id: 1, method: 'records', body: new Uint8Array(40) })
  const refusal = refusalOf(new ParleyError('overloaded', 'later'))
  const responses = [
    { id: 1, body: new Uint8Array(40) },
    { id: 1, refusal },
    { id: 7, body: new Uint8Array(1) },
  ]
  const served: Decoder<undefined> = {
    name: 'node/requests-served',
    covers: ['requests.ts createRequests'],
    maxBytes: REQUEST_FRAME_MAX_BYTES,
    examples: () => [frame(toBinary(LinkRequestSchema, request))],
    decode(bytes) {
      const peer = fakeStream(() => undefined)
      accept(peer.stream)
      peer.events()!.received(bytes)
      cut(peer.over())
      return undefined
    },
  }
  const answered: Decoder<undefined> = {
    name: 'node/requests-answered',
    covers: [],
    maxBytes: REQUEST_FRAME_MAX_BYTES,
    examples: () =>
      responses.map((response) => frame(toBinary(LinkResponseSchema, create(LinkResponseSchema, response)))),
    async decode(bytes) {
      dialled = fakeStream(() => undefined)
      const { events, over } = dialled
      const answer = requests.request(CAST.south.id, 'records', new Uint8Array(4), 1_000).catch(() => undefined)
      while (events() === undefined) await Promise.resolve()
      events()!.received(bytes)
      const wasCut = over()
      events()!.closed(undefined)
      await answer
      cut(wasCut)
      return undefined
    },
  }
  return [served, answered]
}

const peerIdDecoder: Decoder<string> = {
  name: 'node/peerIdOf',
  covers: ['host.ts peerIdOf'],
  maxBytes: ADDRESS_MAX_CHARS,
  examples: () => [bytesOfText(PEER_ID)],
  decode: (bytes) => peerIdOf(textOf(bytes)).toString(),
  encode: bytesOfText,
}

const addressDecoder: Decoder<boolean> = {
  name: 'node/isPrivateAddress',
  covers: ['addresses.ts isPrivateAddress'],
  maxBytes: ADDRESS_MAX_CHARS,
  examples: () =>
    ['/ip4/127.0.0.1/tcp/4001/ws', '/ip6/::ffff:10.0.0.1/tcp/1/ws', '/dns4/a.example/tcp/1/ws'].map(bytesOfText),
  decode: (bytes) => isPrivateAddress(textOf(bytes)),
}

export async function decoders(): Promise<Decoder[]> {
  return [
    frameDecoder,
    streamDecoder,
    kadMessageDecoder,
    keyDecoder,
    await putDecoder(),
    ...requestDecoders(),
    peerIdDecoder,
    addressDecoder,
  ]
}
