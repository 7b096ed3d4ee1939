// What stories of a few people cannot show: many rows, many regions, disks that stay full.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import {
  ConversationNameSchema,
  compareIds,
  convIdBytes,
  directConvId,
  directGenesis,
  epochOf,
  IntroSchema,
  ItemKind,
  LogSchema,
  LogStateSchema,
  nOf,
  type Position,
  positionOf,
  readHeader,
  StreamKeySchema,
  SubmissionStateSchema,
  SubmissionsSchema,
  type UserId,
  writeEntry,
} from '#protocol'
import { makeRegion } from '../fixtures.ts'
import {
  type Bench,
  entryOf,
  makePair,
  makePairHostedBy,
  openBench,
  type Pair,
  type Side,
  streamKeyOf,
  submissionOf,
} from './bench.ts'
import { feedPartition, inboxPartition, POSITION_KEY } from './conversation-rows.ts'
import { FOUNDED_WITHOUT_ROOM_MAX } from './founding.ts'
import { newInboxRow, writeInboxRow } from './inbox.ts'
import { RULE_LIMITS } from './limits.ts'

const HERE = makeRegion()
const THERE = makeRegion()

const ALL = { from: undefined, to: undefined, reverse: false } as const

const named = ({ id, genesis }: Pair) => [create(ConversationNameSchema, { ref: 1, convId: convIdBytes(id), genesis })]
const acked = (at: Position) => create(LogStateSchema, { epoch: epochOf(at), n: nOf(at) })

function said({ out }: Bench, from: number): { conv: string; at: Position }[] {
  return out.slice(from).flatMap((it) => {
    if (it.to !== 'region' || it.item.kind !== ItemKind.LOG) return []
    return [{ conv: it.conv, at: readHeader(it.item.value.entry.at(-1)!).at }]
  })
}

test('a device is told of what waits for it, however many rows another device of its owner has left', async () => {
  const pair = makePairHostedBy(HERE, HERE)
  const bench = await openBench(HERE.regionId, [pair.host, pair.other])
  const author = bench.session(pair.host)
  await bench.settle()
  author.frame({ names: named(pair), submissions: [{ ...submissionOf(pair, 1), conv: 1 }] })
  await bench.settle()
  const row = writeInboxRow(newInboxRow(positionOf(1, 1), 1))
  for (let i = 0; i < 9_000; i++)
    bench.store.put(inboxPartition(pair.other.userId), `parleyc1!${String(i).padStart(6, '0')}`, row)
  await bench.settle()
  const from = bench.out.length
  bench.session(pair.other, 'other')
  await bench.settle()
  assert.ok(
    bench.out.slice(from).some((it) => it.to === 'device' && it.session === 'other' && it.frame.behind.length > 0),
  )
})

test('who always has more to say does not keep the others of its region from what they are owed', async () => {
  const pairs = Array.from({ length: 6 }, () => makePairHostedBy(HERE, THERE)).sort((a, b) => (a.id < b.id ? -1 : 1))
  const people = pairs.flatMap(({ host, other }) => [host, other])
  const bench = await openBench(HERE.regionId, people, { limits: { lagStreams: 2 } })
  const sessions = pairs.map(({ host }) => bench.session(host))
  await bench.settle()
  const k = pairs.map(() => 0)
  const say = (i: number): void =>
    sessions[i]!.frame({ submissions: [{ ...submissionOf(pairs[i]!, ++k[i]!), conv: 1 }] })
  for (const [i, pair] of pairs.entries()) {
    sessions[i]!.frame({ names: named(pair) })
    say(i)
  }
  // Long enough that all of it has left the journal.
  for (let i = 0; i < 15; i++) await bench.pass(1_000)
  let from = bench.out.length
  bench.linkUp(THERE.regionId)
  const got = new Set<string>()
  const onItsWay: { due: number; conv: string; at: Position }[] = []
  for (let t = 0; t < 400 && got.size < pairs.length; t++) {
    say(0)
    say(1)
    await bench.pass(50)
    for (const { conv, at } of said(bench, from)) {
      got.add(conv)
      onItsWay.push({ due: t + 4, conv, at })
    }
    from = bench.out.length
    while (onItsWay[0] && onItsWay[0].due <= t) {
      const { conv, at } = onItsWay.shift()!
      bench.hear(THERE.regionId, conv as Pair['id'], { kind: ItemKind.LOG_STATE, value: acked(at) })
    }
    await bench.settle()
  }
  assert.equal(got.size, pairs.length)
})

