import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MessageChannel } from 'node:worker_threads'
import { create } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { systemClock, systemRandom } from './clock.ts'
import { RefusalSchema } from './gen/session_pb.ts'
import * as limits from './limits.ts'
import { errorOf, isRefusalCode, ParleyError, refusalOf } from './refusals.ts'
import { SimulatedClock, simulatedRandom } from './simulated.ts'

describe('simulated clock', () => {
  it('runs what is due in order of time, then of request', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -5, max: 50 })), (delays) => {
        const clock = new SimulatedClock(1_000)
        const ran: [number, number][] = []
        delays.forEach((ms, index) => void clock.after(ms, () => ran.push([clock.now(), index])))
        while (clock.step()) {}
        const expected = delays.map((ms, index): [number, number] => [1_000 + Math.max(0, ms), index])
        expected.sort((a, b) => a[0] - b[0] || a[1] - b[1])
        assert.deepEqual(ran, expected)
      }),
    )
  })

  it('stops before what lies beyond, forgets what was cancelled, and takes what a callback adds', () => {
    const clock = new SimulatedClock(0)
    const ran: string[] = []
    clock.after(5, () => {
      ran.push('a')
      clock.after(1, () => ran.push('b'))
    })
    clock.after(5, () => ran.push('never')).cancel()
    clock.after(100, () => ran.push('late'))
    while (clock.step(50)) {}
    assert.deepEqual(ran, ['a', 'b'])
    assert.equal(clock.now(), 6)
    clock.advanceTo(200)
    clock.advanceTo(10)
    assert.equal(clock.monotonic(), 200)
    assert.ok(clock.step())
    assert.equal(clock.now(), 200, 'time does not go back')
    assert.ok(!clock.step())
  })
})

describe('randomness', () => {
  it('is the same for the same seed and another for another', () => {
    assert.deepEqual(simulatedRandom(7).bytes(64), simulatedRandom(7).bytes(64))
    assert.notDeepEqual(simulatedRandom(7).bytes(64), simulatedRandom(8).bytes(64))
    const random = simulatedRandom(1)
    assert.notDeepEqual(random.bytes(16), random.bytes(16))
  })

  it('of either kind has fractions in [0, 1) and as many bytes as asked for', () => {
    for (const random of [systemRandom, simulatedRandom(3)]) {
      const fractions = Array.from({ length: 1_000 }, () => random.fraction())
      assert.ok(fractions.every((fraction) => fraction >= 0 && fraction < 1))
      const mean = fractions.reduce((sum, fraction) => sum + fraction, 0) / fractions.length
      assert.ok(mean > 0.4 && mean < 0.6, `mean ${mean}`)
      assert.equal(random.bytes(33).length, 33)
    }
  })
})

describe('system randomness', () => {
  it('hands nothing out twice, however little is asked for at a time', () => {
    const seen = new Set<string>()
    for (let i = 0; i < 20_000; i++) {
      const bytes = systemRandom.bytes(8 + (i % 40))
      assert.equal(bytes.length, 8 + (i % 40))
      seen.add(Buffer.from(bytes.subarray(0, 8)).toString('hex'))
      seen.add(Buffer.from(bytes.subarray(-8)).toString('hex') + (bytes.length === 8 ? ' last' : ''))
    }
    assert.equal(seen.size, 40_000)
    const mine = systemRandom.bytes(4)
    const before = mine.slice()
    systemRandom.bytes(4).fill(7)
    assert.deepEqual(mine, before)
  })
})

describe('system clock', () => {
  it('calls back once, not when cancelled', async () => {
    const before = systemClock.monotonic()
    systemClock.after(1, () => assert.fail('cancelled')).cancel()
    const { port1: keepAlive } = new MessageChannel()
    keepAlive.on('message', () => {})
    await new Promise<void>((resolve) => void systemClock.after(5, resolve))
    keepAlive.close()
    assert.ok(systemClock.monotonic() > before)
    assert.ok(systemClock.now() > 1.7e12)
  })
})

describe('refusals', () => {
  it('cross a wire with code, facts and advice', () => {
    const error = new ParleyError('overloaded', 'too much at once', { limit: '5' }, 250)
    const refusal = refusalOf(error)
    assert.equal(refusal.retry, true)
    const back = errorOf(refusal)
    assert.deepEqual(
      [back.code, back.message, back.facts, back.retryAfterMs, back.retry],
      ['overloaded', 'too much at once', { limit: '5' }, 250, true],
    )
  })

  it('a code from a newer peer keeps its name as a fact', () => {
    const back = errorOf(create(RefusalSchema, { code: 'quantum_flux', message: 'm'.repeat(9_000) }))
    assert.equal(back.code, 'malformed')
    assert.equal(back.facts.code, 'quantum_flux')
    assert.ok(back.message.length <= 500)
    for (const code of ['constructor', '__proto__', 'toString']) assert.ok(!isRefusalCode(code))
  })

  it('a broken invariant is not turned into a refusal', () => {
    const bug = new TypeError('x is undefined')
    assert.throws(() => refusalOf(bug), bug)
  })
})

describe('limits', () => {
  it('are positive whole numbers whose names say their unit', () => {
    for (const [name, value] of Object.entries(limits)) {
      assert.ok(Number.isSafeInteger(value) && value > 0, name)
      assert.match(name, /_(MAX|MS|BYTES|CHARS|LOW)$/, name)
    }
  })
})
