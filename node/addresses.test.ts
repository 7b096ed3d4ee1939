import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '#protocol'
import { createDialPauses, usableAddress } from './addresses.ts'
import { recordOf, testNode, testRegion, until } from './fixtures.ts'
import { BOOTSTRAP_AGAIN_MAX_MS, BOOTSTRAP_CHECK_MS, BOOTSTRAP_QUICK_MS } from './limits.ts'

const PEER = '12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8'
const BAD = [
  '',
  'nothing',
  '/garbage/p2p/nobody',
  `/garbage/p2p/${PEER}`,
  '/ip4/999.9.9.9/tcp/1/ws',
  '/ip6/zz/tcp/1/ws',
  '/ip6/fe80::1%eth0/tcp/1/ws',
  '/ip4/127.0.0.1/tcp/65536/ws',
  '/ip4/127.0.0.1/tcp',
  '/ip4/127.0.0.1/tcp/1/ws/p2p/nobody',
  '/ip4/127.0.0.1/tcp/1/ws/p2p/1nobody',
  `/ip4/127.0.0.1/tcp/1/ws/p2p/12D3KooW${'z'.repeat(44)}`,
]

test('an address is usable when it parses to the end', () => {
  for (const bad of BAD) assert.equal(usableAddress(bad), false, bad)
  for (const good of [
    '/ip4/127.0.0.1/tcp/1/ws',
    `/ip4/127.0.0.1/tcp/1/ws/p2p/${PEER}`,
    `/ip6/::1/tcp/443/tls/ws/p2p/${PEER}`,
    `/dns4/north.example/tcp/443/wss/p2p/${PEER}`,
  ])
    assert.equal(usableAddress(good), true, good)
})

test('a node starts with records of strangers in its table that nobody can parse, and reaches whom it can', async () => {
  const [north, south] = [testRegion(), testRegion()]
  await using known = (await testNode({ region: south })).node
  const { node, storage, secret } = await testNode({ region: north })
  const [some, others] = [BAD.slice(2, 8), BAD.slice(8)]
  const strange = { ...known, peerId: 'nobody', multiaddrs: () => some }
  node.directory.learnRegionRecord(recordOf(testRegion(), [strange], 1))
  const mixed = { ...known, multiaddrs: () => [...others, ...known.multiaddrs()] }
  node.directory.learnRegionRecord(recordOf(south, [mixed], 1))
  await node.directory.flushed()
  await node[Symbol.asyncDispose]()

  await using again = (await testNode({ region: north, storage, secret })).node
  let ups = 0
  const deaf = { up: () => void ups++, down: () => undefined, items: () => undefined }
  known.links.serve(deaf)
  again.links.serve(deaf)
  again.links.want(south.regionId)
  await until('up', () => ups > 0)
})

test('what the operator wrote himself is refused with a reason', async () => {
  for (const [address, code] of [
    ['/ip4/127.0.0.1/tcp/1/ws/p2p/nobody', 'malformed'],
    ['/ip4/127.0.0.1/tcp/1/ws', 'malformed'],
    [`/ip4/999.9.9.9/tcp/1/ws/p2p/${PEER}`, 'bad_argument'],
  ] as const)
    await assert.rejects(testNode({ bootstrap: [{ multiaddrs: () => [address] }] }), { code }, address)
})

/** Dials at every check for so long; the pauses between them. */
function pausesBetween(pauses: ReturnType<typeof createDialPauses>, clock: SimulatedClock, forMs: number): number[] {
  const end = clock.monotonic() + forMs
  const dialled: number[] = []
  for (; clock.monotonic() < end; clock.advanceTo(clock.now() + BOOTSTRAP_CHECK_MS)) {
    if (!pauses.due('a')) continue
    dialled.push(clock.monotonic())
    pauses.failed('a')
  }
  return dialled.slice(1).map((at, i) => at - dialled[i]!)
}

test('who is away is dialled at every check for a minute, then with pauses that double, and quickly again once seen', () => {
  const clock = new SimulatedClock(0)
  const pauses = createDialPauses(clock)
  const quick = BOOTSTRAP_QUICK_MS / BOOTSTRAP_CHECK_MS
  for (let round = 0; round < 2; round++) {
    const between = pausesBetween(pauses, clock, 10 * BOOTSTRAP_QUICK_MS)
    assert.deepEqual(new Set(between.slice(0, quick)), new Set([BOOTSTRAP_CHECK_MS]))
    assert.deepEqual(between.slice(quick, quick + 6), [4_000, 8_000, 16_000, 32_000, 60_000, BOOTSTRAP_AGAIN_MAX_MS])
    assert.equal(Math.max(...between), BOOTSTRAP_AGAIN_MAX_MS)
    assert.ok(pauses.due('b'), 'others do not wait for it')
    pauses.connected('a')
  }
})
