import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { toBinary } from '@bufbuild/protobuf'
import { memoryStorage, openAdmission, silentEvents, startNode } from '#node'
import { signRegionRecord } from '#node/region'
import { SignedRecordSchema, systemClock, systemRandom } from '#protocol'
import { entryPoints } from './entry-points.ts'
import { makeRegion, makeStore } from './fixtures.ts'

const PEER = '12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8'
const GOOD = [
  `/ip4/127.0.0.1/tcp/1/ws/p2p/${PEER}`,
  `/ip6/::1/tcp/65535/tls/ws/p2p/${PEER}`,
  `/dns4/localhost/tcp/443/wss/p2p/${PEER}`,
]
const BAD = [
  '/garbage/p2p/nobody',
  `/garbage/p2p/${PEER}`,
  '/ip4/127.0.0.1/tcp/1/ws/p2p/nobody',
  `/ip4/127.0.0.1/tcp/1/ws/p2p/${PEER.slice(1)}`,
  `/ip4/127.0.0.1/tcp/1/ws/p2p/12D3KooW${'z'.repeat(44)}`,
  `/ip4/999.9.9.9/tcp/1/ws/p2p/${PEER}`,
  `/ip4/::1/tcp/1/ws/p2p/${PEER}`,
  `/ip6/zz/tcp/1/ws/p2p/${PEER}`,
  `/ip6/fe80::1%eth0/tcp/1/ws/p2p/${PEER}`,
  `/dns4/a b/tcp/1/ws/p2p/${PEER}`,
  `/ip4/127.0.0.1/tcp/65536/ws/p2p/${PEER}`,
]

/** What an entry service lists when a stranger's region has these addresses. */
function listed(multiaddrs: readonly string[]): string {
  const region = makeRegion()
  const now = systemClock.now()
  const record = signRegionRecord(
    { ...region, rootEpoch: 1 },
    { name: 'strange', nodes: [{ peerId: 'nobody', multiaddrs, clientUrls: [] }], revokedKeys: [] },
    1,
    now,
    now + 60_000,
  )
  return Buffer.from(toBinary(SignedRecordSchema, record)).toString('base64')
}

async function startWith(bootstrap: readonly string[]): Promise<void> {
  const node = await startNode({
    key: systemRandom.bytes(32),
    listen: { host: '127.0.0.1', port: 0 },
    announce: [],
    bootstrap,
    mode: 'server',
    storage: memoryStorage(),
    clock: systemClock,
    random: systemRandom,
    admission: openAdmission,
    certificate: undefined,
    renewal: undefined,
    events: silentEvents,
  })
  await node[Symbol.asyncDispose]()
}

test('a node starts with what an entry service lists, whatever strangers wrote, also when the service is away', async (t) => {
  const store = await makeStore().open()
  // Two records: there may be eight addresses of a node.
  const regions = [listed(BAD.slice(0, 6)), listed(BAD.slice(6)), listed(GOOD.slice(1))]
  const answer = JSON.stringify({ multiaddrs: [...BAD, GOOD[0]], regions, timeMs: systemClock.now() })
  const server = createServer((_question, response) => void response.end(answer)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close().closeAllConnections())
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const mine = '/my/own/p2p/mistake'
  const never = (error: unknown) => assert.fail(String(error))
  await startWith(await entryPoints([origin], store, systemClock, never))
  assert.deepEqual(await entryPoints([mine, origin], store, systemClock, never), [mine, ...GOOD])
  server.close().closeAllConnections()
  await once(server, 'close')

  let failed = 0
  const away = () => entryPoints([origin], store, systemClock, () => void failed++)
  assert.deepEqual(await away(), GOOD)
  // What was kept before such addresses were passed over.
  store.put('relay', 'entry-points', Buffer.from(JSON.stringify([...BAD, ...GOOD])))
  assert.deepEqual(await away(), GOOD)
  assert.equal(failed, 2)
})
