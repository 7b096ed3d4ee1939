import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RegionId } from '#protocol'
import { recordOf, type TestNode, testNode, testRegion, until } from './fixtures.ts'
import type { LinkItem } from './index.ts'

type Seen = { up: string[]; down: (string | undefined)[]; items: LinkItem[] }

function watch({ node }: TestNode): Seen {
  const seen: Seen = { up: [], down: [], items: [] }
  node.links.serve({
    up: (region) => void seen.up.push(region),
    down: (_region, _peer, error) => void seen.down.push(error?.code),
    items: (_region, items) => void seen.items.push(...items),
  })
  return seen
}

test('two nodes link through the directory; batches arrive in order with their ids', async () => {
  const [north, south] = [testRegion(), testRegion()]
  await using first = (await testNode({ region: north })).node
  await using second = (await testNode({ region: south, bootstrap: [first] })).node
  console.log(first.multiaddrs(), first.peers(), second.peers())
  const a = watch({ node: first } as TestNode)
  const b = watch({ node: second } as TestNode)
  console.log(
    await first.directory.publishRegion(recordOf(north, [first], 1)),
    await second.directory.publishRegion(recordOf(south, [second], 1)),
  )
  console.time('up')
  second.links.want(north.regionId)
  await until('both up', () => first.links.isUp(south.regionId as RegionId) && second.links.isUp(north.regionId))
  console.timeEnd('up')
  const ids = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
  for (let i = 0; i < 1000; i++)
    assert.ok(second.links.send(north.regionId, { id: ids[i % 2]!, kind: 3, body: Buffer.from(`${i}`) }))
  await until('all', () => a.items.length === 1000)
  assert.deepEqual(
    a.items.map((item) => `${item.id[0]} ${item.kind} ${Buffer.from(item.body)}`),
    Array.from({ length: 1000 }, (_, i) => `${(i % 2) + 1} 3 ${i}`),
  )
  void b
})
