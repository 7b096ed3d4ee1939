// What a generator measures when the other side stands still for a second.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '#protocol'
import { type Lane, type Loop, Pair } from './pair.ts'
import { Tally } from './tally.ts'

const SECOND = 1_000
/** The bucket of some 20 ms. */
const TWENTY_MS = 9 * 64 + 14

/**
 * A side that answers each message after 1 ms. In the second second one of both stands still: `theirs` says nothing and
 * answers at its end, `ours` does not come to send.
 */
function play(loop: Loop, forMs: number, still: 'ours' | 'theirs') {
  const clock = new SimulatedClock(0)
  const tally = new Tally()
  const pair = new Pair(tally, ['sequenced', 'received'], clock)
  let inFlightMost = 0
  const lane: Lane = {
    submit(from, to) {
      inFlightMost = Math.max(inFlightMost, to - pair.done)
      const at = clock.monotonic()
      const answered = still === 'theirs' && at >= SECOND && at < 2 * SECOND ? 2 * SECOND : at + 1
      clock.after(answered - at, () => {
        for (let k = from; k <= to; k++) pair.onReceived(k)
        pair.onSequenced(to)
        pair.onTurn()
      })
    },
  }
  const turn = (): void => {
    if (clock.monotonic() >= forMs) return void pair.stop()
    const stands = still === 'ours' && clock.monotonic() >= SECOND && clock.monotonic() < 2 * SECOND
    if (!stands) pair.pump()
    clock.after(1, turn)
  }
  clock.after(0, turn)
  pair.start(lane, loop)
  while (clock.step(10 * SECOND));
  return { tally: tally.mark(), pair, inFlightMost }
}

const slowOf = ({ latency }: { latency: readonly (readonly [number, number])[] }): number =>
  latency.filter(([bucket]) => bucket >= TWENTY_MS).reduce((sum, [, count]) => sum + count, 0)

for (const still of ['theirs', 'ours'] as const) {
  test(`an open loop counts what the messages that were due would have suffered (${still})`, () => {
    const { pair, tally } = play({ is: 'open', startMs: 0, everyMs: 10 }, 3 * SECOND, still)
    assert.equal(pair.sent, pair.done)
    assert.ok(pair.sent >= 299 && pair.sent <= 301, `${pair.sent} sent in 3 s at 100/s`)
    assert.deepEqual(tally.faults, [])
    // 100 messages were due meanwhile; those of the last milliseconds did not wait for long.
    const slow = slowOf(tally)
    assert.ok(slow >= 95 && slow <= 101, `${slow} of 100`)
  })
}

test('a closed loop sends nothing while it waits, and its histogram says so: it is not what people see', () => {
  const { pair, tally, inFlightMost } = play(
    { is: 'closed', flight: 1, last: Number.POSITIVE_INFINITY },
    3 * SECOND,
    'theirs',
  )
  assert.equal(pair.sent, pair.done)
  assert.equal(inFlightMost, 1)
  assert.equal(slowOf(tally), 1)
})

test('a closed loop keeps so many in flight and ends with the last', () => {
  const { pair, inFlightMost } = play({ is: 'closed', flight: 8, last: 100 }, 3 * SECOND, 'theirs')
  assert.equal(pair.sent, 100)
  assert.equal(pair.done, 100)
  assert.equal(inFlightMost, 8)
})

test('a repetition and a gap are faults', () => {
  const tally = new Tally()
  const pair = new Pair(tally, ['received'], new SimulatedClock(0))
  pair.onReceived(1)
  pair.onReceived(1)
  pair.onReceived(3)
  assert.deepEqual(tally.mark().faults, ['k 1 came after 1', 'k 3 came after 1'])
})
