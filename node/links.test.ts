import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import type { Libp2p, Stream } from '@libp2p/interface'
import { webSockets } from '@libp2p/websockets'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { type LinkHello, LinkHelloSchema, ParleyError, type SignedRecord, signingKey, systemRandom } from '#protocol'
import { recordOf, type TestNode, type TestRegion, testNode, testRegion, until } from './fixtures.ts'
import type { LinkItem, ParleyNode } from './index.ts'
import { LINK_CREDIT_BYTES, LINK_PROTOCOL, LINK_QUEUE_MAX_BYTES } from './limits.ts'
import { decodeFrame, encodeBatch, encodeHello, encodePing } from './link-codec.ts'
import { certifyNode } from './region.ts'
import { FrameReader } from './wire.ts'

type Seen = {
  readonly up: string[]
  readonly down: (string | undefined)[]
  readonly items: LinkItem[]
  refuse: string | undefined
}

function watch(node: ParleyNode): Seen {
  const seen: Seen = { up: [], down: [], items: [], refuse: undefined }
  node.links.serve({
    up: (_region, peer) => void seen.up.push(peer),
    down: (_region, _peer, error) => void seen.down.push(error?.code),
    items(_region, items) {
      if (items.some((item) => Buffer.from(item.body).toString() === seen.refuse))
        throw new ParleyError('not_host', 'not from you')
      seen.items.push(...items)
    },
  })
  return seen
}

const id = (n: number): Uint8Array => new Uint8Array(32).fill(n)
const item = (n: number, text: string): LinkItem => ({ id: id(n), kind: 3, body: new Uint8Array(Buffer.from(text)) })
const texts = (items: readonly LinkItem[]): string[] =>
  items.map(({ id: [first], body }) => `${first} ${Buffer.from(body)}`)

/** Two regions with a node each that know each other's records. */
async function pair(): Promise<
  AsyncDisposable & { a: TestNode; b: TestNode; north: TestRegion; south: TestRegion; seenA: Seen; seenB: Seen }
> {
  const [north, south] = [testRegion(), testRegion()]
  const a = await testNode({ region: north })
  const b = await testNode({ region: south })
  a.node.directory.learnRegionRecord(recordOf(south, [b.node], 1))
  b.node.directory.learnRegionRecord(recordOf(north, [a.node], 1))
  return {
    a,
    b,
    north,
    south,
    seenA: watch(a.node),
    seenB: watch(b.node),
    async [Symbol.asyncDispose]() {
      await a.node[Symbol.asyncDispose]()
      await b.node[Symbol.asyncDispose]()
    },
  }
}

test('batches arrive in order with their ids', async () => {
  await using both = await pair()
  const { b, north, seenA } = both
  b.node.links.want(north.regionId)
  await until('up', () => b.node.links.isUp(north.regionId))
  const sent: string[] = []
  for (let i = 0; i < 2_000; i++) {
    await until('room', () => b.node.links.send(north.regionId, item(i % 5, `${i}`)))
    sent.push(`${i % 5} ${i}`)
  }
  await until('all', () => seenA.items.length === sent.length)
  assert.deepEqual(texts(seenA.items), sent)
  assert.equal(seenA.items[0]?.kind, 3)
  await until('consumed', () => b.node.links.backlog(north.regionId) === 0)
})

