import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import {
  chainHash,
  convIdBytes,
  encodeItem,
  type HomeRecord,
  IntroSchema,
  ItemKind,
  LogSchema,
  LogStateSchema,
  openHomeRecord,
  type Position,
  positionOf,
  REGISTER_DELIVERED,
  REGISTER_READ,
  type RegionId,
  RegistersSchema,
  type RelayItem,
  SafeSchema,
  SubmissionStateSchema,
  SubmissionsSchema,
  TakeoverSchema,
  userIdBytes,
} from '#protocol'
import { makeRegion } from '../fixtures.ts'
import {
  type Bench,
  entryOf,
  makePair,
  makePairHostedBy,
  movedTo,
  openBench,
  type Pair,
  type Side,
  START_MS,
  streamKeyOf,
  submissionOf,
  tagOf,
} from './bench.ts'

const HERE = makeRegion()
const THERE = makeRegion()
const STRANGERS = makeRegion()

const hosted = makePairHostedBy(HERE, THERE)
const replica = makePairHostedBy(THERE, HERE)
const unheard = makePair(HERE, THERE)
const elsewhere = makePair(THERE, STRANGERS)
const bystanders = makePair(HERE, STRANGERS)

const at = (n: number): Position => positionOf(1, n)
const sideOf = (pair: Pair, region: RegionId): Side => (pair.host.region === region ? pair.host : pair.other)
const EMPTY = new Uint8Array(0)

const intro = (pair: Pair, genesis = pair.genesis, homeRecords: HomeRecord[] = []): RelayItem => ({
  kind: ItemKind.INTRO,
  value: create(IntroSchema, { genesis, homeRecords }),
})
const submissions = (author: Side, ...ks: number[]): RelayItem => ({
  kind: ItemKind.SUBMISSIONS,
  value: create(SubmissionsSchema, { author: streamKeyOf(author), items: ks.map((k) => submissionOf(hosted, k)) }),
})
const state = (author: Side, more: MessageInitShape<typeof SubmissionStateSchema> = {}): RelayItem => ({
  kind: ItemKind.SUBMISSION_STATE,
  value: create(SubmissionStateSchema, { author: streamKeyOf(author), last: 0, ...more } as never),
})
const log = (entry: Uint8Array[], headHash: Uint8Array = EMPTY): RelayItem => ({
  kind: ItemKind.LOG,
  value: create(LogSchema, { entry, headHash }),
})
const logState = (n: number, gap = false): RelayItem => ({
  kind: ItemKind.LOG_STATE,
  value: create(LogStateSchema, { epoch: 1, n, gap }),
})
const safe = (n: number): RelayItem => ({ kind: ItemKind.SAFE, value: create(SafeSchema, { epoch: 1, n }) })
const register = (member: number, more: { kind?: number; device?: number; n?: number; body?: Uint8Array } = {}) => {
  const { kind = REGISTER_DELIVERED, device = 0, n = 1, body = EMPTY } = more
  const items = [{ conv: 0, kind, member, device, version: BigInt(at(n)), body }]
  return { kind: ItemKind.REGISTERS, value: create(RegistersSchema, { items }) } as const
}

/** Knows `hosted` with one entry by here and one by there, and `replica` with one by each. */
async function openHere(): Promise<Bench> {
  const people = [hosted, replica, bystanders, unheard].flatMap((p) => [p.host, p.other])
  const bench = await openBench(HERE.regionId, people)
  bench.linkUp(THERE.regionId)
  bench.linkUp(STRANGERS.regionId)
  bench.hear(THERE.regionId, hosted.id, intro(hosted), submissions(sideOf(hosted, THERE.regionId), 1, 2))
  bench.hear(THERE.regionId, replica.id, intro(replica), log([entryOf(replica.host, 1, at(1))]))
  await bench.settle()
  bench.hear(THERE.regionId, hosted.id, logState(1))
  await bench.settle()
  assert.deepEqual(bench.cut, [])
  return bench
}

