import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openHomeRecord, openRegionRecord, systemClock } from '#protocol'
import { HOUR_MS, homeRecord, recordOf, testRegion, testUser } from './fixtures.ts'
import { memoryStorage, type NodeStorage, silentEvents } from './index.ts'
import { FLOORS_MAX } from './limits.ts'
import { homeEntry, openEntry, regionEntry } from './record-kinds.ts'
import { openRecordTable, type RecordTable } from './record-table.ts'
import { nextRegionRecord } from './region.ts'

/** Every write waits until the test lets it through. */
function slowStorage() {
  const kept = memoryStorage()
  const waiting: (() => void)[] = []
  let failing = 0
  const storage: NodeStorage = {
    ...kept,
    async put(key, value) {
      await new Promise<void>((resolve) => waiting.push(resolve))
      if (failing-- > 0) throw new Error('disk full')
      await kept.put(key, value)
    },
  }
  const step = async (meanwhile?: () => void): Promise<void> => {
    await new Promise(setImmediate)
    meanwhile?.()
    for (const write of waiting.splice(0)) write()
    await new Promise(setImmediate)
  }
  const fail = (writes: number): void => {
    failing = writes
  }
  return { storage, step, fail }
}

async function settled(promise: Promise<unknown>): Promise<boolean> {
  const soon = new Promise((resolve) => setImmediate(resolve, 'waits'))
  return (await Promise.race([promise.catch(() => undefined), soon])) !== 'waits'
}

const open = (storage: NodeStorage): Promise<RecordTable> => openRecordTable(storage, systemClock, silentEvents)

test('floors: only newer, or later not-after of the same; another one of that version never; across restarts', async () => {
  const storage = memoryStorage()
  const table = await open(storage)
  const [user, region, elsewhere] = [testUser(), testRegion(), testRegion()]
  const now = systemClock.now()
  const entry = (version: number, notAfterMs = now + HOUR_MS, home = region) =>
    homeEntry(openHomeRecord(homeRecord(user, home, version, notAfterMs), now))
  const [first, second, renewed, other] = [
    entry(1),
    entry(2),
    entry(2, now + 2 * HOUR_MS),
    entry(2, now + 3 * HOUR_MS, elsewhere),
  ]
  assert.equal(table.offer(first, 'stranger'), 'newer')
  assert.equal(table.offer(second, 'stranger'), 'newer')
  const check = (floors: RecordTable): void => {
    assert.equal(floors.offer(first, 'stranger'), 'older')
    assert.equal(floors.offer(other, 'self'), 'conflict')
    assert.equal(floors.offer(second, 'self'), 'same')
  }
  check(table)
  await table.flushed()
  const again = await open(storage)
  assert.equal(again.known('home', user.userId), undefined)
  assert.equal((await again.load('home', user.userId))?.version, 2)
  check(again)
  assert.equal(again.offer(renewed, 'stranger'), 'newer')
  assert.equal(again.offer(second, 'stranger'), 'older')
  await again.flushed()
  assert.equal((await (await open(storage)).load('home', user.userId))?.notAfterMs, renewed.notAfterMs)
})

test('what strangers bring is on disk, and in memory once somebody wants it; a newer one that comes meanwhile counts', async () => {
  const storage = memoryStorage()
  const asked: (() => void)[] = []
  const slow: NodeStorage = {
    ...storage,
    async get(key) {
      const row = await storage.get(key)
      await new Promise<void>((resolve) => asked.push(resolve))
      return row
    },
  }
  const table = await open(slow)
  const [user, region] = [testUser(), testRegion()]
  const entry = (version: number) => homeEntry(openHomeRecord(homeRecord(user, region, version), systemClock.now()))
  assert.equal(table.offer(entry(1), 'stranger'), 'newer')
  assert.equal(table.known('home', user.userId), undefined)
  await table.flushed()
  const loading = table.load('home', user.userId)
  while (asked.length === 0) await new Promise(setImmediate)
  assert.equal(table.offer(entry(2), 'stranger'), 'newer')
  await table.flushed()
  asked.splice(0)[0]!()
  while (asked.length === 0) await new Promise(setImmediate)
  asked[0]!()
  assert.equal((await loading)?.version, 2)
  assert.equal(table.known('home', user.userId)?.version, 2)
  assert.equal(table.offer(entry(3), 'stranger'), 'newer')
  assert.equal(table.known('home', user.userId)?.version, 3)
})

