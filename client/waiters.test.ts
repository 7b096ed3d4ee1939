import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ConvId, NOWHERE, type Position } from '#protocol'
import { createWaiters } from './waiters.ts'

const conv = 'parleyc1x' as ConvId
const user = 'parley1x' as never
const at = (place: number): Position => place as Position

test('delivered is heard whether the mark comes before the place, after it, or was there already', async () => {
  const sequenced = { type: 'state', conv, k: 1, state: 'sequenced', at: at(7), code: '' } as const
  const delivered = { type: 'delivered', conv, user, upTo: at(7) } as const
  for (const events of [
    [sequenced, delivered],
    [delivered, sequenced],
  ]) {
    const waiters = createWaiters()
    const waiting = waiters.wait(conv, 1, 'delivered', NOWHERE)
    for (const event of events) waiters.hear(event)
    waiters.endAll(new Error('not heard') as never)
    assert.equal(await waiting, 7)
  }
  const waiters = createWaiters()
  const [kept, beyond] = [1, 2].map((k) => waiters.wait(conv, k, 'delivered', at(7)))
  waiters.hear(sequenced)
  waiters.hear({ ...sequenced, k: 2, at: at(8) })
  waiters.endAll(new Error('not heard') as never)
  assert.equal(await kept, 7)
  await assert.rejects(beyond!, /not heard/)
})
