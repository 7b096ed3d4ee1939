import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { type ParleyError, systemClock, systemRandom } from '#protocol'
import { openSession } from './session.ts'
import { testRegion } from './testing/test-region.ts'

/** How dialling ends at a home that answers every upgrade with this. */
async function refusalOf(answer: string): Promise<ParleyError> {
  const server = createServer().on('upgrade', (_, socket) => {
    socket.on('error', () => socket.destroy())
    socket.end(answer)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    return await openSession({
      origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      regionId: testRegion(systemRandom).regionId,
      clock: systemClock,
      random: systemRandom,
      proof: () => assert.fail('nobody asked for a proof'),
      receive: () => undefined,
      ended: () => undefined,
    }).then(
      () => assert.fail('nobody signed in'),
      (error: ParleyError) => error,
    )
  } finally {
    server.close()
  }
}

const head = (status: string, body: string): string =>
  `HTTP/1.1 ${status} Refused\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`

test('a home that takes nobody now says when to come again', async () => {
  const body = JSON.stringify({ error: { code: 'overloaded', message: 'later', retry: true, retryAfterMs: 2_000 } })
  const error = await refusalOf(head('429', body))
  assert.equal(error.code, 'overloaded')
  assert.equal(error.retryAfterMs, 2_000)
})

test('what is no home of ours is unreachable', async () => {
  assert.equal((await refusalOf(head('502', 'Bad Gateway'))).code, 'unreachable')
  assert.equal((await refusalOf(head('502', 'Bad Gateway').slice(0, -4))).code, 'unreachable', 'an answer that is cut')
  assert.equal((await refusalOf('nonsense')).code, 'unreachable')
  assert.equal((await refusalOf(head('503', 'x'.repeat(8 * 1024 * 1024)))).code, 'too_large')
})