type Bad = { code: string; from?: RegionId; pair?: Pair; says: RelayItem[] | { kind: number; body: Uint8Array } }
const theirs = sideOf(hosted, THERE.regionId)
const mine = sideOf(hosted, HERE.regionId)
const host = replica.host
const guest = sideOf(replica, HERE.regionId)
const stranger = STRANGERS.regionId
const whole = encodeItem(log([entryOf(host, 2, at(2))]))

const BAD: Record<string, Bad> = {
  'an intro with the genesis of another conversation': {
    code: 'bad_id',
    says: [intro(hosted, bystanders.genesis)],
    pair: unheard,
  },
  'an intro of people who both live elsewhere': {
    code: 'not_home',
    pair: elsewhere,
    says: [intro(elsewhere, elsewhere.genesis, [elsewhere.host.home.record, elsewhere.other.home.record])],
  },
  'an intro by a region where no member lives': {
    code: 'not_member',
    pair: unheard,
    from: stranger,
    says: [intro(unheard)],
  },
  'an intro of somebody whose home nobody knows': { code: 'unknown_user', pair: elsewhere, says: [intro(elsewhere)] },
  'an intro with a forged home record': {
    code: 'unknown_user',
    pair: elsewhere,
    says: [intro(elsewhere, elsewhere.genesis, [forged(elsewhere.host.home.record)])],
  },
  'something before any intro': { code: 'unknown_conversation', pair: unheard, says: [logState(0)] },
  'something from a region where no member lives': { code: 'not_member', from: stranger, says: [logState(1)] },
  'submissions of somebody who lives here': { code: 'not_home', says: [submissions(mine, 1)] },
  'submissions of nobody': { code: 'not_home', says: [submissions({ ...theirs, member: 7 }, 3)] },
  'submissions to a region that does not host': { code: 'not_host', pair: replica, says: [submissions(host, 1)] },
  'entries by a region that does not host': { code: 'not_host', says: [log([entryOf(theirs, 3, at(3))])] },
  'entries of nobody': { code: 'malformed', pair: replica, says: [log([entryOf(host, 2, at(2), { member: 2 })])] },
  'entries whose k skips one': { code: 'conflict', pair: replica, says: [log([entryOf(host, 3, at(2))])] },
  'entries whose k comes again': { code: 'conflict', pair: replica, says: [log([entryOf(host, 1, at(2))])] },
  'entries whose first k is not 1': { code: 'conflict', pair: replica, says: [log([entryOf(guest, 2, at(2))])] },
  'entries of another history': {
    code: 'conflict',
    pair: replica,
    says: [
      log([entryOf(host, 2, at(2))], hashOf([entryOf(host, 1, at(1), { tag: tagOf(9) }), entryOf(host, 2, at(2))])),
    ],
  },
  'a verdict by a region that does not host': { code: 'not_host', says: [state(mine, { last: 1 })] },
  'a verdict about somebody who lives there': { code: 'not_home', pair: replica, says: [state(host, { last: 1 })] },
  'a verdict about nobody': { code: 'malformed', pair: replica, says: [state({ ...guest, member: 7 })] },
  '`safe` by a region that does not host': { code: 'not_host', says: [safe(1)] },
  'an acknowledgement of more than there is': { code: 'malformed', says: [logState(3)] },
  'an acknowledgement to a region that does not host': { code: 'not_host', pair: replica, says: [logState(1)] },
  'a register of somebody who lives here': { code: 'not_home', says: [register(mine.member)] },
  'a register of somebody here, by the host': { code: 'not_home', pair: replica, says: [register(guest.member)] },
  'a register of nobody': { code: 'malformed', says: [register(2)] },
  'a register of an unknown kind': { code: 'malformed', says: withoutCheck(ItemKind.REGISTERS, registers(3, EMPTY)) },
  'a register with too large a body': {
    code: 'too_large',
    says: withoutCheck(ItemKind.REGISTERS, registers(REGISTER_READ, new Uint8Array(513), 1)),
  },
  'a body that is cut off': {
    code: 'malformed',
    pair: replica,
    says: { kind: ItemKind.LOG, body: whole.subarray(0, whole.length - 1) },
  },
  'bytes that are no message': {
    code: 'malformed',
    says: { kind: ItemKind.SUBMISSIONS, body: new Uint8Array(40).fill(0xff) },
  },
  'a body of nothing': { code: 'malformed', says: { kind: ItemKind.LOG, body: EMPTY } },
  'an item of an unknown kind': { code: 'malformed', says: { kind: 99, body: EMPTY } },
}

