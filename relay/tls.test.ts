import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, it } from 'node:test'
import { connect } from 'node:tls'
import { WebSocket } from 'ws'
import { type Clock, type ParleyError, systemClock, systemRandom } from '#protocol'
import { checkRelay } from './check.ts'
import { loadConfig, readConfig } from './config.ts'
import { makePerson, makeRegion } from './fixtures.ts'
import { signIn } from './gateway/test-device.ts'
import { startNode } from './gateway/test-node.ts'
import { initRelay } from './init.ts'
import { CERT, KEY, OTHER_KEY } from './test-certificate.ts'
import { readTls } from './tls.ts'

describe('TLS of the relay itself', () => {
  let directory: string
  let dataDir: string
  const file = (name: string): string => join(dataDir, name)
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'parley-tls-'))
    dataDir = join(directory, 'data')
    const listen = { listen: '127.0.0.1:0', meshListen: '127.0.0.1:0' }
    const made = { dataDir, name: 'north', rootKeyFile: join(directory, 'root.key'), clientUrls: [], bootstrap: [] }
    await initRelay({ ...made, ...listen }, systemClock, systemRandom)
    await writeFile(file('tls.cert'), CERT)
    await writeFile(file('tls.key'), KEY, { mode: 0o600 })
    await writeFile(file('other.key'), OTHER_KEY, { mode: 0o600 })
  })
  after(() => rm(directory, { recursive: true, force: true }))

  const flags = { 'client.tls_cert': 'tls.cert', 'client.tls_key': 'tls.key' }
  const check = async (more: Record<string, unknown> = {}, clock: Clock = systemClock) => {
    const layer = new Map<string, unknown>(Object.entries({ ...flags, ...more }))
    return (await checkRelay(() => loadConfig(dataDir, {}, layer), clock)).filter(({ ok }) => !ok)
  }
  const wrongIs = async (more: Record<string, unknown>, what: string, says: RegExp, clock?: Clock): Promise<void> => {
    const wrong = await check(more, clock)
    assert.ok(
      wrong.some((finding) => finding.what === what && says.test(finding.says)),
      JSON.stringify(wrong),
    )
  }

  it('serves HTTP and sessions, and says https of itself', async () => {
    const region = makeRegion()
    const node = await startNode(region, [], { cert: Buffer.from(CERT), key: Buffer.from(KEY) })
    try {
      assert.match(node.url, /^https:/)
      const asked = request(`${node.url}/v1/health`, { ca: CERT }).end()
      const [answer] = await once(asked, 'response')
      assert.equal(JSON.parse(await text(answer)).status, 'ok')
      const person = makePerson(region.regionId)
      await node.accounts.register(person.first.manifest, person.first.head, 'here')
      const device = await signIn(node.url, region.regionId, { person, ca: CERT })
      assert.ok(device.plain, 'TLS is around the frames')
      device.send({ ping: 3 })
      await device.until((frame) => frame.pong === 3)
      device.socket.close()
      const open = new WebSocket(node.url.replace('https', 'ws'), ['parley.v1'])
      await once(open, 'error')
    } finally {
      await node.gateway[Symbol.asyncDispose]()
      await node.store[Symbol.asyncDispose]()
    }
  })

  it('agrees on HTTP/1.1 with whoever offers it among others, and refuses whoever does not', async () => {
    const node = await startNode(makeRegion(), [], { cert: Buffer.from(CERT), key: Buffer.from(KEY) })
    const port = Number(new URL(node.url).port)
    const dial = (ALPNProtocols: string[]) => connect({ host: '127.0.0.1', port, ca: CERT, ALPNProtocols })
    const [both, other] = [dial(['h2', 'http/1.1']), dial(['h2'])]
    try {
      await Promise.all([
        once(both, 'secureConnect'),
        assert.rejects(once(other, 'secureConnect'), /no.application.protocol/i),
      ])
      assert.equal(both.alpnProtocol, 'http/1.1')
    } finally {
      for (const socket of [both, other]) socket.destroy()
      await node.gateway[Symbol.asyncDispose]()
      await node.store[Symbol.asyncDispose]()
    }
  })

  it('takes both files or none', () => {
    for (const [only, misses] of [
      ['client.tls_cert', 'client.tls_key'],
      ['client.tls_key', 'client.tls_cert'],
    ] as const) {
      const values = new Map<string, unknown>([
        ['name', 'north'],
        [only, 'x'],
      ])
      assert.throws(
        () => readConfig(dataDir, [{ from: 'command line', values }]),
        ({ code, facts }: ParleyError) => code === 'bad_argument' && facts.key === misses,
      )
    }
  })

  it('reads a certificate with its key, and says what is wrong with others', async () => {
    const { covers, endsMs } = await readTls({ certFile: file('tls.cert'), keyFile: file('tls.key') })
    assert.deepEqual(['localhost', '127.0.0.1', '[::1]', 'relay.example'].map(covers), [true, true, false, false])
    assert.ok(endsMs > systemClock.now())
    const code = (wanted: string) => (error: ParleyError) => error.code === wanted
    await assert.rejects(readTls({ certFile: file('tls.cert'), keyFile: file('other.key') }), code('malformed'))
    await assert.rejects(readTls({ certFile: file('tls.key'), keyFile: file('tls.key') }), code('malformed'))
    await assert.rejects(readTls({ certFile: file('none'), keyFile: file('tls.key') }), code('not_found'))
  })

  it('is looked at by `relay check`', async () => {
    assert.deepEqual(await check(), [])
    await wrongIs({ 'client.tls_key': 'other.key' }, 'tls', /are no certificate with its key/)
    await wrongIs({ 'client.urls': ['https://relay.example'] }, 'tls', /is not for https:\/\/relay\.example/)
    const later: Clock = { ...systemClock, now: () => Date.UTC(2_126, 9, 30) }
    await wrongIs({}, 'tls', /the certificate ends on 2126-/, later)
    await chmod(file('tls.key'), 0o644)
    await wrongIs({}, 'tls', /can be read by others/)
  })
})
