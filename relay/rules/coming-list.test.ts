import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { type ConvId, convIdBytes, IntroSchema, ItemKind, type RelayItem } from '#protocol'
import { makeRegion } from '../fixtures.ts'
import { type Bench, makePairHostedBy, movedTo, openBench, type Pair, submissionOf } from './bench.ts'

const HERE = makeRegion()
const THERE = makeRegion()
/** Where people lived who live here now: it answers nothing. */
const SILENT = makeRegion()
const LIMITS = { comingSpokenOf: 2, comingSteps: 3, takeoverPatienceMs: 1_000, takeoverAgainMs: 100 }

const intro = ({ genesis }: Pair): RelayItem => ({ kind: ItemKind.INTRO, value: create(IntroSchema, { genesis }) })

/** What is asked for within the next second. */
async function lookedFor(bench: Bench, pairs: readonly Pair[]): Promise<number[]> {
  const from = bench.out.length
  for (let i = 0; i < 10; i++) await bench.pass(100)
  const asked = new Set<ConvId>()
  for (const out of bench.out.slice(from))
    if (out.to === 'region' && out.item.kind === ItemKind.TAKEOVER) asked.add(out.conv)
  return pairs.flatMap(({ id }, i) => (asked.has(id) ? [i] : []))
}

test('what only a region speaks of, and never comes, makes room for what it speaks of later; what a device needs does not', async () => {
  const pairs = Array.from({ length: 8 }, () => makePairHostedBy(THERE, HERE))
  const people = pairs.flatMap(({ host, other }) => [host, other])
  const bench = await openBench(HERE.regionId, people, { limits: LIMITS })
  for (const { other } of pairs) {
    bench.homes.set(other.userId, movedTo(HERE, other))
    bench.former.set(other.userId, { region: SILENT.regionId, generation: 1, gone: false })
  }
  for (const { regionId } of [THERE, SILENT]) bench.linkUp(regionId)
  const speak = async (...of: number[]): Promise<void> => {
    for (const i of of) bench.hear(THERE.regionId, pairs[i]!.id, intro(pairs[i]!))
    await bench.settle()
  }

  await speak(0, 1, 2, 3, 4, 5)
  assert.deepEqual(await lookedFor(bench, pairs), [0, 1, 2, 3, 4, 5], 'all of them have the time that they need')
  const { id, other, genesis } = pairs[1]!
  const device = bench.session(other)
  device.frame({
    names: [{ ref: 1, convId: convIdBytes(id), genesis, homeRecords: [] }] as never,
    submissions: [submissionOf(pairs[1]!, 1, { conv: 1 })],
  })
  await bench.settle()
  assert.equal(device.closed, undefined)
  assert.deepEqual(await lookedFor(bench, pairs), [0, 1, 2, 3, 4, 5])
  assert.deepEqual(bench.refused, [])

  await speak(6)
  assert.deepEqual(await lookedFor(bench, pairs), [1, 5, 6])
  assert.deepEqual(bench.refused, ['overloaded', 'overloaded', 'overloaded', 'overloaded'])
  await speak(0, 7)
  assert.deepEqual(await lookedFor(bench, pairs), [0, 1, 6, 7], 'may be spoken of again')
})