test('what one stream never has acknowledged does not keep the journal, and is sent again', async () => {
  const [far, near] = [makePairHostedBy(HERE, THERE), makePairHostedBy(HERE, HERE)]
  const bench = await openBench(HERE.regionId, [far.host, far.other, near.host, near.other])
  bench.linkUp(THERE.regionId)
  const [one, two] = [bench.session(far.host), bench.session(near.host)]
  await bench.settle()
  one.frame({ names: named(far), submissions: [{ ...submissionOf(far, 1), conv: 1 }] })
  two.frame({ names: named(near) })
  await bench.settle()
  const from = bench.out.length
  for (let k = 1; k <= 200; k++) {
    two.frame({ submissions: [{ ...submissionOf(near, k), conv: 1 }] })
    // It lives, and says nothing of that conversation.
    bench.hear(THERE.regionId, far.id, { kind: ItemKind.LOG_STATE, value: acked(0 as Position) })
    await bench.pass(1_000)
  }
  const oldest = Math.min(...bench.disk.records.keys())
  assert.ok(bench.store.committed() - oldest < 150, `${oldest} of ${bench.store.committed()} is still there`)
  assert.ok(said(bench, from).length > 1)
})

test('a region that is owed nothing costs nothing in a commit', async () => {
  const pair = makePairHostedBy(HERE, HERE)
  const bench = await openBench(HERE.regionId, [pair.host, pair.other])
  const session = bench.session(pair.host)
  await bench.settle()
  session.frame({ names: named(pair), submissions: [{ ...submissionOf(pair, 1), conv: 1 }] })
  await bench.settle()
  const lastRecord = () => bench.disk.records.get(bench.store.committed())!.length
  const before = lastRecord()
  for (let i = 0; i < 100; i++) bench.linkUp(makeRegion().regionId)
  await bench.settle()
  session.frame({ submissions: [{ ...submissionOf(pair, 2), conv: 1 }] })
  await bench.settle()
  session.frame({ submissions: [{ ...submissionOf(pair, 3), conv: 1 }] })
  await bench.settle()
  assert.ok(lastRecord() < before + 100, `${lastRecord()} bytes after ${before}`)
})

test('what other regions say is left to them while the disk has no room, and taken once it has', async () => {
  const pair = makePairHostedBy(THERE, HERE)
  const failed: Error[] = []
  const bench = await openBench(HERE.regionId, [pair.host, pair.other], { failed: (error) => void failed.push(error) })
  // The reserve holds what a checkpoint writes, as the real one does.
  Object.assign(bench.disk.faults, { capacityBytes: 60_000_000, reserveBytes: 40_000_000 })
  bench.linkUp(THERE.regionId)
  bench.hear(THERE.regionId, pair.id, {
    kind: ItemKind.INTRO,
    value: create(IntroSchema, { genesis: pair.genesis }),
  })
  await bench.settle()
  const body = new Uint8Array(60_000)
  const hear = async (k: number): Promise<void> => {
    const header = readHeader(entryOf(pair.host, k, positionOf(1, k)))
    const entry = writeEntry(header, [{ member: 1, device: 1, body }])
    bench.hear(THERE.regionId, pair.id, { kind: ItemKind.LOG, value: create(LogSchema, { entry: [entry] }) })
    await bench.pass(RULE_LIMITS.sweepMs)
  }
  for (let k = 1; k < 1_200; k++) await hear(k)
  assert.deepEqual(failed, [])
  assert.ok(!bench.store.hasRoom())
  const states = () =>
    bench.out.flatMap((it) => (it.to === 'region' && it.item.kind === ItemKind.LOG_STATE ? [it.item.value] : []))
  const taken = Math.max(...states().map(({ n }) => n))
  bench.disk.faults.capacityBytes = Number.POSITIVE_INFINITY
  await bench.pass(10_000)
  await bench.pass(RULE_LIMITS.sweepMs)
  assert.deepEqual([states().at(-1)!.n, states().at(-1)!.gap], [taken, true], 'asked for by itself')
  for (const k of [1, 2, 3]) await hear(taken + k)
  assert.equal(states().at(-1)!.n, taken + 3)
})

