// Askers that do not read what they are answered.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { webSockets } from '@libp2p/websockets'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { decode, LinkRequestSchema, LinkResponseSchema } from '#protocol'
import { recordOf, servingSide, type TestNode, testNode, testRegion, until } from './fixtures.ts'
import {
  QUOTAS,
  REQUEST_ANSWERS_MAX_BYTES,
  REQUEST_FRAME_MAX_BYTES,
  REQUEST_PROTOCOL,
  REQUEST_REPLIES_MAX_BYTES,
  REQUEST_REPLY_MIN_BYTES,
  REQUESTS_UNKNOWN_BURST,
  type RequestMethod,
} from './limits.ts'
import type { PeerStream } from './link-network.ts'
import type { Requests } from './requests.ts'
import { FrameReader, frame } from './wire.ts'

const ROUND = 64
/** What the stranger's side takes before it holds back: yamux's first window, which may not grow. */
const WINDOW_BYTES = 256 * 1024
const [north, south] = [testRegion(), testRegion()]
let asked: TestNode
let asking: TestNode
let refused = 0

before(async () => {
  asked = await testNode({ region: north, events: { requestRefused: () => void refused++ } })
  asking = await testNode({ region: south })
  asking.node.directory.learnRegionRecord(recordOf(north, [asked.node], 1))
  for (const { node } of [asked, asking])
    node.links.serve({ up: () => undefined, down: () => undefined, items: () => undefined })
  asked.node.handle('records', async (_, body) => body)
})

after(async () => {
  await asking.node[Symbol.asyncDispose]()
  await asked.node[Symbol.asyncDispose]()
})

const request = (method: string): Uint8Array =>
  frame(toBinary(LinkRequestSchema, create(LinkRequestSchema, { id: 1, method })))
const times = (count: number, method: string): Uint8Array =>
  Buffer.concat(Array<Uint8Array>(count).fill(request(method)))

test('a stranger that never reads has its stream ended; others are served', async () => {
  const stranger = await createLibp2p({
    transports: [webSockets()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({ streamOptions: { maxStreamWindowSize: WINDOW_BYTES } })],
  })
  try {
    const connection = await stranger.dial(multiaddr(asked.node.multiaddrs()[0]!))
    const stream = await connection.newStream(REQUEST_PROTOCOL)
    stream.addEventListener('message', () => undefined)
    const ended = once(stream, 'close', { signal: AbortSignal.timeout(10_000) })
    stream.pause()
    // A refusal has more than 32 bytes: so many fill the window and all that may wait.
    const enough = REQUEST_REPLIES_MAX_BYTES / REQUEST_REPLY_MIN_BYTES + WINDOW_BYTES / 32
    let sent = 0
    const rounds = async (): Promise<void> => {
      while (sent < enough && stream.writeStatus === 'writable') {
        stream.send(times(ROUND, 'x'.repeat(32)))
        sent += ROUND
        await until('all are refused', () => refused >= sent || stream.writeStatus !== 'writable')
      }
    }
    await Promise.all([ended, rounds()])
    assert.ok(sent >= REQUESTS_UNKNOWN_BURST && sent < enough, `${sent} requests`)
    const answer = await asking.node.request(north.regionId, 'records', Buffer.from('still there'), 5_000)
    assert.equal(Buffer.from(answer).toString(), 'still there')
  } finally {
    await stranger.stop()
  }
})

type Heard = Parameters<PeerStream['open']>[0]
type Served = { heard: Heard; requests: Requests; written: Uint8Array[]; room: number; ended: number }

/** A stream whose asker makes room by hand. As libp2p does, it keeps what is written whether there is room or not. */
function served(): Served {
  const { requests, accept } = servingSide(testRegion().regionId)
  const state: Omit<Served, 'heard'> & { heard?: Heard } = { requests, written: [], room: 0, ended: 0 }
  accept({
    peerId: 'peer',
    peerKey: new Uint8Array(32),
    open(events) {
      state.heard = events
      return {
        write(bytes) {
          state.written.push(bytes)
          return state.written.reduce((sum, it) => sum + it.length, 0) <= state.room
        },
        end: () => void state.ended++,
      }
    },
  })
  return state as Served
}

/** Asks and lets what is answered settle, before it asks again. */
async function ask(heard: Heard, method: RequestMethod | 'x', count: number): Promise<void> {
  for (let left = count; left > 0; left -= ROUND) {
    heard.received(times(Math.min(ROUND, left), method))
    await new Promise(setImmediate)
  }
}

const codes = (written: readonly Uint8Array[]): string[] => {
  const reader = new FrameReader()
  for (const bytes of written) reader.push(bytes.slice())
  const found: string[] = []
  for (let bytes = reader.next(REQUEST_FRAME_MAX_BYTES); bytes; bytes = reader.next(REQUEST_FRAME_MAX_BYTES))
    found.push(decode(LinkResponseSchema, bytes, REQUEST_FRAME_MAX_BYTES).refusal?.code ?? 'answer')
  return found
}

const WAITING_MOST = REQUEST_REPLIES_MAX_BYTES / REQUEST_REPLY_MIN_BYTES

test('refusals wait beside the stream up to a limit, also when it takes a few bytes now and then', async () => {
  const state = served()
  await ask(state.heard, 'x', 1)
  for (let asked = 0; asked < WAITING_MOST; asked += ROUND) {
    state.heard.drained()
    await ask(state.heard, 'x', ROUND)
  }
  assert.deepEqual(codes(state.written), ['not_found'], 'the stream is given nothing that it cannot take')
  assert.equal(state.ended, 0)
  await ask(state.heard, 'x', 1)
  assert.equal(state.ended, 1)
  state.room = Number.POSITIVE_INFINITY
  state.heard.drained()
  await ask(state.heard, 'x', 1)
  assert.equal(codes(state.written).length, 1, 'nothing is left of what waited')
})

test('who asks too often for what there is not is told to wait, and hears so once it reads', async () => {
  const state = served()
  await ask(state.heard, 'x', REQUESTS_UNKNOWN_BURST + ROUND)
  state.room = Number.POSITIVE_INFINITY
  state.heard.drained()
  const expected = [...Array(REQUESTS_UNKNOWN_BURST).fill('not_found'), ...Array(ROUND).fill('overloaded')]
  assert.deepEqual(codes(state.written), expected)
  assert.equal(state.ended, 0)
})

test('large answers that have to wait become refusals; the stream goes on', async () => {
  const state = served()
  state.requests.handle('bundle', async () => new Uint8Array(QUOTAS.bundle.responseMaxBytes))
  await ask(state.heard, 'bundle', ROUND)
  state.room = Number.POSITIVE_INFINITY
  state.heard.drained()
  const answers = 1 + Math.floor(REQUEST_ANSWERS_MAX_BYTES / (QUOTAS.bundle.responseMaxBytes + 32))
  const found = codes(state.written)
  assert.deepEqual(found, [...Array(answers).fill('answer'), ...Array(ROUND - answers).fill('overloaded')])
  state.written.length = 0
  await ask(state.heard, 'bundle', 1)
  assert.deepEqual([...codes(state.written), state.ended], ['answer', 0])
})
