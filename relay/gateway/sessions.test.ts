import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { it } from 'node:test'
import { makeRegion } from '../fixtures.ts'
import { SIGN_IN_BYTES_MAX } from '../limits.ts'
import { startNode } from './test-node.ts'

const UPGRADE = [
  'GET /v1/session HTTP/1.1',
  'Host: x',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Protocol: parley.v1',
]
// Masked with zeros.
const PING = Buffer.from('898000000000', 'hex')
const PONG = '8a00'
/** The head of a message that is longer than what may be said before sign-in. */
const LARGE = Buffer.from(`82ff${(2 * SIGN_IN_BYTES_MAX).toString(16).padStart(16, '0')}00000000`, 'hex')

it('what a proxy sent before over the same connection does not count as said before sign-in, what comes after does', async () => {
  const node = await startNode(makeRegion())
  const proxy = connect(Number(new URL(node.url).port), '127.0.0.1')
  const answer = async (bytes: string | Buffer): Promise<Buffer> => {
    proxy.write(bytes)
    const [data] = await once(proxy, 'data', { signal: AbortSignal.timeout(5_000) })
    return data
  }
  const body = JSON.stringify({ manifest: 'A'.repeat(SIGN_IN_BYTES_MAX), head: '' })
  const head = ['POST /v1/accounts HTTP/1.1', 'Host: x', 'Content-Type: application/json']
  const post = `${[...head, `Content-Length: ${body.length}`].join('\r\n')}\r\n\r\n${body}`
  assert.match(`${await answer(post)}`, /^HTTP\/1\.1 4\d\d .*keep-alive/s)
  assert.match(`${await answer(`${UPGRADE.join('\r\n')}\r\n\r\n`)}`, /^HTTP\/1\.1 101 /)
  node.gateway.sessions.sweep()
  assert.equal((await answer(PING)).toString('hex'), PONG)
  proxy.on('error', () => undefined).resume()
  proxy.write(LARGE)
  proxy.write(Buffer.alloc(SIGN_IN_BYTES_MAX))
  const deadline = AbortSignal.timeout(5_000)
  while (node.gateway.sessions.counts().sockets > 0) {
    deadline.throwIfAborted()
    node.gateway.sessions.sweep()
    await new Promise(setImmediate)
  }
  proxy.destroy()
  await node.gateway[Symbol.asyncDispose]()
  await node.store[Symbol.asyncDispose]()
})
