import assert from 'node:assert/strict'
import { test } from 'node:test'
import { simulatedRandom } from '#protocol'
import { conditionOf } from './conditions.ts'
import { FAULTS_MS } from './limits.ts'
import { type Cast, createSchedule, type Fault, killsOf, type Scheduled } from './schedule.ts'

/** Regions of several nodes too. */
const CAST: Cast = {
  regions: [['a1', 'a2'], ['b1'], ['c1', 'c2']],
  people: [
    { name: 'ana', home: 'a1' },
    { name: 'ben', home: 'b1' },
  ],
  entry: 'entry',
}
const ROUNDS = 6

const schedule = (seed: number): Scheduled[] => {
  const it = createSchedule(CAST, simulatedRandom(seed))
  return Array.from({ length: ROUNDS }, () => it.round(33)).flat()
}

test('the same seed, the same schedule', () => {
  assert.deepEqual(schedule(7), schedule(7))
  assert.notDeepEqual(schedule(7), schedule(8))
})

test('as many kills as were asked for, every kind of fault, all within the round', () => {
  const all = schedule(1)
  const kills = all.flatMap(({ fault }) => (fault.is === 'kill' ? [fault] : []))
  assert.equal(
    kills.reduce((sum, it) => sum + killsOf(it), 0),
    33 * ROUNDS,
  )
  const kinds = new Set(all.map(({ fault }) => ('kind' in fault ? fault.kind : fault.is)))
  assert.equal(kinds.size, 8 + 8 + 3 + 2, [...kinds].join(', '))
  for (const { atMs } of all) assert.ok(atMs > 0 && atMs < FAULTS_MS)
  const names = new Set(kills.flatMap(({ targets }) => targets))
  assert.deepEqual([...names].sort(), ['a1', 'a2', 'ana', 'b1', 'ben', 'c1', 'c2', 'entry'])
  assert.ok(kills.some(({ power }) => power) && kills.some(({ power }) => !power))
})

test('what a network fault touches', () => {
  const order = ['a1', 'a2', 'b1', 'c1', 'c2']
  const of = (kind: (Fault & { is: 'network' })['kind']) => {
    const drawn = { loud: false, ms: 1, delayMs: 1, jitterMs: 1, bytesPerSecond: 1 }
    const { touches } = conditionOf({ is: 'network', kind, order, pair: ['a1', 'ana'], ...drawn })
    const all = [...order, 'ana']
    return all.flatMap((from) => all.filter((to) => from !== to && touches(from, to)).map((to) => `${from}>${to}`))
  }
  assert.equal(of('halves').length, 2 * 2 * 3)
  assert.equal(of('ring').length, 5 * 2)
  assert.equal(of('one alone').length, 2 * 5)
  assert.deepEqual(of('one way'), ['a1>ana'])
  assert.equal(of('slow').length, 5 * 4)
  for (const kind of ['thin', 'stall', 'reset'] as const) assert.deepEqual(of(kind), ['a1>ana', 'ana>a1'])
})
