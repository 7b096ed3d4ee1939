import assert from 'node:assert/strict'
import { it } from 'node:test'
import pino from 'pino'
import { ParleyError, SimulatedClock } from '#protocol'
import { createEvents } from './events.ts'
import { LINES_EVERY_MS, LINES_MAX, READINGS_KEPT_MS } from './limits.ts'

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

it('what strangers do is counted always, and said so often at most', async () => {
  const lines: { msg: string; leftOut?: number }[] = []
  const clock = new SimulatedClock(0)
  const read = () => ({ sockets: 1, sessions: 2, linksUp: 3, owed: {}, store: {} })
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const { gateway, node, metrics } = createEvents(log, read, clock)
  const refusal = new ParleyError('unsigned_device', 'nobody knows this device')
  for (let i = 0; i < LINES_MAX + 50; i++) gateway.signInRefused(refusal)
  node.linkRefused('12D3KooW', refusal)
  assert.deepEqual(
    ['sign-in refused', 'link refused'].map((it) => lines.filter(({ msg }) => msg === it).length),
    [LINES_MAX, 1],
  )
  clock.advanceTo(LINES_EVERY_MS)
  gateway.signInRefused(refusal)
  gateway.signInRefused(refusal)
  assert.deepEqual(
    lines.slice(-2).map(({ leftOut }) => leftOut),
    [50, undefined],
  )
  assert.match(await metrics(), new RegExp(`sign_ins_refused_total{code="unsigned_device"} ${LINES_MAX + 52}\\n`))
})