test('what is held here makes room by standing in the log, though there is no room', async () => {
  const pair = makePairHostedBy(THERE, HERE)
  const bench = await openBench(HERE.regionId, [pair.host, pair.other])
  const session = bench.session(pair.other)
  await bench.settle()
  session.frame({ names: named(pair), submissions: [1, 2].map((k) => ({ ...submissionOf(pair, k), conv: 1 })) })
  await bench.settle()
  Object.assign(bench.disk.faults, { capacityBytes: 10_000_000, reserveBytes: 10_000_000 })
  await bench.pass(10_000)
  bench.store.hasRoom()
  await bench.settle()
  assert.ok(!bench.store.hasRoom())
  bench.linkUp(THERE.regionId)
  const hear = async (author: Side, k: number, n: number): Promise<void> => {
    const entry = [entryOf(author, k, positionOf(1, n))]
    bench.hear(THERE.regionId, pair.id, { kind: ItemKind.LOG, value: create(LogSchema, { entry }) })
    await bench.settle()
  }
  const head = () =>
    Math.max(
      ...bench.out.flatMap((it) =>
        it.to === 'region' && it.item.kind === ItemKind.LOG_STATE ? [it.item.value.n] : [],
      ),
    )
  await hear(pair.other, 1, 1)
  await hear(pair.other, 2, 2)
  await hear(pair.host, 1, 3)
  assert.equal(head(), 2)
})

test('without room few conversations are founded for other regions, and who says more of others is not refused', async () => {
  const pairs = Array.from({ length: 45 }, () => makePairHostedBy(THERE, HERE))
  const people = pairs.flatMap(({ host, other }) => [host, other])
  const bench = await openBench(HERE.regionId, people)
  bench.linkUp(THERE.regionId)
  Object.assign(bench.disk.faults, { capacityBytes: 10_000_000, reserveBytes: 10_000_000 })
  await bench.pass(10_000)
  bench.store.hasRoom()
  await bench.settle()
  assert.ok(!bench.store.hasRoom())
  const all = pairs
    .flatMap(({ host }) => pairs.map(({ other }) => [host.userId, other.userId] as const))
    .filter(([a, b]) => compareIds(a, b) < 0)
    .slice(0, FOUNDED_WITHOUT_ROOM_MAX + 9)
  const entry = [entryOf(pairs[0]!.host, 1, positionOf(1, 1))]
  const hear = async ([a, b]: readonly [UserId, UserId]): Promise<void> => {
    const id = directConvId(a, b)
    const value = create(IntroSchema, { genesis: directGenesis(a, b) })
    bench.hear(THERE.regionId, id, { kind: ItemKind.INTRO, value })
    await bench.settle()
    bench.hear(THERE.regionId, id, { kind: ItemKind.LOG, value: create(LogSchema, { entry }) })
    await bench.settle()
  }
  for (const pair of all) await hear(pair)
  assert.deepEqual([bench.refused, bench.inspect().conversations], [[], FOUNDED_WITHOUT_ROOM_MAX])
  bench.disk.faults.capacityBytes = Number.POSITIVE_INFINITY
  while (!bench.store.hasRoom()) await bench.pass(RULE_LIMITS.sweepMs)
  await hear(all.at(-1)!)
  assert.deepEqual([bench.refused, bench.inspect().conversations], [[], FOUNDED_WITHOUT_ROOM_MAX + 1])
})

