// The keeping of links without sockets: two nodes on a virtual clock, as the simulator runs them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  openRegionRecord,
  ParleyError,
  type Region,
  type RegionId,
  SimulatedClock,
  signingKey,
  simulatedRandom,
  systemClock,
  systemRandom,
} from '#protocol'
import { type TestRegion, testRegion } from './fixtures.ts'
import {
  LinkKeeper,
  openAdmission,
  type PeerStream,
  type RegionBook,
  type StreamEvents,
  silentEvents,
} from './index.ts'
import { LINK_HELLO_MAX_MS, LINK_UNKNOWN_BACKOFF_MAX_MS, LINKS_HALF_OPEN_MAX, LINKS_MAX } from './limits.ts'
import { certifyNode, signRegionRecord } from './region.ts'

const DELAY_MS = 5

type World = { readonly clock: SimulatedClock; readonly nodes: Map<string, SimulatedNode>; cut: boolean }
type SimulatedNode = {
  readonly keeper: LinkKeeper
  readonly key: Uint8Array
  readonly log: string[]
  /** Regions whose record was asked for. */
  readonly asked: RegionId[]
  accept(stream: PeerStream): void
  appeared(peer: string): void
}

/** Both ends of a stream; bytes take DELAY_MS. */
function streamPair(world: World, from: [string, Uint8Array], to: [string, Uint8Array]): [PeerStream, PeerStream] {
  const ends: (StreamEvents | undefined)[] = [undefined, undefined]
  const side = (me: number, [peerId, peerKey]: [string, Uint8Array]): PeerStream => ({
    peerId,
    peerKey,
    open(events) {
      ends[me] = events
      const later = (run: (other: StreamEvents) => void): void =>
        void world.clock.after(DELAY_MS, () => world.cut || run(ends[1 - me]!))
      return {
        write: (bytes) => {
          later((other) => other.received(bytes))
          return true
        },
        end: () => later((other) => other.closed(undefined)),
      }
    },
  })
  return [side(0, to), side(1, from)]
}

function addNode(
  world: World,
  peerId: string,
  region: TestRegion,
  book: Map<RegionId, Region>,
  wanted: readonly RegionId[] = [],
): SimulatedNode {
  const key = signingKey(systemRandom.bytes(32)).publicKey
  const log: string[] = []
  const asked: RegionId[] = []
  const regions: RegionBook = {
    knownRegion: (id) => book.get(id),
    async findRegion(id) {
      asked.push(id)
      return book.get(id)
    },
    rootEpoch: () => 0,
    noteRootEpoch: () => undefined,
  }
  const node = { key, log, asked } as unknown as { -readonly [K in keyof SimulatedNode]: SimulatedNode[K] }
  node.keeper = new LinkKeeper({
    network: {
      peerId,
      async dial(to) {
        const other = world.nodes.get(to)
        if (!other || world.cut) throw new ParleyError('unreachable', 'cut')
        const [mine, theirs] = streamPair(world, [peerId, key], [to, other.key])
        world.clock.after(DELAY_MS, () => other.accept(theirs))
        log.push(`dial ${to}`)
        return mine
      },
      serve(handlers) {
        node.accept = handlers.stream
        node.appeared = handlers.peer
      },
    },
    book: regions,
    clock: world.clock,
    random: simulatedRandom(peerId.length),
    admission: openAdmission,
    certificate: certifyNode(region.keys, key, 0),
    bootNonce: systemRandom.bytes(16),
    events: silentEvents,
    defer: (callback) => void world.clock.after(0, callback),
  })
  for (const one of wanted) node.keeper.want(one)
  node.keeper.serve({
    up: (_region, peer) => void log.push(`up ${peer}`),
    down: (_region, peer) => void log.push(`down ${peer}`),
    items: (_region, items) => void log.push(...items.map(({ body }) => `item ${Buffer.from(body)}`)),
  })
  const now = systemClock.now()
  const record = signRegionRecord(
    region.keys,
    { name: peerId, nodes: [{ peerId, multiaddrs: [], clientUrls: [] }], revokedKeys: [] },
    1,
    now,
    now + 3_600_000,
  )
  book.set(region.regionId, openRegionRecord(record, now))
  world.nodes.set(peerId, node)
  return node
}

/** Promises settle between the steps. */
async function run(world: World, ms: number): Promise<void> {
  const until = world.clock.now() + ms
  for (;;) {
    await new Promise<void>((resolve) => void setImmediate(resolve))
    if (!world.clock.step(until)) break
  }
  world.clock.advanceTo(until)
}

type TwoNodes = {
  readonly world: World
  readonly book: Map<RegionId, Region>
  readonly a: SimulatedNode
  readonly b: SimulatedNode
  readonly north: TestRegion
  readonly south: TestRegion
}

function twoNodes(): TwoNodes {
  const world: World = { clock: new SimulatedClock(systemClock.now()), nodes: new Map(), cut: false }
  const [north, south, book] = [testRegion(), testRegion(), new Map<RegionId, Region>()]
  return { world, book, north, south, a: addNode(world, 'a', north, book), b: addNode(world, 'b', south, book) }
}

