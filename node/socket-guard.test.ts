import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { SimulatedClock } from '#protocol'
import { until } from './fixtures.ts'
import { PENDING_PER_ADDRESS_MAX, UPGRADE_MAX_MS, UPGRADE_SWEEP_MS } from './limits.ts'
import { createSocketGuard } from './socket-guard.ts'

test('of too many idle sockets the oldest goes; the rest when their time is up; authenticated ones stay', async () => {
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
    await once(socket, 'connect')
    await until('accepted', () => guard.pending() > 0)
    return socket
  }
  const known = await dial()
  guard.authenticated('127.0.0.1', known.localPort!)
  assert.equal(guard.pending(), 0)
  for (let i = 0; i < PENDING_PER_ADDRESS_MAX + 20; i++) await dial()
  await until('the oldest are gone', () => sockets.filter((socket) => socket.closed).length === 20)
  assert.ok(sockets.slice(1, 21).every((socket) => socket.closed) && !known.closed)
  assert.equal(guard.pending(), PENDING_PER_ADDRESS_MAX)
  while (clock.step(UPGRADE_MAX_MS + UPGRADE_SWEEP_MS + 1));
  assert.equal(guard.pending(), 0)
  await until('all idle ones are gone', () => sockets.slice(1).every((socket) => socket.closed))
  assert.ok(!known.closed)
  for (const socket of sockets) socket.destroy()
  guard.close()
  server.close()
})