test('what is said after a long silence leaves at once', async () => {
  const pair = makePairHostedBy(HERE, THERE)
  const bench = await openBench(HERE.regionId, [pair.host, pair.other])
  bench.linkUp(THERE.regionId)
  const session = bench.session(pair.host)
  await bench.settle()
  session.frame({ names: named(pair), submissions: [{ ...submissionOf(pair, 1), conv: 1 }] })
  await bench.settle()
  bench.hear(THERE.regionId, pair.id, { kind: ItemKind.LOG_STATE, value: acked(said(bench, 0).at(-1)!.at) })
  for (let i = 0; i < 20; i++) await bench.pass(RULE_LIMITS.patienceMs / 5)
  const from = bench.out.length
  session.frame({ submissions: [{ ...submissionOf(pair, 2), conv: 1 }] })
  await bench.settle()
  assert.equal(said(bench, from).length, 1)
})

for (const what of ['falls silent', 'is owed at a takeover'] as const) {
  test(`however much a region that ${what} misses, a commit has few rows of it`, async () => {
    const demoted = 10
    const pairs = Array.from({ length: 50 }, () => makePairHostedBy(HERE, THERE))
    const people = pairs.flatMap(({ host, other }) => [host, other])
    let bench = await openBench(HERE.regionId, people, { limits: { demoted } })
    for (const pair of pairs) {
      const session = bench.session(pair.host)
      await bench.settle()
      session.frame({ names: named(pair), submissions: [{ ...submissionOf(pair, 1), conv: 1 }] })
      await bench.settle()
    }
    const before = bench.store.committed()
    if (what === 'is owed at a takeover') bench = await bench.restart()
    else for (let i = 0; i < 30; i++) await bench.pass(1_000)
    const range = bench.store.range(feedPartition(THERE.regionId), { ...ALL, limit: 1_000 })
    await bench.settle()
    assert.equal((await range).filter(([key]) => key !== POSITION_KEY).length, pairs.length)
    const lengths = [...bench.disk.records].flatMap(([commit, bytes]) => (commit > before ? [bytes.length] : []))
    // A row is two names of 60 bytes and a number.
    assert.ok(lengths.length >= pairs.length / demoted && Math.max(...lengths) < demoted * 300, `${lengths}`)
  })
}

test('devices that nobody vouches for are refused, and nothing is remembered of them', async () => {
  const pair = makePairHostedBy(HERE, THERE)
  const bench = await openBench(HERE.regionId, [pair.host, pair.other])
  bench.linkUp(THERE.regionId)
  bench.hear(THERE.regionId, pair.id, { kind: ItemKind.INTRO, value: create(IntroSchema, { genesis: pair.genesis }) })
  await bench.settle()
  const states = () =>
    bench.out.flatMap((it) =>
      it.to === 'region' && it.item.kind === ItemKind.SUBMISSION_STATE ? [it.item.value.last] : [],
    )
  for (let registrationVersion = 1; registrationVersion <= 300; registrationVersion++) {
    for (const member of [0, 1]) {
      const author = create(StreamKeySchema, { member, device: 1, registrationEpoch: 7, registrationVersion })
      const submissions = create(SubmissionsSchema, { author, items: [submissionOf(pair, 1)] })
      const state = create(SubmissionStateSchema, { author, last: 1 })
      if (member === 1) bench.hear(THERE.regionId, pair.id, { kind: ItemKind.SUBMISSIONS, value: submissions })
      else bench.hear(THERE.regionId, pair.id, { kind: ItemKind.SUBMISSION_STATE, value: state })
    }
    await bench.settle()
  }
  assert.equal(states().length, 300)
  assert.ok(bench.inspect().authors < 5, `${bench.inspect().authors}`)
  const author = create(StreamKeySchema, streamKeyOf(pair.other))
  const value = create(SubmissionsSchema, { author, items: [submissionOf(pair, 1), submissionOf(pair, 2)] })
  bench.hear(THERE.regionId, pair.id, { kind: ItemKind.SUBMISSIONS, value })
  await bench.settle()
  assert.equal(states().at(-1), 2)
})

