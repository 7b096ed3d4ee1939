import assert from 'node:assert/strict'
import { it } from 'node:test'
import pino from 'pino'
import { SimulatedClock } from '#protocol'
import { createEvents } from './events.ts'
import { READINGS_KEPT_MS } from './limits.ts'

it('the metrics are read once for all gauges and all who ask within a moment', async () => {
  const clock = new SimulatedClock(0)
  let reads = 0
  const read = () => {
    reads++
    return { sockets: reads, sessions: 2, linksUp: 3, owed: { lagging: 4 }, store: { rows: 5 } }
  }
  const events = createEvents(pino({ enabled: false }), read, clock)
  const first = await events.metrics()
  for (const line of ['sockets 1', 'sessions 2', 'links_up 3', 'owed{what="lagging"} 4', 'store{what="rows"} 5'])
    assert.ok(first.includes(`parley_${line}\n`), line)
  assert.equal(reads, 1)
  clock.advanceTo(READINGS_KEPT_MS - 1)
  await Promise.all([events.metrics(), events.metrics()])
  assert.equal(reads, 1)
  clock.advanceTo(READINGS_KEPT_MS)
  assert.ok((await events.metrics()).includes('parley_sockets 2\n'))
})
