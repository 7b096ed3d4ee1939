import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import type { ParleyError } from '#protocol'
import { recordOf, testNode, testRegion, until } from './fixtures.ts'
import type { LinkHandlers } from './index.ts'

const DEAF: LinkHandlers = { up: () => undefined, down: () => undefined, items: () => undefined }

test('a link that cannot be made says why, and how often it was tried', async () => {
  const [north, south] = [testRegion(), testRegion()]
  const failed: { region: string; code: string; times: number }[] = []
  const events = {
    linkFailed: (region: string, { code }: ParleyError, times: number) => void failed.push({ region, code, times }),
  }
  await using gone = (await testNode({ region: south })).node
  await using a = (await testNode({ region: north, events })).node
  a.links.serve(DEAF)
  a.links.want(south.regionId)
  await until('failed', () => failed.length === 1)
  assert.deepEqual(failed, [{ region: south.regionId, code: 'unknown_region', times: 1 }])
  await gone[Symbol.asyncDispose]()
  a.directory.learnRegionRecord(recordOf(south, [gone], 1))
  await until('failed otherwise', () => failed.at(-1)!.code === 'unreachable')
  assert.deepEqual(
    failed.map(({ times }) => times),
    failed.map((_, i) => i + 1),
  )
})

/** Sockets to that port; what has passed until `mute` passes nothing more, and nobody is told. */
async function muteable(port: number): Promise<AsyncDisposable & { readonly port: number; mute(): void }> {
  const open = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(from)
      from.pipe(to)
      from.on('error', () => to.destroy())
      from.on('close', () => open.delete(from))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    mute() {
      for (const socket of open) socket.unpipe().pause()
    },
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of open) socket.destroy()
    },
  }
}

test('a connection that is open and silent is not taken again', async () => {
  const [north, south] = [testRegion(), testRegion()]
  const a = await testNode({ region: north })
  const b = await testNode({ region: south })
  await using ended = new AsyncDisposableStack()
  for (const { node } of [a, b]) ended.use(node)
  const port = Number(/tcp\/(\d+)/.exec(a.node.multiaddrs()[0]!)![1])
  const between = ended.use(await muteable(port))
  const { peerId } = a.node
  const multiaddrs = () => [`/ip4/127.0.0.1/tcp/${between.port}/ws`]
  b.node.directory.learnRegionRecord(recordOf(north, [{ ...a.node, peerId, multiaddrs }], 1))
  a.node.links.serve(DEAF)
  let ups = 0
  let [why, left]: [string | undefined, string[]] = ['', []]
  b.node.links.serve({
    up: () => void ups++,
    down(_region, _peer, error) {
      why = error?.code
      left = b.node.peers()
    },
    items: () => undefined,
  })
  b.node.links.want(north.regionId)
  await until('up', () => ups === 1)
  between.mute()
  await until('down', () => why !== '')
  await until('up again', () => ups === 2)
  assert.equal(why, 'timeout')
  assert.ok(!left.includes(peerId), 'the silent connection was kept')
})
