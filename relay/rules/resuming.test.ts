// A host with conversations in two other regions, of which one was away: what it gets when it is back, and when.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import {
  type ConvId,
  convIdBytes,
  ItemKind,
  LogStateSchema,
  type RegionId,
  type RelayItem,
  readHeader,
} from '#protocol'
import { makeRegion } from '../fixtures.ts'
import { type Bench, makePair, openBench, type Pair, submissionOf, type TestSession } from './bench.ts'
import { RULE_LIMITS } from './limits.ts'
import { CatchUpPace } from './resuming.ts'

const HERE = makeRegion()
const [EAST, WEST] = [makeRegion(), makeRegion()]
const CONVERSATIONS = 3
const ENTRIES = 40
/** An entry without its parts for others is about a hundred bytes here. */
const LIMITS = { itemBytes: 400, lagTurnBytes: 400, catchUpTickBytes: 1_200 }
const TICK_MOST_ENTRIES = 16

function hostedHere(there: typeof HERE): Pair {
  for (;;) {
    const pair = makePair(HERE, there)
    if (pair.host.region === HERE.regionId) return pair
  }
}

type Sent = { readonly region: RegionId; readonly conv: ConvId; readonly n: number }

function sentOf(bench: Bench): Sent[] {
  return bench.out.splice(0).flatMap((it) => {
    if (it.to !== 'region' || it.item.kind !== ItemKind.LOG) return []
    const { region, conv } = it
    return it.item.value.entry.map((entry) => ({ region, conv, n: readHeader(entry).at % 2 ** 32 }))
  })
}

const has = (n: number): RelayItem => ({ kind: ItemKind.LOG_STATE, value: create(LogStateSchema, { epoch: 1, n }) })

async function scene(patienceMs = RULE_LIMITS.patienceMs) {
  const east = Array.from({ length: CONVERSATIONS }, () => hostedHere(EAST))
  const west = Array.from({ length: CONVERSATIONS }, () => hostedHere(WEST))
  const pairs = [...east, ...west]
  const people = pairs.flatMap(({ host, other }) => [host, other])
  const bench = await openBench(HERE.regionId, people, { limits: { ...LIMITS, patienceMs } })
  const devices = new Map<Pair, TestSession>()
  for (const pair of pairs) {
    const device = bench.session(pair.host)
    device.frame({ names: [{ ref: 1, convId: convIdBytes(pair.id), genesis: pair.genesis, homeRecords: [] }] as never })
    devices.set(pair, device)
  }
  await bench.settle()
  const say = (pair: Pair, k: number): void =>
    devices.get(pair)!.frame({ submissions: [submissionOf(pair, k, { conv: 1 })] })
  for (let k = 1; k <= ENTRIES; k++) {
    for (const pair of pairs) say(pair, k)
    await bench.settle()
  }
  sentOf(bench)
  return { bench, east, west, pairs, say }
}

/** Acknowledges whatever is sent, tick after tick, until nothing is left; what went in each tick. */
async function caughtUp(bench: Bench, first: readonly Sent[], missing: Map<ConvId, number>): Promise<Sent[][]> {
  const ticks = [[...first]]
  for (let rounds = 0; missing.size > 0; rounds++) {
    assert.ok(rounds < 1_000, 'it never ends')
    const last = ticks.at(-1)!
    for (const { conv, n, region } of last) {
      bench.hear(region, conv, has(n))
      if (n === missing.get(conv)) missing.delete(conv)
    }
    const more = sentOf(bench)
    last.push(...more)
    await bench.pass(RULE_LIMITS.tickMs)
    ticks.push(sentOf(bench))
  }
  return ticks
}

for (const [what, patienceMs] of [
  ['what waits in the journal', RULE_LIMITS.patienceMs],
  ['what lags', 1],
] as const) {
  test(`${what} goes a piece at a time, from conversation to conversation, a bounded amount a tick`, async () => {
    const { bench, east } = await scene(patienceMs)
    await bench.pass(RULE_LIMITS.sweepMs)
    bench.linkUp(EAST.regionId)
    await bench.settle()
    const missing = new Map(east.map(({ id }) => [id, ENTRIES]))
    const ticks = await caughtUp(bench, sentOf(bench), missing)
    for (const tick of ticks) assert.ok(tick.length <= TICK_MOST_ENTRIES, `${tick.length} entries in one tick`)
    for (const { id } of east) {
      const numbers = ticks.flat().flatMap(({ conv, n }) => (conv === id ? [n] : []))
      assert.deepEqual(
        numbers,
        Array.from({ length: ENTRIES }, (_, i) => i + 1),
      )
    }
    const half = ticks.flat().slice(0, (CONVERSATIONS * ENTRIES) / 2)
    for (const { id } of east) {
      const share = half.filter(({ conv }) => conv === id).length
      assert.ok(share >= ENTRIES / 4, `${share} of ${half.length} are of one of ${CONVERSATIONS} conversations`)
    }
  })

  test(`${what}: two regions that come back together get it in turn`, async () => {
    const { bench, pairs } = await scene(patienceMs)
    await bench.pass(RULE_LIMITS.sweepMs)
    bench.linkUp(EAST.regionId)
    bench.linkUp(WEST.regionId)
    await bench.settle()
    const ticks = await caughtUp(bench, sentOf(bench), new Map(pairs.map(({ id }) => [id, ENTRIES])))
    const half = ticks.flat().slice(0, CONVERSATIONS * ENTRIES)
    for (const { regionId } of [EAST, WEST]) {
      const share = half.filter(({ region }) => region === regionId).length
      assert.ok(share >= half.length / 4, `${share} of ${half.length} went to one of two regions`)
    }
  })
}

test('what is said to others meanwhile goes at once', async () => {
  const { bench, east, west, say } = await scene()
  const [one] = west as [Pair]
  bench.linkUp(WEST.regionId)
  await bench.settle()
  await caughtUp(bench, sentOf(bench), new Map(west.map(({ id }) => [id, ENTRIES])))
  bench.linkUp(EAST.regionId)
  assert.ok(sentOf(bench).length < CONVERSATIONS * ENTRIES, 'much of it waits for a later tick')
  say(one, ENTRIES + 1)
  await bench.settle()
  assert.deepEqual(sentOf(bench), [{ region: WEST.regionId, conv: one.id, n: ENTRIES + 1 }])
  // In a conversation in which older things wait it comes after them.
  const [late] = east.slice(-1) as [Pair]
  say(late, ENTRIES + 1)
  await bench.settle()
  assert.deepEqual(sentOf(bench), [])
})

test('a piece counts as the largest until it is known how large it is, and as something however small', () => {
  const pace = new CatchUpPace(10_000)
  const first = pace.piece(6_000)
  const second = pace.piece(6_000)
  assert.ok(pace.isSpent)
  first(1_000)
  assert.ok(!pace.isSpent)
  second(0)
  for (let i = 0; !pace.isSpent; i++) {
    assert.ok(i < 100)
    pace.piece(100)(0)
  }
  pace.tick()
  pace.tick()
  pace.piece(9_999)(9_999)
  assert.ok(!pace.isSpent, 'what was not used in a tick is not kept for the next')
  pace.piece(1)(1)
  assert.ok(pace.isSpent)
})
