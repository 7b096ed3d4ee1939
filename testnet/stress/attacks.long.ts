// Attacks that reach nothing, or whose relay does nothing about them, must not look like a relay that held.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { test } from 'node:test'
import type { Loader } from '../load/loader.ts'
import type { Order } from '../load/orders.ts'
import { tinyFragments } from './attacks-sockets.ts'
import type { AttackOrder, Place } from './orders.ts'
import { attackBy } from './row.ts'
import { stalledRegion } from './stalled-region.ts'

const ANYWHERE = { placed: { server: undefined, load: undefined, says: '' } }
const NOWHERE: Place = {
  origin: 'http://127.0.0.1:1',
  host: '127.0.0.1',
  clientPort: 1,
  meshPort: 1,
  multiaddr: '',
  peerId: '',
}
const order = (id: string, north: Place): AttackOrder => ({ id, north, south: north, full: false })

async function listening(server: Server): Promise<Place> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  server.unref()
  return { ...NOWHERE, clientPort: (server.address() as AddressInfo).port }
}

test('that the attack ends its own sockets does not make a server one that cuts them', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n'))
  })
  const run = await tinyFragments.prepare(order('tiny-fragments', await listening(server)))
  let ended = false
  const stopped = { now: () => ended, promise: Promise.resolve() }
  const running = run(stopped)
  ended = true
  const { times, faults } = await running
  assert.equal(times, 50)
  assert.match(faults?.join() ?? '', /^50 of 50 were not cut/)
  server.close()
})

test('an attack that reached nothing is a fault of its row', async () => {
  await using pressure = await attackBy(order('slow-headers', NOWHERE), ANYWHERE)
  pressure.go()
  const { did, faults } = await pressure.stop()
  assert.match(did, /^0 dialled/)
  assert.match(faults?.[0] ?? '', /did nothing at all/)
})

test('an attacker that was killed is missed at once', async () => {
  await using pressure = await attackBy(order('slow-headers', NOWHERE), ANYWHERE)
  process.kill(pressure.pid ?? 0, 'SIGKILL')
  await assert.rejects(pressure.stop(), /the attacker ended \(SIGKILL\)/)
  await assert.rejects(pressure.stop(), /the attacker ended \(SIGKILL\)/)
})

test('what was written to a region that stood still, and did not arrive, is a fault', async () => {
  const asked: string[] = []
  const missing = ['still on its way: k 9 was sent, 8 was read']
  const loader: Loader = {
    pid: 0,
    async ask<T>(it: Order): Promise<T> {
      asked.push(it.do)
      return { faults: missing } as T
    },
    async [Symbol.asyncDispose]() {},
  }
  const signals: string[] = []
  const process = { signal: (it: NodeJS.Signals) => void signals.push(it) }
  await using pressure = await stalledRegion(process, { loader, group: 'between' })
  pressure.go()
  const { did, faults } = await pressure.stop()
  assert.deepEqual(signals, ['SIGSTOP', 'SIGCONT'])
  assert.deepEqual(asked, ['forget-faults', 'start', 'stop', 'mark'])
  assert.deepEqual(faults, [`people who write to it: ${missing[0]}`])
  assert.match(did, /not all/)
})
