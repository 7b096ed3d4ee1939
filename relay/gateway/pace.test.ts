import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '#protocol'
import { PACE_BURST, PACE_ITEM_COST, PACE_PER_SECOND } from '../limits.ts'
import { createPace } from './pace.ts'

function device() {
  const socket = {
    readyState: 1,
    reads: true,
    pause() {
      socket.reads = false
    },
    resume() {
      socket.reads = true
    },
  }
  return { socket, holds: 0 }
}

const pass = (clock: SimulatedClock, ms: number): void => {
  const until = clock.now() + ms
  while (clock.step(until));
  clock.advanceTo(until)
}

test('a burst goes through; who says more is not read until it has waited for it', () => {
  const clock = new SimulatedClock(0)
  const pace = createPace(clock)
  const [loud, quiet] = [device(), device()]
  pace.spend(loud, PACE_BURST, 0)
  assert.ok(loud.socket.reads)
  pace.spend(loud, PACE_PER_SECOND / 10, 0)
  assert.ok(!loud.socket.reads)
  pace.spend(quiet, 1_000, 1)
  assert.ok(quiet.socket.reads)
  pass(clock, 90)
  assert.ok(!loud.socket.reads)
  pass(clock, 30)
  assert.ok(loud.socket.reads)
})

test('over a long time nobody is faster than the pace, whatever the size of what it says', () => {
  for (const [bytes, items] of [
    [16, 1],
    [20_000, 50],
  ] as const) {
    const clock = new SimulatedClock(0)
    const pace = createPace(clock)
    const loud = device()
    let said = 0
    for (let ms = 0; ms < 10_000; ms++) {
      while (loud.socket.reads && said < 1e9) {
        pace.spend(loud, bytes, items)
        said += bytes + items * PACE_ITEM_COST
      }
      pass(clock, 1)
    }
    const perSecond = (said - PACE_BURST) / 10
    assert.ok(perSecond < PACE_PER_SECOND * 1.05 && perSecond > PACE_PER_SECOND * 0.9, `${perSecond}`)
  }
})

test('a socket that has closed meanwhile is left alone', () => {
  const clock = new SimulatedClock(0)
  const pace = createPace(clock)
  const closing = device()
  const { socket } = closing
  pace.spend(closing, 2 * PACE_BURST, 0)
  socket.readyState = 3
  pass(clock, 10_000)
  assert.ok(!socket.reads)
})