test('what a region has revoked is known at once, whoever brought it, and after a restart', async () => {
  const [storage, region] = [memoryStorage(), testRegion()]
  const revoked = new Uint8Array(32).fill(7)
  const entry = regionEntry(openRegionRecord(recordOf(region, [], 1, [revoked]), systemClock.now()))
  const revokedIn = (table: RecordTable) => {
    const known = table.known('region', region.regionId)
    return known?.kind === 'region' ? known.region.revokedKeys.map((key) => key[0]) : []
  }
  const table = await open(storage)
  table.offer(entry, 'stranger')
  assert.deepEqual(revokedIn(table), [7])
  await table.flushed()
  assert.deepEqual(revokedIn(await open(storage)), [7])
})

test('what expires is forgotten, on disk too', async () => {
  const storage = memoryStorage()
  const table = await open(storage)
  const user = testUser()
  const now = systemClock.now()
  const entry = homeEntry(openHomeRecord(homeRecord(user, testRegion(), 1, now - 1_000), now))
  table.offer(entry, 'self')
  assert.equal(table.known('home', user.userId), undefined)
  await table.flushed()
  await open(storage)
  assert.deepEqual(await storage.range('', { after: undefined, limit: 10 }), [])
})

test('a write that fails is said to whoever waits for it', async () => {
  const failures: unknown[] = []
  const broken: NodeStorage = { ...memoryStorage(), put: () => Promise.reject(new Error('disk full')) }
  const table = await openRecordTable(broken, systemClock, {
    ...silentEvents,
    storageFailed: (error) => void failures.push(error),
  })
  table.offer(regionEntry(openRegionRecord(recordOf(testRegion(), [], 1), systemClock.now())), 'self')
  await assert.rejects(table.flushed(), /disk full/)
  assert.equal(failures.length, 1)
})

test('what is on disk is said to be, however much comes after it; what failed is tried again', async () => {
  const { storage, step, fail } = slowStorage()
  const table = await open(storage)
  const region = testRegion()
  const offer = (): void => {
    const home = homeEntry(openHomeRecord(homeRecord(testUser(), region, 1), systemClock.now()))
    assert.equal(table.offer(home, 'stranger'), 'newer')
  }
  offer()
  const first = table.flushed()
  let isDone = false
  void first.then(() => {
    isDone = true
  })
  // Each round is followed by another one that has something to write.
  for (let rounds = 0; !isDone; rounds++) {
    assert.ok(rounds < 3, 'still not on disk')
    await step(offer)
  }
  const written = async (): Promise<void> => {
    const flushed = table.flushed()
    while (!(await settled(flushed))) await step()
    await flushed
  }
  await written()
  fail(1)
  offer()
  await assert.rejects(written(), /disk full/)
  await written()
  assert.equal((await open(storage)).ids('home').length, table.ids('home').length)
})

test("what a node keeps for its own people takes nobody else's room", async () => {
  const table = await open(memoryStorage())
  const region = testRegion()
  const offer = (from: 'self' | 'stranger') =>
    table.offer(homeEntry(openHomeRecord(homeRecord(testUser(), region, 1), systemClock.now())), from)
  let own = FLOORS_MAX
  table.keeping(() => own)
  assert.equal(offer('self'), 'newer')
  assert.equal(offer('stranger'), 'newer')
  own = 2 - FLOORS_MAX
  assert.equal(offer('stranger'), 'full')
  assert.equal(offer('self'), 'newer')
})

test('region records: versions rise at each signing, after a restart, and above what others have seen', async () => {
  const [storage, region] = [memoryStorage(), testRegion()]
  const sign = async (from: NodeStorage, known: number | undefined): Promise<number> => {
    const seen = known === undefined ? undefined : openRegionRecord(recordOf(region, [], known), systemClock.now())
    const record = await nextRegionRecord(
      region.keys,
      { name: 'n', nodes: [], revokedKeys: [] },
      from,
      seen,
      systemClock.now(),
    )
    return openRegionRecord(record, systemClock.now()).version
  }
  assert.deepEqual([await sign(storage, undefined), await sign(storage, undefined), await sign(storage, 1)], [1, 2, 3])
  assert.equal(await sign(memoryStorage(), 7), 8)
})

test('a record for another id, or bytes that are none, is refused with its reason', () => {
  assert.throws(() => openEntry('home', new Uint8Array([1, 2, 3]), 0), { code: 'malformed' })
  assert.throws(() => openEntry('region', new Uint8Array(2 ** 20), 0), { code: 'too_large' })
})