function forged(record: HomeRecord): HomeRecord {
  const head = record.head!
  return { ...record, head: { ...head, signature: head.signature.slice().fill(1) } }
}

function hashOf(entries: Uint8Array[]): Uint8Array {
  return entries.reduce((hash, entry) => chainHash(hash, entry), convIdBytes(replica.id))
}

function registers(kind: number, body: Uint8Array, device = 0) {
  return create(RegistersSchema, { items: [{ kind, member: theirs.member, device, version: BigInt(at(1)), body }] })
}

function withoutCheck(kind: typeof ItemKind.REGISTERS, value: ReturnType<typeof registers>) {
  return { kind, body: encodeItem({ kind, value }) }
}

/** No honest region says such a thing, whatever it believes: its link is cut. Everything else is refused by itself. */
const CUTTING = ['malformed', 'too_large', 'too_many', 'bad_id']

for (const [name, { code, from = THERE.regionId, pair = hosted, says }] of Object.entries(BAD)) {
  const cuts = CUTTING.includes(code)
  test(`${name}: ${code}, ${cuts ? 'and only that link is cut' : 'and no link is cut'}`, async () => {
    const bench = await openHere()
    const before = await rowsOf(bench)
    if (Array.isArray(says)) bench.hear(from, pair.id, ...says)
    else bench.hearRaw(from, { conv: pair.id, ...says })
    await bench.settle()
    assert.deepEqual(bench.refused, [code])
    assert.deepEqual(bench.cut, cuts ? [{ region: from, code }] : [])
    assert.deepEqual(await rowsOf(bench), before, 'nothing of it was taken')
    // Everybody else goes on, and so does that region when it comes back.
    const other = from === stranger ? THERE.regionId : stranger
    const fine = from === stranger ? hosted : bystanders
    bench.hear(other, fine.id, intro(fine))
    bench.hear(THERE.regionId, hosted.id, submissions(theirs, 3))
    bench.hear(
      THERE.regionId,
      replica.id,
      log([entryOf(host, 2, at(2))], hashOf([entryOf(host, 1, at(1)), entryOf(host, 2, at(2))])),
    )
    await bench.settle()
    assert.equal(bench.refused.length, 1)
    assert.ok(bench.store.peek(`c/${fine.id}`, 's'))
    assert.equal(await entriesIn(bench, hosted), 3)
    assert.equal(await entriesIn(bench, replica), 2)
  })
}

async function entriesIn(bench: Bench, pair: Pair): Promise<number> {
  const entries = bench.store.entries(`c/${pair.id}`, 0, at(100), 1_000_000)
  await bench.settle()
  return (await entries).length
}

/** Logs and registers: what somebody could have smuggled in. */
async function rowsOf(bench: Bench): Promise<string[]> {
  const out: string[] = []
  for (const pair of [hosted, replica, unheard, elsewhere, bystanders]) {
    const options = { from: undefined, to: undefined, limit: 1_000, reverse: false }
    const range = bench.store.range(`c/${pair.id}`, options)
    await bench.settle()
    for (const [key, value] of await range) out.push(`${pair.id} ${key} ${Buffer.from(value).toString('hex')}`)
  }
  return out
}

test('one bad item does not take the good ones around it along', async () => {
  const bench = await openHere()
  bench.hear(THERE.regionId, hosted.id, submissions(theirs, 3), submissions(mine, 1), submissions(theirs, 4))
  await bench.settle()
  assert.deepEqual(bench.refused, ['not_home'])
  assert.equal(await entriesIn(bench, hosted), 4)
})

