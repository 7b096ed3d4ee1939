import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ParleyError } from '#protocol'
import { recordOf, type TestNode, type TestRegion, testNode, testRegion } from './fixtures.ts'
import type { LinkHandlers, Requester } from './index.ts'
import { QUOTAS, REQUESTS_PER_PEER_MAX } from './limits.ts'

const [north, south]: [TestRegion, TestRegion] = [testRegion(), testRegion()]
const nobody: LinkHandlers = { up: () => undefined, down: () => undefined, items: () => undefined }
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
let asking: TestNode
let asked: TestNode
let seen: Requester[] = []

before(async () => {
  asked = await testNode({ region: north })
  asking = await testNode({ region: south })
  asking.node.directory.learnRegionRecord(recordOf(north, [asked.node], 1))
  for (const { node } of [asked, asking]) node.links.serve(nobody)
  asked.node.handle('records', async (from, body) => {
    seen.push(from)
    const text = Buffer.from(body).toString()
    if (text === 'refuse') throw new ParleyError('unknown_user', 'nobody of that name', { user: 'x' })
    if (text === 'fail') throw new Error('the secret details')
    if (text === 'never') return new Promise(() => undefined)
    return bytes(`answer to ${text}`)
  })
})

after(async () => {
  await asking.node[Symbol.asyncDispose]()
  await asked.node[Symbol.asyncDispose]()
})

const ask = (text: string, timeoutMs = 5_000): Promise<Uint8Array> =>
  asking.node.request(north.regionId, 'records', bytes(text), timeoutMs)

test('an answer comes back, and the asked side knows by its certificate who asks', async () => {
  assert.equal(Buffer.from(await ask('one')).toString(), 'answer to one')
  assert.deepEqual(seen, [{ peerId: asking.node.peerId, region: south.regionId }])
})

test('many at once are answered each', async () => {
  seen = []
  const answers = await Promise.all(Array.from({ length: REQUESTS_PER_PEER_MAX }, (_, i) => ask(`${i}`)))
  assert.deepEqual(
    answers.map((answer) => Buffer.from(answer).toString()),
    answers.map((_, i) => `answer to ${i}`),
  )
  const more = await Promise.allSettled(Array.from({ length: REQUESTS_PER_PEER_MAX + 5 }, (_, i) => ask(`${i}`)))
  const codes = more.flatMap((result) => (result.status === 'rejected' ? [(result.reason as ParleyError).code] : []))
  assert.deepEqual(codes, Array(5).fill('overloaded'))
})

test('refusals are typed across the wire; failures tell nothing; silence ends in time', async () => {
  await assert.rejects(ask('refuse'), { code: 'unknown_user', facts: { user: 'x' } })
  await assert.rejects(
    ask('fail'),
    (error: ParleyError) => error.code === 'closing' && !error.message.includes('secret'),
  )
  await assert.rejects(ask('never', 50), { code: 'timeout' })
  await assert.rejects(asking.node.request(north.regionId, 'bundle', bytes('x'), 1_000), { code: 'not_found' })
  await assert.rejects(
    asking.node.request(north.regionId, 'records', new Uint8Array(QUOTAS.records.requestMaxBytes + 1), 1_000),
    { code: 'too_large' },
  )
  await assert.rejects(asking.node.request(testRegion().regionId, 'records', bytes('x'), 1_000), {
    code: 'unreachable',
  })
})

test('a quota bounds what one peer may ask', async () => {
  const errors: ParleyError[] = []
  for (let round = 0; round < 40 && errors.length === 0; round++) {
    const results = await Promise.allSettled(Array.from({ length: REQUESTS_PER_PEER_MAX }, () => ask('again')))
    for (const result of results) if (result.status === 'rejected') errors.push(result.reason as ParleyError)
  }
  assert.equal(errors[0]?.code, 'overloaded')
  assert.ok(errors[0]?.retryAfterMs, 'it says when to ask again')
})
