import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { test } from 'node:test'
import { WebSocketServer } from 'ws'
import { recordOf, testNode, testRegion, until } from './fixtures.ts'
import { SOCKET_MESSAGE_MAX_BYTES } from './limits.ts'
import { dialSocket, MeshSocket, urlOf } from './mesh-sockets.ts'

async function pair() {
  const http = createServer().listen(0, '127.0.0.1')
  const server = new WebSocketServer({ server: http, WebSocket: MeshSocket })
  await once(http, 'listening')
  const accepted = once(server, 'connection')
  const dialled = await dialSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`, undefined)
  const [taken] = (await accepted) as [MeshSocket]
  return {
    dialled,
    taken,
    async [Symbol.asyncDispose]() {
      dialled.terminate()
      taken.terminate()
      server.close()
      http.close()
      await once(http, 'close')
    },
  }
}

function listen(socket: MeshSocket): string[] {
  const heard: string[] = []
  socket.on('message', (data) => heard.push(Buffer.from(data as ArrayBuffer).toString()))
  return heard
}

test('what is sent within one moment is one message, both ways', async () => {
  await using both = await pair()
  const [here, there] = [listen(both.dialled), listen(both.taken)]
  for (const text of ['a', 'b', 'c']) both.dialled.send(Buffer.from(text))
  for (const text of ['x', 'y']) both.taken.send(Buffer.from(text))
  await until('both', () => here.length > 0 && there.length > 0)
  both.dialled.send(Buffer.from('later'))
  await until('the next', () => there.length > 1)
  assert.deepEqual(there, ['abc', 'later'])
  assert.deepEqual(here, ['xy'])
})

test('a large message is heard in pieces, and nothing of it is lost when the socket closes', async () => {
  await using both = await pair()
  const pieces: Buffer[] = []
  both.dialled.on('message', (data) => pieces.push(Buffer.from(data as ArrayBuffer)))
  const sent = randomBytes(200_000)
  both.taken.send(sent.subarray(0, 150_000))
  await until('the beginning', () => pieces.length > 0)
  both.taken.send(sent.subarray(150_000))
  both.taken.close()
  await once(both.dialled, 'close')
  assert.ok(pieces.length > 2)
  assert.ok(Buffer.concat(pieces).equals(sent))
})

test('what is too much for one message leaves at once', async () => {
  await using both = await pair()
  const sizes: number[] = []
  both.taken.on('message', (data) => sizes.push((data as Buffer).length))
  const half = Buffer.alloc(SOCKET_MESSAGE_MAX_BYTES / 2)
  for (let i = 0; i < 3; i++) both.dialled.send(half)
  await until('all', () => sizes.length === 2)
  assert.deepEqual(sizes, [2 * half.length, half.length])
})

test('a socket that closes sends what it has, one that is given up is gone at once', async () => {
  await using both = await pair()
  const there = listen(both.taken)
  both.dialled.send(Buffer.from('last'))
  both.dialled.close()
  await once(both.taken, 'close')
  assert.deepEqual(there, ['last'])

  await using other = await pair()
  const lost = once(other.taken, 'close')
  other.dialled.close(1_006)
  assert.equal((await lost)[0], 1_006)
})

test('a dial that is given up ends', async () => {
  const silent = createServer()
  const asked = once(silent, 'upgrade')
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const abort = new AbortController()
  const dialled = dialSocket(`ws://127.0.0.1:${(silent.address() as AddressInfo).port}`, abort.signal)
  const [, socket] = (await asked) as [unknown, Socket]
  abort.abort()
  await assert.rejects(dialled, /closed/)
  socket.destroy()
  silent.close()
})

test('which addresses are dialled from here', () => {
  assert.equal(urlOf('/ip4/127.0.0.1/tcp/4001/ws/p2p/12D3Koo'), 'ws://127.0.0.1:4001')
  assert.equal(urlOf('/ip6/::1/tcp/4001/ws'), 'ws://[::1]:4001')
  assert.equal(urlOf('/dns4/relay.example.org/tcp/443/wss'), 'wss://relay.example.org:443')
  assert.equal(urlOf('/dns/relay.example.org/tcp/443/tls/ws'), 'wss://relay.example.org:443')
  assert.equal(urlOf('/ip4/127.0.0.1/tcp/4001'), undefined)
  assert.equal(urlOf('/ip4/127.0.0.1/tcp/443/tls/sni/example.org/ws'), undefined)
})

test('both ends of a connection between nodes are such sockets', async (t) => {
  const send = t.mock.method(MeshSocket.prototype, 'send')
  const [north, south] = [testRegion(), testRegion()]
  const a = await testNode({ region: north })
  await using owned = new AsyncDisposableStack()
  owned.use(a.node)
  const b = await testNode({ region: south })
  owned.use(b.node)
  a.node.directory.learnRegionRecord(recordOf(south, [b.node], 1))
  b.node.directory.learnRegionRecord(recordOf(north, [a.node], 1))
  for (const { node } of [a, b]) node.links.serve({ up: () => {}, down: () => {}, items: () => {} })
  b.node.links.want(north.regionId)
  await until('up', () => a.node.links.isUp(south.regionId))
  assert.equal(new Set(send.mock.calls.map((call) => call.this)).size, 2)
})