test('both sides dialling at once leaves one link, on which nothing is lost', async () => {
  await using both = await pair()
  const { a, b, north, south, seenA, seenB } = both
  a.node.links.want(south.regionId)
  b.node.links.want(north.regionId)
  // What was in flight on the link that went is sent again by its owner: as the relay's feeds do.
  await until('settled', () => {
    a.node.links.send(south.regionId, item(1, 'probe'))
    b.node.links.send(north.regionId, item(1, 'probe'))
    return texts(seenA.items).includes('1 probe') && texts(seenB.items).includes('1 probe')
  })
  const downs = seenA.down.length + seenB.down.length
  assert.ok(seenA.up.length <= 2 && seenB.up.length <= 2, `${seenA.up.length} and ${seenB.up.length} links`)
  for (let i = 0; i < 100; i++) {
    a.node.links.send(south.regionId, item(2, `${i}`))
    b.node.links.send(north.regionId, item(2, `${i}`))
  }
  const count = ({ items }: Seen): number => items.filter(({ id: [first] }) => first === 2).length
  await until('all', () => count(seenA) === 100 && count(seenB) === 100)
  assert.equal(seenA.down.length + seenB.down.length, downs)
  assert.deepEqual([seenA.up.length - seenA.down.length, seenB.up.length - seenB.down.length], [1, 1])
})

test('a link that was lost comes back by itself, and at once when the peer restarts', async () => {
  await using both = await pair()
  const { a, b, north, south, seenA } = both
  a.node.links.want(south.regionId)
  await until('up', () => b.node.links.isUp(north.regionId) && a.node.links.isUp(south.regionId))
  b.node.links.close(north.regionId, new ParleyError('overloaded', 'for now'))
  await until('told why', () => seenA.down.includes('overloaded'))
  await until('up again', () => a.node.links.isUp(south.regionId) && b.node.links.isUp(north.regionId))
  const port = Number(b.node.multiaddrs()[0]!.split('/')[4])
  await b.node[Symbol.asyncDispose]()
  await until('down', () => !a.node.links.isUp(south.regionId))
  await using again = (await testNode({ region: south, storage: b.storage, secret: b.secret, port })).node
  const seen = watch(again)
  await until('up after the restart', () => a.node.links.isUp(south.regionId) && again.links.isUp(north.regionId))
  assert.ok(a.node.links.send(south.regionId, item(7, 'hello again')))
  await until('arrived', () => seen.items.length === 1)
})

test('an item that its handler refuses cuts that link with the reason; others go on', async () => {
  await using both = await pair()
  const { a, b, north, south, seenA, seenB } = both
  const east = testRegion()
  await using third = (await testNode({ region: east })).node
  watch(third)
  third.directory.learnRegionRecord(recordOf(north, [a.node], 1))
  third.links.want(north.regionId)
  b.node.links.want(north.regionId)
  await until(
    'both up',
    () => a.node.links.up().length === 2 && b.node.links.isUp(north.regionId) && third.links.isUp(north.regionId),
  )
  seenA.refuse = 'bad'
  b.node.links.send(north.regionId, item(1, 'bad'))
  await until('cut', () => seenA.down.includes('not_host') && seenB.down.includes('not_host'))
  assert.ok(third.links.isUp(north.regionId))
  third.links.send(north.regionId, item(2, 'good'))
  await until('the other still works', () => texts(seenA.items).includes('2 good'))
  await until('and the cut one may come back', () => a.node.links.isUp(south.regionId))
  assert.throws(() => b.node.links.send(north.regionId, { ...item(1, ''), body: new Uint8Array(2 ** 20) }), {
    code: 'too_large',
  })
})

// --- a peer that speaks bytes of its own

type RawLink = {
  readonly stream: Stream
  readonly frames: ReturnType<typeof decodeFrame>[]
  readonly closed: () => boolean
}

