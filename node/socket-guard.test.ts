import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { test } from 'node:test'
import { SimulatedClock } from '#protocol'
import { until } from './fixtures.ts'
import { PENDING_MAX, PENDING_PER_ADDRESS_MAX, UPGRADE_MAX_MS, UPGRADE_SWEEP_MS } from './limits.ts'
import { createSocketGuard } from './socket-guard.ts'

/** Sockets of other addresses than this machine's. */
function town() {
  const server = new EventEmitter()
  const guard = createSocketGuard(new SimulatedClock(0))
  guard.attach(server as unknown as Server)
  let ports = 0
  const dial = (address: string) => {
    const socket = Object.assign(new EventEmitter(), {
      remoteAddress: address,
      remotePort: ++ports,
      bytesRead: 0,
      gone: false,
      destroy() {
        socket.gone = true
        socket.emit('close')
      },
    })
    server.emit('connection', socket)
    return socket
  }
  return { guard, dial }
}

test('idle ones go when their time is up; authenticated ones stay', async () => {
  const clock = new SimulatedClock(0)
  const guard = createSocketGuard(clock)
  const server = createServer(() => undefined)
  guard.attach(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const sockets: Socket[] = []
  const dial = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.resume()
    sockets.push(socket)
    const before = guard.pending()
    await once(socket, 'connect')
    await until('accepted', () => guard.pending() > before)
    return socket
  }
  const known = await dial()
  guard.authenticated('127.0.0.1', known.localPort!)
  assert.equal(guard.pending(), 0)
  for (let i = 0; i < 5; i++) await dial()
  while (clock.step(UPGRADE_MAX_MS + UPGRADE_SWEEP_MS + 1));
  assert.equal(guard.pending(), 0)
  await until('all idle ones are gone', () => sockets.slice(1).every((socket) => socket.closed))
  assert.ok(!known.closed)
  for (const socket of sockets) socket.destroy()
  guard.close()
  server.close()
})

test('of too many of one address the oldest silent one goes, then the oldest', () => {
  const { guard, dial } = town()
  const sockets = Array.from({ length: PENDING_PER_ADDRESS_MAX }, () => dial('192.0.2.1'))
  const other = dial('192.0.2.2')
  sockets[0]!.bytesRead = 1
  for (let i = 0; i < 20; i++) dial('192.0.2.1')
  assert.deepEqual(
    sockets.flatMap(({ gone }, i) => (gone ? [i] : [])),
    Array.from({ length: 20 }, (_, i) => i + 1),
  )
  assert.equal(guard.pending(), PENDING_PER_ADDRESS_MAX + 1)
  for (const socket of sockets) socket.bytesRead = 1
  const { guard: full, dial: dialFull } = town()
  const spoken = Array.from({ length: PENDING_PER_ADDRESS_MAX }, () => dialFull('192.0.2.1'))
  for (const socket of spoken) socket.bytesRead = 1
  const fresh = dialFull('192.0.2.1')
  assert.ok(spoken[0]!.gone && !fresh.gone && !other.gone)
  assert.equal(full.pending(), PENDING_PER_ADDRESS_MAX)
})

test('a flood of silent sockets of this machine, and of all addresses together, leaves those that speak', () => {
  const { guard, dial } = town()
  const honest = dial('127.0.0.1')
  const slow = dial('127.0.0.1')
  honest.bytesRead = 100
  for (let i = 0; i < 2 * PENDING_MAX; i++) dial(i % 2 === 0 ? '127.0.0.1' : `2001:db8::${i.toString(16)}`)
  assert.ok(!honest.gone && slow.gone)
  assert.equal(guard.pending(), PENDING_MAX)
})