/** Somebody here whose conversations are all hosted there, each with one entry that is not safe yet. */
async function openWithMany(least: number): Promise<{ bench: Bench; hub: Side; count: number }> {
  // The one with the highest id hosts nothing.
  const here = Array.from({ length: 8 }, () => makePair(HERE, HERE).other)
  const hub = here.reduce((a, b) => (compareIds(a.userId, b.userId) > 0 ? a : b))
  const pairs: Pair[] = []
  while (pairs.length < least) {
    const { host: one, other: two } = makePair(THERE, THERE)
    for (const host of [one, two]) {
      const [a, b] = [host.userId, hub.userId]
      if (compareIds(a, b) < 0)
        pairs.push({ id: directConvId(a, b), genesis: directGenesis(a, b), host: { ...host, member: 0 }, other: hub })
    }
  }
  const bench = await openBench(
    HERE.regionId,
    pairs.flatMap(({ host, other }) => [host, other]),
  )
  bench.linkUp(THERE.regionId)
  for (const { id, genesis, host } of pairs) {
    const entry = [entryOf(host, 1, positionOf(1, 1))]
    bench.hear(THERE.regionId, id, { kind: ItemKind.INTRO, value: create(IntroSchema, { genesis }) })
    bench.hear(THERE.regionId, id, { kind: ItemKind.LOG, value: create(LogSchema, { entry }) })
  }
  await bench.settle()
  return { bench, hub, count: pairs.length }
}

test('what is asked and told of many conversations goes in portions, at the pace of who is told', async () => {
  const { bench, hub, count } = await openWithMany(300)
  const asked = () => bench.out.filter((it) => it.to === 'region' && it.item.kind === ItemKind.LOG_STATE).length
  await bench.pass(10)
  const before = asked()
  bench.up.delete(THERE.regionId)
  bench.relay.linkDown(THERE.regionId)
  bench.linkUp(THERE.regionId)
  assert.ok(asked() - before < count, 'in a link-up')
  for (let i = 0; i < 3; i++) await bench.pass(10)
  assert.equal(asked() - before, count)
  const told = (session: string) =>
    bench.out.flatMap((it) => (it.to === 'device' && it.session === session ? it.frame.behind : [])).length
  const slow = bench.session(hub, 'slow')
  slow.backlog = RULE_LIMITS.sessionBacklogBytes + 1
  await bench.settle()
  assert.equal(told('slow'), 0)
  slow.backlog = 0
  await bench.pass(RULE_LIMITS.sweepMs)
  assert.equal(told('slow'), count)
})

test('entries that are refused leave no authors behind', async () => {
  const pair = makePairHostedBy(THERE, HERE)
  const bench = await openBench(HERE.regionId, [pair.host, pair.other])
  bench.linkUp(THERE.regionId)
  bench.hear(THERE.regionId, pair.id, { kind: ItemKind.INTRO, value: create(IntroSchema, { genesis: pair.genesis }) })
  await bench.settle()
  for (let registrationVersion = 1; registrationVersion <= 300; registrationVersion++) {
    const header = { ...readHeader(entryOf(pair.host, 2, positionOf(1, 1))), registrationVersion }
    const entry = [writeEntry(header, [])]
    bench.hear(THERE.regionId, pair.id, { kind: ItemKind.LOG, value: create(LogSchema, { entry }) })
    await bench.settle()
  }
  assert.equal(bench.refused.length, 300)
  assert.ok(bench.inspect().authors < 5, `${bench.inspect().authors}`)
})
