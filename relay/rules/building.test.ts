import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import {
  chainHash,
  convIdBytes,
  IntroSchema,
  ItemKind,
  positionOf,
  RangeSchema,
  type RelayItem,
  regionIdBytes,
  TakeoverStateSchema,
} from '#protocol'
import { makeRegion } from '../fixtures.ts'
import { type Bench, entryOf, makePairHostedBy, movedTo, openBench, streamKeyOf, tagOf } from './bench.ts'

const HERE = makeRegion()
const THERE = makeRegion()
/** Where the one who lives here now lived before. */
const BEFORE = makeRegion()
const AGAIN_MS = 1_000
const HEAD = 3

const pair = makePairHostedBy(THERE, HERE)
const { host, other } = pair
const entries = Array.from({ length: HEAD }, (_, i) => entryOf(host, i + 1, positionOf(1, i + 1)))
const headHash = entries.reduce((hash, entry) => chainHash(hash, entry), convIdBytes(pair.id))
const snapshot = {
  ...{ low: { epoch: 0, n: 0 }, safe: { epoch: 1, n: HEAD }, headHash },
  authors: [
    {
      author: streamKeyOf(host),
      last: HEAD,
      window: entries.map((_, i) => ({ k: i + 1, epoch: 1, n: i + 1, tag: tagOf(i + 1) })),
    },
  ],
}

const intro = (): RelayItem => ({ kind: ItemKind.INTRO, value: create(IntroSchema, { genesis: pair.genesis }) })
const has = (): RelayItem => ({
  kind: ItemKind.TAKEOVER_STATE,
  value: create(TakeoverStateSchema, { hostRegion: regionIdBytes(THERE.regionId), epoch: 1 }),
})
/** Entries from behind `after` up to `to`; the first page carries the rest. */
const page = (after: number, to: number): RelayItem => ({
  kind: ItemKind.RANGE,
  value: create(RangeSchema, {
    ...{ afterEpoch: after === 0 ? 0 : 1, afterN: after, headEpoch: 1, headN: HEAD },
    entry: entries.slice(after, to),
    ...(after === 0 ? { snapshot } : {}),
  }),
})

async function openMoved(): Promise<Bench> {
  const bench = await openBench(HERE.regionId, [host, other], { limits: { takeoverAgainMs: AGAIN_MS } })
  bench.homes.set(other.userId, movedTo(HERE, other))
  bench.former.set(other.userId, { region: BEFORE.regionId, generation: 1, gone: false })
  for (const region of [THERE, BEFORE]) bench.linkUp(region.regionId)
  bench.hear(THERE.regionId, pair.id, intro())
  await bench.settle()
  return bench
}

const asked = (bench: Bench, kind: number): number =>
  bench.out.filter((o) => o.to === 'region' && o.region === BEFORE.regionId && o.item.kind === kind).length

const shown = (bench: Bench): number =>
  bench.out.reduce((sum, o) => sum + (o.to === 'device' ? o.frame.entries.flatMap(({ entry }) => entry).length : 0), 0)

test('a handover that ends before its head is refused, asked for anew, and then taken whole', async () => {
  for (const cutAt of [0, 1, 2]) {
    const bench = await openMoved()
    const says = async (...items: RelayItem[]): Promise<void> => {
      for (const item of items) {
        bench.hear(BEFORE.regionId, pair.id, item)
        await bench.settle()
      }
    }
    const device = bench.session(other)
    device.frame({
      names: [{ ref: 1, convId: convIdBytes(pair.id), genesis: pair.genesis, homeRecords: [] }] as never,
    })
    await says(has())
    assert.equal(asked(bench, ItemKind.FETCH), 1)
    await says(...(cutAt > 0 ? [page(0, cutAt)] : []), page(cutAt, cutAt))
    assert.deepEqual(bench.refused, ['conflict'], `${cutAt}`)
    assert.equal(shown(bench), 0, 'what is not there in full is not served')
    const before = asked(bench, ItemKind.TAKEOVER)
    await bench.pass(AGAIN_MS)
    assert.equal(asked(bench, ItemKind.TAKEOVER), before + 1)
    await says(has(), page(0, 2), page(2, HEAD))
    assert.deepEqual(bench.refused, ['conflict'])
    device.frame({ pulls: [{ conv: 1, epoch: 0, n: 0, maxBytes: 100_000 }] as never })
    await bench.settle()
    assert.equal(shown(bench), HEAD)
  }
})

test('a handover waits for room, however long that takes, and goes on with the one that began it', async () => {
  const bench = await openMoved()
  const give = async (capacityBytes: number): Promise<void> => {
    Object.assign(bench.disk.faults, { capacityBytes, reserveBytes: 10_000_000 })
    await bench.pass(10_000)
    // The store looks how much there is when it is asked.
    bench.store.hasRoom()
    await bench.settle()
  }
  await give(10_000_000)
  assert.ok(!bench.store.hasRoom())
  bench.hear(BEFORE.regionId, pair.id, has())
  await bench.settle()
  const before = asked(bench, ItemKind.TAKEOVER)
  const fetched = asked(bench, ItemKind.FETCH)
  for (let i = 0; i < 60; i++) {
    bench.hear(BEFORE.regionId, pair.id, page(0, 2))
    await bench.pass(AGAIN_MS)
  }
  assert.deepEqual([bench.refused, asked(bench, ItemKind.TAKEOVER)], [[], before])
  assert.equal(asked(bench, ItemKind.FETCH), fetched, 'nothing is asked for that would be thrown away')
  const device = bench.session(other)
  device.frame({
    names: [{ ref: 1, convId: convIdBytes(pair.id), genesis: pair.genesis, homeRecords: [] }] as never,
  })
  await bench.settle()
  assert.equal(shown(bench), 0)
  bench.disk.faults.capacityBytes = Number.POSITIVE_INFINITY
  while (!bench.store.hasRoom()) await bench.pass(AGAIN_MS)
  assert.ok(bench.store.hasRoom())
  for (const item of [page(0, 2), page(2, HEAD)]) {
    bench.hear(BEFORE.regionId, pair.id, item)
    await bench.settle()
  }
  device.frame({ pulls: [{ conv: 1, epoch: 0, n: 0, maxBytes: 100_000 }] as never })
  await bench.settle()
  assert.equal(shown(bench), HEAD)
})
