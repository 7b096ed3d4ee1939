import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ParleyError } from '#protocol'
import { environmentLayer, type Layer, readConfig, tomlLayer } from './config.ts'

const read = (toml: string, environment: Record<string, string> = {}, flags: Record<string, unknown> = {}) => {
  const layers: Layer[] = [
    tomlLayer(toml, 'config.toml'),
    environmentLayer(environment),
    { from: 'command line', values: new Map(Object.entries(flags)) },
  ]
  return readConfig('/data', layers)
}

describe('configuration', () => {
  it('needs only a name, and lets the environment win over the file, flags over both', () => {
    const config = read('name = "north"')
    assert.equal(config.name, 'north')
    assert.deepEqual(config.client.listen, { host: '127.0.0.1', port: 4100 })
    const toml =
      'name = "north"\n[client]\nlisten = "[::1]:1"\n[mesh]\nlisten = "h:2"\nbootstrap = ["/dns4/x/tcp/1/ws/p2p/abc"]'
    const environment = {
      PARLEY_CLIENT_LISTEN: '0.0.0.0:3',
      PARLEY_MESH_LISTEN: 'h:4',
      PARLEY_CLIENT_TRUST_PROXY: 'true',
      PARLEY_CLIENT_URLS: 'https://a.example, http://b.example:81',
    }
    const merged = read(toml, environment, { 'mesh.listen': 'h:5' })
    assert.deepEqual(read(toml).client.listen, { host: '::1', port: 1 })
    assert.deepEqual(merged.client, {
      listen: { host: '0.0.0.0', port: 3 },
      urls: ['https://a.example', 'http://b.example:81'],
      allowedOrigins: [],
      trustProxy: true,
      tls: undefined,
    })
    assert.equal(merged.mesh.listen.port, 5)
    assert.deepEqual(merged.mesh.bootstrap, ['/dns4/x/tcp/1/ws/p2p/abc'])
  })

  const refused: [what: string, toml: string, environment: Record<string, string>, key: string, said: RegExp][] = [
    ['a missing name', '', {}, 'name', /^name is nothing; allowed is .*1 to 64 characters/],
    ['a wrong type', 'name = 3', {}, 'name', /name \(config\.toml\) is 3; allowed is/],
    ['an address without a port', 'name = "n"\n[client]\nlisten = "localhost"', {}, 'client.listen', /HOST:PORT/],
    ['a port that is none', 'name = "n"\n[mesh]\nlisten = "h:70000"', {}, 'mesh.listen', /HOST:PORT/],
    [
      'a choice that is none',
      'name = "n"\n[accounts]\nregistration = "maybe"',
      {},
      'accounts.registration',
      /open, closed/,
    ],
    [
      'a URL with a path',
      'name = "n"\n[client]\nurls = ["https://a.example/chat"]',
      {},
      'client.urls',
      /an origin such as/,
    ],
    [
      'an unknown key',
      'name = "n"\n[client]\nlissen = "h:1"',
      {},
      'client.lissen',
      /no such key; known are client\.listen/,
    ],
    ['an unknown section', 'name = "n"\n[clinet]\nlisten = "h:1"', {}, 'clinet.listen', /no such key; known are/],
    [
      'a bootstrap without a peer',
      'name = "n"\n[mesh]\nbootstrap = ["/ip4/1.2.3.4/tcp/1"]',
      {},
      'mesh.bootstrap',
      /\/p2p\/PEER/,
    ],
    [
      'a wrong variable',
      'name = "n"',
      { PARLEY_LOG_LEVEL: 'loud' },
      'log.level',
      /PARLEY_LOG_LEVEL in the environment is "loud"; allowed is/,
    ],
    [
      'a wrong boolean',
      'name = "n"',
      { PARLEY_CLIENT_TRUST_PROXY: 'yes' },
      'client.trust_proxy',
      /true only behind a proxy/,
    ],
  ]
  for (const [what, toml, environment, key, said] of refused) {
    it(`refuses ${what}, naming the key and what is allowed`, () => {
      assert.throws(
        () => read(toml, environment),
        (error: ParleyError) => {
          assert.equal(error.code, 'bad_argument')
          assert.equal(error.facts.key, key)
          assert.match(error.message, said)
          return true
        },
      )
    })
  }

  it('wants to know the address that clients dial when it listens on all', () => {
    assert.throws(
      () => read('name = "n"\n[client]\nlisten = "0.0.0.0:1"'),
      (error: ParleyError) => error.facts.key === 'client.urls',
    )
  })

  it('says in which line a file is not TOML', () => {
    assert.throws(() => read('name = '), /config\.toml is not TOML/)
  })
})
