// When what is kept goes out: everything once a peer has appeared, nothing again for nothing, and never much at once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openHomeRecord, openRegionRecord, SimulatedClock, simulatedRandom, systemClock } from '#protocol'
import { homeRecord, recordOf, testRegion, testUser } from './fixtures.ts'
import { memoryStorage, silentEvents } from './index.ts'
import { PEER_APPEARED_BURST, PUBLISH_PARALLEL } from './limits.ts'
import { startPublisher } from './publisher.ts'
import { type Entry, homeEntry, regionEntry } from './record-kinds.ts'
import { openRecordTable } from './record-table.ts'

const PEOPLE = 40
const STEP_MS = 25

/** A publisher with `PEOPLE` records that nobody has taken yet. */
async function lonely() {
  const clock = new SimulatedClock(systemClock.now())
  const storage = memoryStorage()
  const table = await openRecordTable(storage, clock, silentEvents)
  const net = { peers: 0, accepts: 0, appear: (): void => undefined }
  const times = new Map<string, number>()
  const order: string[] = []
  let atOnce = 0
  let most = 0
  const dht = {
    peers: () => net.peers,
    lookup: () => Promise.resolve(undefined),
    publish: (entry: Entry) => {
      order.push(entry.id)
      times.set(entry.id, (times.get(entry.id) ?? 0) + 1)
      most = Math.max(most, ++atOnce)
      return Promise.resolve(net.accepts)
    },
    onPeer: (callback: () => void) => {
      net.appear = callback
    },
  }
  const random = simulatedRandom(1)
  const restarted = () =>
    startPublisher({ table, dht, storage, clock, random, renewal: undefined, events: silentEvents })
  const publisher = await restarted()
  const region = testRegion()
  for (let i = 0; i < PEOPLE; i++)
    await publisher.keep(homeEntry(openHomeRecord(homeRecord(testUser(), region, 1), clock.now())))
  const addRegion = () => publisher.keep(regionEntry(openRegionRecord(recordOf(region, [], 1), clock.now())))
  const pass = async (ms: number): Promise<void> => {
    for (const until = clock.now() + ms; clock.now() < until; ) {
      const next = Math.min(until, clock.now() + STEP_MS)
      atOnce = 0
      while (clock.step(next));
      clock.advanceTo(next)
      await new Promise(setImmediate)
    }
  }
  times.clear()
  order.length = 0
  most = 0
  return { net, times, order, pass, mostAtOnce: () => most, publisher, restarted, addRegion, regionId: region.regionId }
}

test('all that nobody had goes out when a peer appears, once, and a little at a time', async () => {
  const { net, times, pass, mostAtOnce, publisher } = await lonely()
  Object.assign(net, { peers: 1, accepts: 1 })
  net.appear()
  await pass((PEOPLE / PUBLISH_PARALLEL + 3) * 1_000)
  assert.equal(times.size, PEOPLE)
  await pass(3_600_000)
  assert.deepEqual([...new Set(times.values())], [1])
  assert.equal(mostAtOnce(), 1)
  publisher.close()
})

test('after a restart the region comes first, and who nobody has before those whom many have', async () => {
  const { net, order, pass, restarted, regionId, addRegion, publisher: before } = await lonely()
  await addRegion()
  before.close()
  order.length = 0
  const publisher = await restarted()
  Object.assign(net, { peers: 1, accepts: 0 })
  await pass(1_200)
  assert.equal(order[0], regionId)
  await pass(4_000)
  assert.ok(order.filter((id) => id === regionId).length >= 2, 'it is tried again before all others had their turn')
  publisher.close()
})

test('strangers who come and go do not make it go out each time', async () => {
  const { net, times, pass, publisher } = await lonely()
  Object.assign(net, { peers: 1, accepts: 1 })
  for (let i = 0; i < 10 * PEER_APPEARED_BURST; i++) {
    net.appear()
    await pass(300)
  }
  assert.equal(times.size, PEOPLE)
  assert.ok(Math.max(...times.values()) <= PEER_APPEARED_BURST + 3, `${Math.max(...times.values())} times`)
  publisher.close()
})
