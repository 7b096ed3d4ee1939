import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LOUD_SHARE, TURN_MS, WAITING_EACH_MAX_BYTES } from '../limits.ts'
import { createTurns, type Step } from './turns.ts'

type Speaker = { readonly name: string; held: boolean }

function room() {
  let now = 0
  const said: string[] = []
  const next: (() => void)[] = []
  const turns = createTurns<Speaker>({
    clock: { monotonic: () => now },
    schedule: (callback) => void next.push(callback),
    hold: (speaker) => {
      speaker.held = true
    },
    release: (speaker) => {
      speaker.held = false
    },
  })
  const steps = (name: string, tookMs: number, count: number): Step | undefined => {
    if (count === 0) return undefined
    return () => {
      said.push(name)
      now += tookMs
      return steps(name, tookMs, count - 1)
    }
  }
  return {
    said,
    speaker: (name: string): Speaker => ({ name, held: false }),
    say: (speaker: Speaker, tookMs: number, count = 1, bytes = 100, name = speaker.name) =>
      turns.say(speaker, bytes, steps(name, tookMs, count)!),
    /** What was said since the last time. */
    turn(): string[] {
      for (const callback of next.splice(0)) callback()
      return said.splice(0)
    },
    pass(ms: number): void {
      now += ms
    },
    isQuiet: () => next.length === 0,
  }
}

test('what comes is handled at once while there is time, and in its order when there is none', () => {
  const { said, speaker, say, turn, isQuiet } = room()
  const [ana, ben] = [speaker('a'), speaker('b')]
  say(ana, TURN_MS / 4)
  say(ben, TURN_MS)
  assert.deepEqual(said.splice(0), ['a', 'b'])
  say(ana, 0.01)
  say(ana, 0.01)
  assert.deepEqual(said, [])
  assert.deepEqual(turn(), ['a', 'a'])
  assert.deepEqual(turn(), [])
  assert.ok(isQuiet())
})

test('no turn is longer than its time and one step, however much was said', () => {
  const { speaker, say, turn, said } = room()
  say(speaker('a'), TURN_MS / 2, 20)
  assert.equal(said.splice(0).length, 2)
  const turns: number[] = []
  for (let i = 0; i < 20; i++) turns.push(turn().length)
  assert.equal(
    turns.reduce((sum, length) => sum + length),
    18,
  )
  assert.ok(turns.every((length) => length <= 2))
})

test('who said little lately goes before those who are loud; these take turns and do get theirs', () => {
  const { speaker, say, turn, said, pass } = room()
  const loud = [speaker('x'), speaker('y')]
  for (const one of loud) say(one, TURN_MS, 100)
  said.splice(0)
  turn()
  const order: string[] = []
  for (let i = 0; i < 16; i++) {
    say(speaker('q'), TURN_MS / 8)
    order.push(...said.splice(0), ...turn())
  }
  assert.equal(order.filter((name) => name === 'q').length, 16, 'each was heard before the next turn')
  const [x, y] = loud.map(({ name }) => order.filter((other) => other === name).length)
  assert.ok(x! + y! >= 4 && Math.abs(x! - y!) <= 1, `${x} and ${y}`)
  // Whoever was loud is quiet again when others have had their share.
  const late = speaker('z')
  say(late, TURN_MS)
  said.splice(0)
  pass(TURN_MS / LOUD_SHARE)
  say(late, TURN_MS / 8)
  assert.deepEqual(turn().slice(0, 1), ['z'])
})

test('however many quiet ones there are, the loud get every fourth turn', () => {
  const { speaker, say, turn, said } = room()
  say(speaker('x'), TURN_MS, 100)
  say(speaker('x'), TURN_MS, 100)
  turn()
  said.splice(0)
  for (let i = 0; i < 40; i++) say(speaker('q'), TURN_MS)
  const order: string[] = []
  for (let i = 0; i < 20; i++) order.push(...turn())
  const loud = order.filter((name) => name === 'x').length
  assert.ok(loud >= 4 && loud <= 6, order.join(''))
})

test('steps of one speaker stay in their order, though it has become quiet again', () => {
  const { speaker, say, turn, said, pass } = room()
  const ana = speaker('a')
  say(speaker('b'), TURN_MS)
  say(ana, TURN_MS, 3)
  turn()
  pass((10 * TURN_MS) / LOUD_SHARE)
  say(ana, TURN_MS / 8, 1, 100, 'A')
  for (let i = 0; i < 6; i++) said.push(...turn())
  assert.equal(said.join(''), 'aaA')
})

test('who has much waiting is not read until all of it was heard', () => {
  const { speaker, say, turn } = room()
  const loud = speaker('a')
  say(speaker('b'), TURN_MS)
  for (let bytes = 0; bytes < WAITING_EACH_MAX_BYTES; bytes += 1024) {
    assert.ok(!loud.held)
    say(loud, TURN_MS / 50, 1, 1024)
  }
  assert.ok(loud.held)
  while (turn().length > 0);
  assert.ok(!loud.held)
})
