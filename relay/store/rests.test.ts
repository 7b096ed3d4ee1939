import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '#protocol'
import { STORE_REST_FACTOR, STORE_REST_MAX_MS } from '../limits.ts'
import { Rests } from './rests.ts'

/** A piece that takes so long by the clock. */
const taking = (clock: SimulatedClock, ms: number) => async (): Promise<void> => clock.advanceTo(clock.now() + ms)

/** Everything that is due without time passing. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** How long it rests after a piece that took so long, ms. */
async function restAfter(rests: Rests, clock: SimulatedClock, tookMs: number): Promise<number> {
  let over = false
  const from = clock.monotonic() + tookMs
  const resting = rests.after(taking(clock, tookMs)).then(() => {
    over = true
  })
  await settled()
  while (!over) {
    assert.ok(clock.step(), 'it rests for ever')
    await settled()
  }
  await resting
  return clock.monotonic() - from
}

test('after a piece it rests a multiple of what the piece took, up to a bound', async () => {
  const clock = new SimulatedClock(0)
  const rests = new Rests(clock)
  assert.equal(await restAfter(rests, clock, 1), STORE_REST_FACTOR)
  assert.equal(await restAfter(rests, clock, 1_000), STORE_REST_MAX_MS)
  assert.equal(await restAfter(rests, clock, 0), 0)
})

test('when somebody waits for the end, a rest ends at once and there is none until there is time again', async () => {
  const clock = new SimulatedClock(0)
  const rests = new Rests(clock)
  const resting = rests.after(taking(clock, 2))
  await settled()
  rests.hurry()
  await resting
  assert.equal(clock.monotonic(), 2)
  assert.equal(await restAfter(rests, clock, 2), 0)
  rests.leisurely()
  assert.equal(await restAfter(rests, clock, 2), 2 * STORE_REST_FACTOR)
})

test('a piece that fails is no rest, and says why', async () => {
  const rests = new Rests(new SimulatedClock(0))
  await assert.rejects(
    rests.after(() => Promise.reject(new Error('the disk is gone'))),
    /the disk is gone/,
  )
})
