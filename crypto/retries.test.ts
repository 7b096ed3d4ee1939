import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mayAnswer, whenToAsk } from './retries.ts'

test('a reader asks at once, then ever more rarely, then gives up; an author answers a little longer than that', () => {
  const waits: number[] = []
  let times = 0
  for (let due = whenToAsk(times, 1_000); due !== undefined; due = whenToAsk(++times, 1_000)) waits.push(due)
  assert.equal(waits[0], 0)
  assert.ok(waits.length >= 2 && waits.length <= 10)
  for (let i = 2; i < waits.length; i++) assert.ok(waits[i]! > waits[i - 1]! && waits[1]! > 1_000)
  assert.equal(whenToAsk(1, 5_000)! - whenToAsk(1, 1_000)!, 4_000)
  assert.equal(whenToAsk(1_000, 0), undefined)
  let answers = 0
  while (mayAnswer(answers)) answers++
  assert.ok(answers >= times && answers <= times + 2)
})
