import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Clock, ParleyError, systemClock, systemRandom } from '#protocol'
import { readHomeRegion } from './account.ts'
import { type ConnectionPorts, type ConnectionState, keepConnected } from './connection.ts'
import { createProfileFile, type ProfileFile } from './db/profile-file.ts'
import { CONNECT_MS, KEEP_ALIVE_MS, RECONNECT_FIRST_MS, RECONNECT_GROWTH, SESSION_HEALTHY_MS } from './limits.ts'
import { regionAt } from './regions.ts'
import { registerNew } from './registration.ts'
import { proofOf } from './remedies.ts'
import { SocketHome } from './testing/socket-home.ts'

const directory = mkdtempSync(join(tmpdir(), 'parley-connection-'))
after(() => rmSync(directory, { recursive: true, force: true }))

type Held = (state: ConnectionState) => boolean
type Tried = Partial<ConnectionPorts> & Pick<ConnectionPorts, 'region' | 'proof'>

/** The first state that is asked for, of a connection that is stopped then. */
async function stateOf(ports: Tried, holds: Held): Promise<ConnectionState> {
  const { promise, resolve } = Promise.withResolvers<ConnectionState>()
  const connection = keepConnected({
    clock: systemClock,
    random: systemRandom,
    online: () => undefined,
    offline: () => undefined,
    receive: () => undefined,
    remedy: async () => 'later',
    changed: (state) => {
      if (holds(state)) resolve(state)
    },
    ...ports,
  })
  connection.start()
  const state = await promise
  connection.stop()
  return state
}

const ended: Held = ({ is }) => is === 'stopped'
const gone = (): never => {
  throw new Error('disk I/O error')
}

test('a profile that cannot be read or written stops the connection and says so', async () => {
  await using home = await SocketHome.start()
  const region = await regionAt(home.origin, systemClock)
  const proof = () => assert.fail('nobody asked for a proof')
  for (const ports of [
    { region: gone, proof },
    { region: () => region, proof: gone },
  ]) {
    const state = await stateOf(ports, ended)
    assert.ok(state.is === 'stopped')
    assert.equal(state.error?.code, 'store_damaged')
    assert.match(state.error.message, /disk I\/O error/)
  }
})

test('a home behind a proxy that cuts its answer off is tried again', async () => {
  await using home = await SocketHome.start()
  const proxy = createServer().on('upgrade', (_, socket) => {
    socket.end('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 100\r\n\r\nBad')
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const known = await regionAt(home.origin, systemClock)
  const clientUrls = [`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`]
  const region = { ...known, nodes: known.nodes.map((node) => ({ ...node, clientUrls })) }
  const again: Held = (state) => state.is === 'connecting' && state.error !== undefined
  const state = await stateOf({ region: () => region, proof: gone }, again)
  assert.ok(state.is === 'connecting')
  assert.equal(state.error?.code, 'unreachable')
  proxy.close()
})

/** Waits between connections are over at once, and are written down; how long a session lasts is told. */
function handClock(): { clock: Clock; waits: number[]; pass(ms: number): void } {
  const waits: number[] = []
  let passed = 0
  const after: Clock['after'] = (ms, callback) => {
    if (ms === CONNECT_MS || ms === KEEP_ALIVE_MS) return { cancel: () => undefined }
    waits.push(ms)
    const timer = setImmediate(callback)
    return { cancel: () => clearImmediate(timer) }
  }
  const pass = (ms: number): void => {
    passed += ms
  }
  return { clock: { now: systemClock.now, monotonic: () => passed, after }, waits, pass }
}

function portsOf({ db }: ProfileFile): Tried {
  return { region: () => readHomeRegion(db, systemClock.now()), proof: () => proofOf(db, systemClock) }
}

test('sessions that end right after the sign-in are opened less and less often, a good one that ends at once', async () => {
  await using home = await SocketHome.start()
  using profile = await createProfileFile(directory, 'p')
  await registerNew(profile.db, { home: home.origin, bootstraps: [] }, { clock: systemClock, random: systemRandom })
  const { clock, waits, pass } = handClock()
  const GOOD = 5
  let sessions = 0
  const online: ConnectionPorts['online'] = (session) => {
    if (++sessions === GOOD) pass(SESSION_HEALTHY_MS)
    queueMicrotask(() => session.end(new ParleyError('malformed', 'a page that makes no sense')))
  }
  const random = { ...systemRandom, fraction: () => 1 }
  await stateOf({ ...portsOf(profile), clock, random, online }, () => waits.length > GOOD)
  for (let i = 1; i < GOOD - 1; i++) assert.ok(waits[i]! > waits[i - 1]!, waits.join())
  assert.equal(waits[GOOD - 1], RECONNECT_FIRST_MS, 'after the good one')
  assert.ok(waits[GOOD]! > RECONNECT_FIRST_MS)
})

test('how long a home was away before says nothing about how soon it is asked again', async () => {
  await using home = await SocketHome.start()
  using profile = await createProfileFile(directory, 'away')
  await registerNew(profile.db, { home: home.origin, bootstraps: [] }, { clock: systemClock, random: systemRandom })
  const { clock, waits } = handClock()
  const [TIMES, IN_VAIN] = [4, 12]
  let [sessions, tries] = [0, 0]
  const ports = portsOf(profile)
  const region: Tried['region'] = () => {
    if (tries++ % (IN_VAIN + 1) < IN_VAIN) throw new ParleyError('unreachable', 'the home is away')
    return ports.region()
  }
  const online: ConnectionPorts['online'] = (session) => {
    sessions++
    queueMicrotask(() => session.end(new ParleyError('unreachable', 'the home went away')))
  }
  const random = { ...systemRandom, fraction: () => 1 }
  await stateOf({ ...ports, region, clock, random, online }, () => sessions > TIMES)
  const firstWaits = Array.from({ length: TIMES }, (_, i) => waits[(i + 1) * (IN_VAIN + 1) - 1]!)
  for (const [i, wait] of firstWaits.entries())
    assert.equal(wait, Math.ceil(RECONNECT_FIRST_MS * RECONNECT_GROWTH ** (i + 1)))
})
