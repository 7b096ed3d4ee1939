import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { limits, systemClock } from '#protocol'
import { listRegions, regionAt, regionBytes } from './regions.ts'
import { SocketHome } from './testing/socket-home.ts'

test('of a list of regions a client reads as many as a bootstrap node lists, and leaves out what does not verify', async () => {
  await using home = await SocketHome.start()
  const record = Buffer.from(regionBytes(await regionAt(home.origin, systemClock))).toString('base64')
  let before = 0
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ regions: [...Array<string>(before).fill('AA=='), record] }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const listed = async (): Promise<number> => (await listRegions(origin, systemClock)).length
    before = limits.REGIONS_LISTED_MAX - 1
    assert.equal(await listed(), 1)
    before++
    assert.equal(await listed(), 0)
  } finally {
    server.closeAllConnections()
    server.close()
  }
})
