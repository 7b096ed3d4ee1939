import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { ParleyError, SimulatedClock } from '#protocol'
import { makeRegion } from '../fixtures.ts'
import { CLOSE_PATIENCE_MS } from '../limits.ts'
import { refuseUpgrade } from './refusing.ts'
import { startNode } from './test-node.ts'

const UPGRADE = 'GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
const refusal = new ParleyError('not_found', 'sessions are elsewhere')

/** Takes what is written when it is told to. */
function slowSocket() {
  let taken = (): void => undefined
  const socket = new Duplex({
    read: () => undefined,
    write(_chunk, _encoding, done) {
      taken = done
    },
  })
  return { socket, take: () => taken() }
}

describe('a refused upgrade', () => {
  it('of a client that says more and never closes is cut off, and does not keep a relay from stopping', async () => {
    const node = await startNode(makeRegion())
    const { port } = new URL(node.url)
    const client = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
    const cutOff = once(client, 'error', { signal: AbortSignal.timeout(5_000) })
    client.write(UPGRADE)
    const [answer] = await once(client, 'data')
    assert.match(`${answer}`, /^HTTP\/1\.1 404 /)
    const say = (): void => {
      if (!client.destroyed) client.write('x', () => setImmediate(say))
    }
    say()
    const [error] = await cutOff
    assert.match(error.code, /^(EPIPE|ECONNRESET)$/)
    const silent = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
    silent.write(UPGRADE)
    await once(silent.resume(), 'end')
    const stopped = node.gateway[Symbol.asyncDispose]().then(() => 'stopped')
    const patience = once(AbortSignal.timeout(5_000), 'abort').then(() => 'not stopped')
    assert.equal(await Promise.race([stopped, patience]), 'stopped')
    silent.destroy()
    await node.store[Symbol.asyncDispose]()
  })

  it('that cannot be written is cut when it has had its time, and not before', () => {
    const clock = new SimulatedClock(0)
    const { socket } = slowSocket()
    refuseUpgrade(socket, refusal, clock)
    assert.equal(clock.step(CLOSE_PATIENCE_MS - 1), false)
    assert.equal(socket.destroyed, false)
    assert.equal(clock.step(CLOSE_PATIENCE_MS), true)
    assert.equal(socket.destroyed, true)
  })

  it('that was written leaves no timer behind', async () => {
    const clock = new SimulatedClock(0)
    const { socket, take } = slowSocket()
    refuseUpgrade(socket, refusal, clock)
    take()
    await once(socket, 'close')
    assert.equal(clock.step(CLOSE_PATIENCE_MS), false)
  })
})
