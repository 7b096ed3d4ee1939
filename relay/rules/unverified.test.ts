import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { IntroSchema, ItemKind, type RelayItem, SubmissionsSchema } from '#protocol'
import { makeRegion } from '../fixtures.ts'
import { makePair, openBench, type Pair, streamKeyOf, submissionOf } from './bench.ts'

const HERE = makeRegion()
const THERE = makeRegion()
const PART_BYTES = 60_000
/** Of each of three people; 34 of them are what may wait. */
const BATCHES = 16

function hostedHere(): Pair {
  for (;;) {
    const pair = makePair(HERE, THERE)
    if (pair.host.region === HERE.regionId) return pair
  }
}

const intro = ({ genesis }: Pair): RelayItem => ({
  kind: ItemKind.INTRO,
  value: create(IntroSchema, { genesis, homeRecords: [] }),
})

function large(pair: Pair, k: number): RelayItem {
  const body = new Uint8Array(PART_BYTES)
  const parts = [pair.host, pair.other].map(({ member }) => ({ member, device: 1, body }))
  const items = [submissionOf(pair, k, { parts: parts as never })]
  return {
    kind: ItemKind.SUBMISSIONS,
    value: create(SubmissionsSchema, { author: streamKeyOf(pair.other), items }),
  }
}

test('what waits for manifests is bounded for a region, and what is not taken is asked for again', async () => {
  const pairs = [hostedHere(), hostedHere(), hostedHere()]
  const bench = await openBench(
    HERE.regionId,
    pairs.flatMap(({ host, other }) => [host, other]),
  )
  const manifests = new Map(pairs.map(({ other }) => [other.userId, bench.manifests.get(other.userId)!]))
  for (const user of manifests.keys()) bench.manifests.delete(user)
  bench.linkUp(THERE.regionId)
  for (const pair of pairs) bench.hear(THERE.regionId, pair.id, intro(pair))
  await bench.settle()
  const said = (): Record<string, string[]> => {
    const found = bench.out.splice(0).flatMap((o): [string, string][] => {
      if (o.to !== 'region' || o.item.kind !== ItemKind.SUBMISSION_STATE) return []
      const { verdict, last } = o.item.value
      return [[o.conv, verdict.case === 'wait' ? verdict.value.code : `${last}`]]
    })
    return Object.fromEntries(pairs.map(({ id }, i) => [i, found.flatMap(([conv, what]) => (conv === id ? what : []))]))
  }
  const all = Array.from({ length: BATCHES }, (_, i) => i + 1)
  const speak = (): void => {
    for (const pair of pairs) bench.hear(THERE.regionId, pair.id, ...all.map((k) => large(pair, k)))
  }
  speak()
  await bench.settle()
  const first = said()
  assert.deepEqual([first[0], first[1]], [[], []], 'nobody knows their manifests')
  assert.deepEqual(first[2], Array(14).fill('overloaded'))
  for (const [user, manifest] of manifests) bench.manifests.set(user, manifest)
  speak()
  await bench.settle()
  for (const told of Object.values(said())) assert.equal(told.at(-1), `${BATCHES}`)
})