test('a register is acknowledged up to what there is, whatever the other region says', async () => {
  const bench = await openHere()
  const device = bench.session(mine)
  const names = [{ ref: 1, convId: convIdBytes(hosted.id), genesis: hosted.genesis, homeRecords: [] }] as never
  device.frame({ names, cursors: [{ conv: 1, epoch: 1, n: 1, rewind: false }] as never })
  await bench.settle()
  const ack = register(mine.member, { n: 4_000_000 })
  bench.hear(THERE.regionId, hosted.id, { ...ack, kind: ItemKind.REGISTERS_STATE })
  await bench.settle()
  bench.out.length = 0
  await bench.pass(2_000)
  device.frame({ cursors: [{ conv: 1, epoch: 1, n: 2, rewind: false }] as never })
  await bench.settle()
  bench.hear(THERE.regionId, hosted.id, { ...register(mine.member), kind: ItemKind.REGISTERS_STATE })
  await bench.settle()
  bench.relay.linkDown(THERE.regionId)
  bench.out.length = 0
  bench.linkUp(THERE.regionId)
  await bench.settle()
  const again = bench.out.flatMap((o) =>
    o.to === 'region' && o.item.kind === ItemKind.REGISTERS ? o.item.value.items : [],
  )
  assert.deepEqual(
    again.map((r) => r.version),
    [BigInt(at(2))],
    'the new version is still owed',
  )
})

test('where somebody lived and left, a region that believes something older still hears where they live', async () => {
  const bench = await openHere()
  const { home, userId } = guest
  const { regionId } = STRANGERS
  bench.homes.set(userId, movedTo(STRANGERS, guest))
  bench.relay.homeChanged(userId)
  await bench.settle()
  const taken = create(TakeoverSchema, {
    epoch: 1,
    done: true,
    genesis: replica.genesis,
    userId: [userIdBytes(userId)],
  })
  bench.hear(regionId, replica.id, { kind: ItemKind.TAKEOVER, value: taken })
  await bench.settle()
  bench.out.length = 0
  bench.hear(THERE.regionId, replica.id, intro(replica, replica.genesis, [home.record]))
  await bench.settle()
  const told = bench.out.flatMap((o) =>
    o.to === 'region' && o.region === THERE.regionId && o.item.kind === ItemKind.INTRO ? o.item.value.homeRecords : [],
  )
  assert.ok(told.some((one) => openHomeRecord(one, START_MS).homeRegion === regionId))
})

test('a region that says nothing but what is refused is cut off, and a sweep forgives', async () => {
  const bench = await openHere()
  const bad = (count: number) =>
    bench.hear(THERE.regionId, replica.id, ...Array<RelayItem>(count).fill(submissions(host, 1)))
  bad(1_000)
  assert.deepEqual(bench.cut, [])
  await bench.pass(1_000)
  bad(1_000)
  assert.deepEqual(bench.cut, [])
  bad(1)
  assert.deepEqual(bench.cut, [{ region: THERE.regionId, code: 'not_host' }])
})

test('older entries are acknowledged again, newer ones are a gap; neither is taken', async () => {
  const bench = await openHere()
  const states = () =>
    bench.out.flatMap((o) =>
      o.to === 'region' && o.item.kind === ItemKind.LOG_STATE ? [[o.item.value.n, o.item.value.gap]] : [],
    )
  bench.out.length = 0
  bench.hear(THERE.regionId, replica.id, log([entryOf(host, 1, at(1))]))
  await bench.settle()
  assert.deepEqual(states(), [[1, false]])
  bench.out.length = 0
  bench.hear(THERE.regionId, replica.id, log([entryOf(host, 3, at(3))]))
  await bench.settle()
  assert.deepEqual(states(), [[1, true]])
  assert.deepEqual(bench.cut, [])
})
