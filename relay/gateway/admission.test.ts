import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ParleyError } from '#protocol'
import {
  SIGN_IN_AGAIN_MS,
  SIGN_IN_LINE_MAX_MS,
  SIGN_IN_SHARE,
  SIGN_IN_TURN_MS,
  SIGN_INS_IN_LINE_MAX,
} from '../limits.ts'
import { createAdmission, type Part } from './admission.ts'

function door() {
  let now = 0
  const done: string[] = []
  let timer: { at: number; callback: () => void } | undefined
  const admission = createAdmission({
    monotonic: () => now,
    after(ms, callback) {
      assert.equal(timer, undefined, 'one timer at a time')
      timer = { at: now + ms, callback }
      return { cancel: () => assert.fail('nothing is cancelled') }
    },
  })
  return {
    admission,
    /** Takes so long when its turn has come. */
    wait: (part: Part, tookMs: number, name: string = part) =>
      admission.wait(part, () => {
        done.push(name)
        now += tookMs
      }),
    /** What was done since the last time. */
    done: () => done.splice(0),
    /** The next turn, after others had theirs. */
    pass(): string[] {
      if (!timer) return []
      const { at, callback } = timer
      timer = undefined
      now = Math.max(now, at)
      callback()
      return done.splice(0)
    },
    later(ms: number): void {
      now += ms
    },
    now: () => now,
    isQuiet: () => timer === undefined,
  }
}

test('who comes alone waits for nothing', () => {
  const { wait, done, later, isQuiet } = door()
  for (let i = 0; i < 10; i++) {
    wait('begin', SIGN_IN_TURN_MS / 4)
    later(SIGN_IN_TURN_MS / 4)
    wait('hello', SIGN_IN_TURN_MS / 4)
    later(SIGN_IN_TURN_MS / 4)
  }
  assert.equal(done().length, 20)
  assert.ok(isQuiet())
})

test('a crowd has its share of the time, in short turns, and is let in in the order in which it came', () => {
  const { wait, done, pass, now, isQuiet } = door()
  const names = Array.from({ length: 1_000 }, (_, i) => `${i}`)
  for (const name of names) wait('begin', SIGN_IN_TURN_MS / 4, name)
  const all = done()
  assert.equal(all.length, 4)
  while (!isQuiet()) {
    const from = now()
    const some = pass()
    assert.ok(some.length <= 4, `${some.length} in one turn`)
    assert.ok(now() - from >= SIGN_IN_TURN_MS / SIGN_IN_SHARE || isQuiet(), 'others have their turn')
    all.push(...some)
  }
  assert.deepEqual(all, names)
  const wholeMs = (names.length * SIGN_IN_TURN_MS) / 4 / SIGN_IN_SHARE
  assert.ok(now() >= wholeMs - 2 * SIGN_IN_TURN_MS && now() <= 1.1 * wholeMs, `${now()} ms for all of them`)
})

test('what takes longer than a turn has it alone, and others have theirs for the longer', () => {
  const { wait, done, pass, now } = door()
  for (const name of ['a', 'b', 'c']) wait('proof', 5 * SIGN_IN_TURN_MS, name)
  assert.deepEqual([done(), pass(), pass(), pass()], [['a'], ['b'], ['c'], []])
  assert.equal(now(), (3 * 5 * SIGN_IN_TURN_MS) / SIGN_IN_SHARE)
})

test('who is further goes first', () => {
  const { wait, done, pass } = door()
  for (const part of ['begin', 'begin', 'hello', 'proof', 'open', 'check'] as const) wait(part, SIGN_IN_TURN_MS)
  assert.deepEqual(done(), ['begin'])
  assert.deepEqual([pass(), pass(), pass(), pass(), pass()].flat(), ['open', 'check', 'proof', 'hello', 'begin'])
})

test('newcomers are told when to come again once the line is too long, or moves too slowly', () => {
  const { admission, wait, pass, later, isQuiet } = door()
  const refused = (): ParleyError | undefined => admission.full()
  for (let i = 0; i < SIGN_INS_IN_LINE_MAX; i++) wait('begin', SIGN_IN_TURN_MS)
  assert.equal(refused(), undefined)
  wait('begin', SIGN_IN_TURN_MS)
  assert.equal(admission.inLine(), SIGN_INS_IN_LINE_MAX)
  assert.equal(refused()?.code, 'overloaded')
  assert.equal(refused()?.retryAfterMs, SIGN_IN_AGAIN_MS)
  pass()
  assert.equal(refused(), undefined)
  later(SIGN_IN_LINE_MAX_MS)
  assert.equal(refused()?.code, 'overloaded')
  while (!isQuiet()) pass()
  assert.equal(refused(), undefined)
})

test('a turn that fails is told to who waited for it, and the next one is not kept from its own', async () => {
  const { admission, wait, pass, isQuiet } = door()
  wait('begin', SIGN_IN_TURN_MS)
  const failing = admission.turn('check', () => {
    throw new Error('not this one')
  })
  const good = admission.turn('check', () => 7)
  while (!isQuiet()) pass()
  await assert.rejects(failing, /not this one/)
  assert.equal(await good, 7)
})
