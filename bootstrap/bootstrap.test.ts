import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { memoryStorage, openAdmission, silentEvents, startNode } from '#node'
import { certifyNode, createRegionRoot, grantOperationalKey, nextRegionRecord, regionKeys } from '#node/region'
import {
  decode,
  limits,
  openRegionRecord,
  ParleyError,
  SignedRecordSchema,
  signingKey,
  systemClock,
  systemRandom,
} from '#protocol'
import { parseHostPort, startBootstrap } from './index.ts'

let directory: string
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'parley-bootstrap-'))
})
after(() => rm(directory, { recursive: true, force: true }))

const anywhere = { host: '127.0.0.1', port: 0 }
const optionsFor = (name: string) => ({
  dataDirectory: join(directory, name),
  listen: anywhere,
  http: anywhere,
  announce: [],
  bootstrap: [],
  clock: systemClock,
  random: systemRandom,
  events: undefined,
})

test('lists the region records that relays publish, verified, and again after a restart with the same identity', async () => {
  const options = optionsFor('list')
  let peerId: string
  const root = createRegionRoot(systemRandom)
  const secret = systemRandom.bytes(32)
  const keys = regionKeys(
    secret,
    grantOperationalKey(root.secret, signingKey(secret).publicKey, 1, systemClock.now() + 3_600_000),
  )
  {
    await using service = await startBootstrap(options)
    peerId = service.peerId
    const key = systemRandom.bytes(32)
    const storage = memoryStorage()
    await using relay = await startNode({
      key,
      listen: anywhere,
      announce: [],
      bootstrap: [...service.multiaddrs],
      mode: 'server',
      storage,
      clock: systemClock,
      random: systemRandom,
      admission: openAdmission,
      certificate: certifyNode(keys, signingKey(key).publicKey, 0),
      renewal: undefined,
      events: silentEvents,
    })
    const nodes = [{ peerId: relay.peerId, multiaddrs: relay.multiaddrs(), clientUrls: ['https://north.example:443'] }]
    const record = await nextRegionRecord(
      keys,
      { name: 'north', nodes, revokedKeys: [] },
      storage,
      undefined,
      systemClock.now(),
    )
    await relay.directory.publishRegion(record)
    const answer = (await (await fetch(`${service.url}/v1/regions`)).json()) as { regions: string[]; timeMs: number }
    assert.equal(answer.regions.length, 1)
    const bytes = new Uint8Array(Buffer.from(answer.regions[0]!, 'base64'))
    const region = openRegionRecord(decode(SignedRecordSchema, bytes, limits.RECORD_MAX_BYTES), systemClock.now())
    assert.equal(region.regionId, root.regionId)
    assert.deepEqual(region.nodes[0]?.clientUrls, ['https://north.example:443'])
    const health = (await (await fetch(`${service.url}/v1/health`)).json()) as { status: string }
    assert.equal(health.status, 'ok')
    assert.equal((await fetch(`${service.url}/v1/nothing`)).status, 404)
  }
  await using again = await startBootstrap(options)
  assert.equal(again.peerId, peerId)
  const answer = (await (await fetch(`${again.url}/v1/regions`)).json()) as { regions: string[] }
  assert.equal(answer.regions.length, 1)
})

test('a port in use and a directory in use are said clearly', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as { port: number }
  const inUse = (what: string) => (error: unknown) =>
    error instanceof ParleyError && error.code === 'bad_argument' && error.message.includes(what)
  await assert.rejects(
    startBootstrap({ ...optionsFor('mesh'), listen: { host: '127.0.0.1', port } }),
    inUse('mesh address'),
  )
  await assert.rejects(
    startBootstrap({ ...optionsFor('mesh'), http: { host: '127.0.0.1', port } }),
    inUse('HTTP address'),
  )
  await assert.rejects(
    startBootstrap({ ...optionsFor('mesh'), listen: { host: 'example.org', port: 0 } }),
    inUse('not on a name'),
  )
  taken.close()
  await using _first = await startBootstrap(optionsFor('twice'))
  await assert.rejects(startBootstrap(optionsFor('twice')), { code: 'store_in_use' })
})

test('addresses', () => {
  assert.deepEqual(parseHostPort('[::1]:4000'), { host: '::1', port: 4000 })
  for (const text of ['4000', ':4000', 'a:b', '127.0.0.1:70000', 'a b:1', '::1:4000'])
    assert.throws(() => parseHostPort(text), { code: 'bad_argument' }, text)
})

const MAIN = `
import { Command } from 'commander'
import { registerCommands } from './bootstrap/commands.ts'
const program = new Command()
registerCommands(program)
await program.parseAsync(process.argv.slice(1), { from: 'user' })
`

function run(...args: string[]): ChildProcess {
  const root = join(import.meta.dirname, '..')
  return spawn(process.execPath, ['--input-type=module', '-e', MAIN, '--', 'bootstrap', 'start', ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

test('the command prints one ready line, and ends cleanly on SIGTERM and SIGINT', async () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const child = run(
      '--data',
      join(directory, 'command'),
      '--listen',
      '127.0.0.1:0',
      '--http',
      '127.0.0.1:0',
      '--json',
    )
    const [line] = (await once(createInterface(child.stdout!), 'line')) as [string]
    const ready = JSON.parse(line) as { ready: boolean; multiaddrs: string[]; url: string }
    assert.ok(ready.ready && ready.multiaddrs[0]!.includes('/p2p/'))
    assert.equal((await fetch(`${ready.url}/v1/health`)).status, 200)
    child.kill(signal)
    const [code] = (await once(child, 'exit')) as [number | null]
    assert.equal(code, 0)
  }
})