async function rawPeer(): Promise<AsyncDisposable & { readonly peer: Libp2p; readonly publicKey: Uint8Array }> {
  const secret = systemRandom.bytes(32)
  const peer = await createLibp2p({
    privateKey: await generateKeyPairFromSeed('Ed25519', secret),
    transports: [webSockets()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
  })
  return { peer, publicKey: signingKey(secret).publicKey, [Symbol.asyncDispose]: async () => void (await peer.stop()) }
}

async function rawLink(
  peer: Libp2p,
  to: ParleyNode,
  certificate: SignedRecord | undefined,
  hello: Partial<LinkHello> = {},
): Promise<RawLink> {
  const connection = await peer.dial(multiaddr(to.multiaddrs()[0]!))
  const stream = await connection.newStream(LINK_PROTOCOL)
  const frames: RawLink['frames'] = []
  const reader = new FrameReader()
  let closed = false
  stream.addEventListener('message', ({ data }) => {
    reader.push(data.subarray())
    for (let bytes = reader.next(2 ** 21); bytes; bytes = reader.next(2 ** 21)) frames.push(decodeFrame(bytes, 2 ** 21))
  })
  for (const event of ['close', 'remoteCloseWrite'] as const) {
    stream.addEventListener(event, () => {
      closed = true
    })
  }
  const own = create(LinkHelloSchema, {
    version: 1,
    bootNonce: systemRandom.bytes(16),
    ...(certificate ? { certificate } : {}),
  })
  stream.send(encodeHello({ ...own, ...hello }))
  return { stream, frames, closed: () => closed }
}

const refusals = (link: RawLink): string[] =>
  link.frames.flatMap((frame) => (frame.case === 'refusal' ? [frame.value.code] : []))

test('who shows no certificate, or one that is not for this key, or an outdated one, gets no link', async () => {
  const [north, south] = [testRegion(), testRegion()]
  await using target = (await testNode({ region: north })).node
  const seen = watch(target)
  const newer = testRegion(2, south.root)
  target.directory.learnRegionRecord(recordOf(newer, [], 1))
  const revoking = testRegion()
  target.directory.learnRegionRecord(recordOf(revoking, [], 1, [revoking.keys.operational.publicKey]))
  const forge = (record: SignedRecord): SignedRecord => ({ ...record, signature: new Uint8Array(64) })
  const cases: [string, (mine: Uint8Array) => SignedRecord | undefined, Partial<LinkHello>, string][] = [
    ['no certificate', () => undefined, {}, 'not_admitted'],
    [
      'of another node',
      () => certifyNode(newer.keys, signingKey(systemRandom.bytes(32)).publicKey, 0),
      {},
      'not_granted',
    ],
    ['of a replaced root epoch', (mine) => certifyNode(south.keys, mine, 0), {}, 'too_old'],
    ['revoked', (mine) => certifyNode(revoking.keys, mine, 0), {}, 'not_granted'],
    ['expired', (mine) => certifyNode(newer.keys, mine, 1), {}, 'expired'],
    ['forged', (mine) => forge(certifyNode(newer.keys, mine, 0)), {}, 'bad_signature'],
    ['another version', (mine) => certifyNode(newer.keys, mine, 0), { version: 2 }, 'malformed'],
  ]
  for (const [what, certificate, hello, code] of cases) {
    await using raw = await rawPeer()
    const link = await rawLink(raw.peer, target, certificate(raw.publicKey), hello)
    await until(what, () => refusals(link).length > 0 && link.closed())
    assert.deepEqual(refusals(link), [code], what)
  }
  assert.deepEqual(seen.up, [])
})

test('gapped, truncated and misnamed batches, and frames over the limit, cut the link only', async () => {
  const [north, south] = [testRegion(), testRegion()]
  await using target = (await testNode({ region: north })).node
  const seen = watch(target)
  const good = encodeBatch({
    number: 1,
    names: [{ ref: 1, id: id(1) }],
    items: [{ ref: 1, kind: 3, body: new Uint8Array([1]) }],
  })
  const later = encodeBatch({ number: 3, names: [], items: [] })
  const misnamed = encodeBatch({ number: 2, names: [], items: [{ ref: 9, kind: 3, body: new Uint8Array() }] })
  const many = encodeBatch({
    number: 2,
    names: [],
    items: Array.from({ length: 20_000 }, () => ({ ref: 1, kind: 0, body: new Uint8Array() })),
  })
  const cases: [string, Uint8Array[], boolean, string | undefined][] = [
    ['a gap', [good, later], false, 'malformed'],
    ['twice', [good, good], false, 'malformed'],
    ['truncated', [good, good.subarray(0, 20)], true, 'malformed'],
    ['misnamed', [good, misnamed], false, 'bad_name'],
    ['too many items', [good, many], false, 'too_many'],
    ['a frame over the limit', [good, new Uint8Array([0, 255, 255, 255])], false, 'too_large'],
    ['bytes that are nothing', [good, new Uint8Array([0, 0, 0, 3, 1, 255, 255])], false, 'malformed'],
  ]
  for (const [i, [what, frames, end, code]] of cases.entries()) {
    await using raw = await rawPeer()
    const link = await rawLink(raw.peer, target, certifyNode(south.keys, raw.publicKey, 0))
    for (const bytes of frames) link.stream.send(bytes)
    if (end) await link.stream.close()
    await until(what, () => seen.down.length === i + 1)
    assert.equal(seen.down[i], code, what)
    assert.equal(seen.items.length, i + 1)
  }
})

test('credit bounds what is in flight, the queue what waits; who ignores credit is cut', async () => {
  const [north, south] = [testRegion(), testRegion()]
  await using target = (await testNode({ region: north })).node
  const seen = watch(target)
  await using raw = await rawPeer()
  const link = await rawLink(raw.peer, target, certifyNode(south.keys, raw.publicKey, 0))
  await until('up', () => target.links.isUp(south.regionId))
  const body = new Uint8Array(60_000)
  let queued = 0
  while (target.links.send(south.regionId, { id: id(1), kind: 1, body })) queued += body.length
  assert.ok(queued > LINK_QUEUE_MAX_BYTES * 0.9 && queued <= LINK_QUEUE_MAX_BYTES, 'the queue is full')
  const received = (): number =>
    link.frames.reduce((sum, frame) => sum + (frame.case === 'batch' ? frame.value.items.length * body.length : 0), 0)
  await until('credit and queue are full', () => {
    while (target.links.send(south.regionId, { id: id(1), kind: 1, body }));
    return target.links.backlog(south.regionId) > LINK_CREDIT_BYTES + LINK_QUEUE_MAX_BYTES - 2 * body.length
  })
  // What answers a ping comes behind everything that was sent before.
  link.stream.send(encodePing(1))
  await until('a pong', () => link.frames.some((frame) => frame.case === 'pong'))
  assert.ok(
    received() > LINK_CREDIT_BYTES * 0.9 && received() < LINK_CREDIT_BYTES + 2 ** 19,
    'what the credit allows, and no more',
  )
  assert.ok(!target.links.send(south.regionId, { id: id(1), kind: 1, body }))
  assert.equal(seen.down.length, 0)
  // A credit for more than was sent is a lie.
  link.stream.send(new Uint8Array([0, 0, 0, 8, 0x1a, 6, 8, 255, 255, 255, 255, 15]))
  await until('cut', () => seen.down.length === 1)
  assert.equal(seen.down[0], 'malformed')
})

test('a hundred idle sockets keep no new node out', async () => {
  const [north, south] = [testRegion(), testRegion()]
  const a = await testNode({ region: north })
  await using target = a.node
  watch(target)
  const port = Number(target.multiaddrs()[0]!.split('/')[4])
  const idle: Socket[] = []
  for (let i = 0; i < 100; i++) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    idle.push(socket)
    // Half of them begin a request and leave it there.
    if (i % 2 === 0) socket.write('GET / HTTP/1.1\r\nUpgrade: websocket\r\n')
  }
  await Promise.all(idle.map((socket) => (socket.connecting ? once(socket, 'connect') : undefined)))
  await using newcomer = (await testNode({ region: south, bootstrap: [target] })).node
  watch(newcomer)
  newcomer.directory.learnRegionRecord(recordOf(north, [target], 1))
  newcomer.links.want(north.regionId)
  await until('linked', () => newcomer.links.isUp(north.regionId))
  for (const socket of idle) socket.destroy()
})