test('when both dial at once, the link that the smaller peer id dialled stays', async () => {
  const { world, a, b, north, south } = twoNodes()
  a.keeper.want(south.regionId)
  b.keeper.want(north.regionId)
  await run(world, 1_000)
  assert.deepEqual(
    [a.log.filter((line) => line.startsWith('dial')), b.log.filter((line) => line.startsWith('dial'))],
    [['dial b'], ['dial a']],
  )
  assert.deepEqual(a.keeper.dialledByUs(south.regionId), true)
  assert.deepEqual(b.keeper.dialledByUs(north.regionId), false)
  assert.ok(
    a.keeper.send(south.regionId, { id: new Uint8Array(32), kind: 1, body: new Uint8Array(Buffer.from('hello')) }),
  )
  await run(world, 100)
  assert.ok(b.log.includes('item hello'))
})

test('what was wanted before there was anybody to serve is dialled', async () => {
  const { world, book, north } = twoNodes()
  const late = addNode(world, 'late', testRegion(), book, [north.regionId])
  await run(world, 1_000)
  late.keeper.want(north.regionId)
  assert.ok(late.keeper.isUp(north.regionId))
})

test('after a cut wire: down at both ends by silence, tried again with pauses, and at once when the peer appears', async () => {
  const { world, a, b, south } = twoNodes()
  a.keeper.want(south.regionId)
  await run(world, 1_000)
  world.cut = true
  await run(world, 20_000)
  assert.deepEqual([a.log.at(-1), b.log.at(-1)], ['down b', 'down a'])
  world.cut = false
  a.appeared('b')
  await run(world, 4 * DELAY_MS + 1)
  assert.ok(a.keeper.isUp(south.regionId))
  // And without anybody appearing: within ten seconds of the heal.
  world.cut = true
  await run(world, 60_000)
  world.cut = false
  await run(world, 6_000)
  assert.ok(a.keeper.isUp(south.regionId))
})

/** Opens streams on which nothing is ever said; returns whose were ended, in that order. */
function silentStreams(to: SimulatedNode, count: number): string[] {
  const ended: string[] = []
  for (let i = 0; i < count; i++) {
    const pipe = { write: () => true, end: () => void ended.push(`silent ${i}`) }
    to.accept({ peerId: `silent ${i}`, peerKey: new Uint8Array(32), open: () => pipe })
  }
  return ended
}

test('silent streams keep nobody out: of too many the one that waited longest ends', async () => {
  const { world, a, b, north, south } = twoNodes()
  const count = 3 * LINKS_MAX
  const ended = silentStreams(a, count)
  assert.deepEqual(
    ended,
    Array.from({ length: count - LINKS_HALF_OPEN_MAX }, (_, i) => `silent ${i}`),
  )
  a.keeper.want(south.regionId)
  await run(world, DELAY_MS - 1)
  assert.deepEqual(a.log, ['dial b'])
  silentStreams(a, count)
  await run(world, 100)
  assert.equal(a.keeper.dialledByUs(south.regionId), true)
  assert.equal(a.log.filter((line) => line === 'dial b').length, 1, 'a dial of ours is dropped for incoming links')
  a.keeper.close(south.regionId, new ParleyError('closing', 'for the test'))
  a.keeper.unwant(south.regionId)
  await run(world, 100)
  assert.ok(!a.keeper.isUp(south.regionId))
  b.keeper.want(north.regionId)
  await run(world, 1_000)
  assert.deepEqual([a.keeper.isUp(south.regionId), a.keeper.dialledByUs(south.regionId)], [true, false])
  // A link that is up has left the line of those that wait: another flood drops its own.
  silentStreams(a, count)
  await run(world, 100)
  assert.ok(a.keeper.isUp(south.regionId))
  assert.ok(world.clock.monotonic() < LINK_HELLO_MAX_MS, 'none of them had timed out')
})

test('a region without a record is looked up ever more rarely, and dialled at once when the record comes', async () => {
  const { world, book, a, south } = twoNodes()
  const record = book.get(south.regionId)!
  book.delete(south.regionId)
  a.keeper.want(south.regionId)
  await run(world, 2 * LINK_UNKNOWN_BACKOFF_MAX_MS)
  const before = a.asked.length
  await run(world, 10 * LINK_UNKNOWN_BACKOFF_MAX_MS)
  const asked = a.asked.length - before
  assert.ok(asked >= 9 && asked <= 21, `${asked} look-ups in ten of the longest pauses`)
  // Wanted anew: at once.
  a.keeper.unwant(south.regionId)
  await run(world, LINK_UNKNOWN_BACKOFF_MAX_MS)
  assert.equal(a.asked.length, before + asked)
  a.keeper.want(south.regionId)
  await run(world, 1)
  assert.equal(a.asked.length, before + asked + 1)
  // The record comes in the middle of a long pause.
  await run(world, 5 * LINK_UNKNOWN_BACKOFF_MAX_MS)
  book.set(south.regionId, record)
  a.keeper.regionChanged(record)
  await run(world, 4 * DELAY_MS + 1)
  assert.ok(a.keeper.isUp(south.regionId))
  // A region whose record is known is tried within seconds, however long it has been away.
  world.cut = true
  await run(world, 10 * LINK_UNKNOWN_BACKOFF_MAX_MS)
  world.cut = false
  await run(world, 6_000)
  assert.ok(a.keeper.isUp(south.regionId))
})
