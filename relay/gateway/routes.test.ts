import assert from 'node:assert/strict'
import { it } from 'node:test'
import { makePerson, makeRegion } from '../fixtures.ts'
import { ANONYMOUS_BUDGET } from '../limits.ts'
import { ask } from './test-device.ts'
import { startNode } from './test-node.ts'

it('the addresses of one IPv6 network spend one budget, loopback none', async () => {
  const region = makeRegion()
  const node = await startNode(region, [], undefined, true)
  const path = `/v1/accounts/${makePerson(region.regionId).userId}`
  // Twice as many as it holds: what comes back to it meanwhile is less.
  const codes = async (address: (i: number) => string): Promise<Set<string | undefined>> => {
    const asked = Array.from({ length: 2 * ANONYMOUS_BUDGET.burst }, (_, i) =>
      ask(node.url, path, { headers: { 'x-forwarded-for': address(i) } }),
    )
    return new Set((await Promise.all(asked)).map(({ code }) => code))
  }
  assert.deepEqual(await codes((i) => `2001:db8:1:2::${i}`), new Set(['unknown_user', 'overloaded']))
  assert.deepEqual(await codes((i) => `2001:db8:2:${i}::1`), new Set(['unknown_user']))
  assert.deepEqual(await codes(() => '::1'), new Set(['unknown_user']))
  await node.gateway[Symbol.asyncDispose]()
  await node.store[Symbol.asyncDispose]()
})
