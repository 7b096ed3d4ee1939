// Random schedules of commits, acknowledgements, silence and crashes, judged by a model that knows only how far each
// stream went in each commit and how far its receiver has it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  directConvId,
  directGenesis,
  type Position,
  type Random,
  type RegionId,
  readGenesis,
  regionIdOf,
  SimulatedClock,
  simulatedRandom,
  type UserId,
  userIdOf,
} from '#protocol'
import { SimulatedDisk } from '../store/simulated.ts'
import { openStore } from '../store/store.ts'
import type { Store } from '../store/types.ts'
import { type Conversation, feedOf } from './conversation.ts'
import {
  conversationPartition,
  feedPartition,
  LOG_STREAM,
  lagKey,
  loadConversation,
  newConversation,
  POSITION_KEY,
  readNumber,
  STATE_KEY,
  writeState,
} from './conversation-rows.ts'
import { Feeds } from './feeds.ts'

const SEEDS = 30
const STEPS = 90
const LIMITS = { windowItems: 6, patienceMs: 1_000, stuckMs: 2_000, demoted: 3 }
const STORE = {
  sealBytes: 400,
  checkpointBytes: 2_000,
  checkpointRecords: 4,
  checkpointAgeMs: 500,
  sliceChanges: 3,
  trimRecords: 1,
}

const id = (n: number): Uint8Array => new Uint8Array(32).fill(n)
const HERE = regionIdOf(id(1))
const REGIONS = [regionIdOf(id(2)), regionIdOf(id(3))]
const STREAMS = [LOG_STREAM, 's1', 'g1']

function foundingOf(n: number, there: RegionId) {
  const users: [UserId, UserId] = [userIdOf(id(10)), userIdOf(id(20 + n))]
  const genesisBytes = directGenesis(...users)
  const members = users.map((userId, i) => ({ userId, region: i === 0 ? HERE : there }))
  const genesis = readGenesis(genesisBytes)
  return { id: directConvId(...users), genesisBytes, genesis, members, host: HERE, epoch: 1 }
}

type Line = { name: string; conv: number; region: RegionId; stream: string }
const FOUNDINGS = [REGIONS[0]!, REGIONS[0]!, REGIONS[1]!].map((region, n) => foundingOf(n, region))
const LINES: Line[] = FOUNDINGS.flatMap(({ members, id: convId }, conv) =>
  STREAMS.map((stream) => ({ name: lagKey(convId, stream), conv, region: members[1]!.region, stream })),
)
const isDense = ({ stream }: Line): boolean => !stream.startsWith('g')

type Points = Map<string, number>
const at = (points: Points, line: Line): number => points.get(line.name) ?? 0

type Boot = { store: Store; feeds: Feeds; convs: Conversation[] }

/** One disk, what ought to be on it, and the boots that run on it. */
class Machine {
  readonly clock: SimulatedClock
  readonly disk: SimulatedDisk
  readonly reach: Record<string, number>
  /** How far streams are: pending, and in each commit. */
  heads: Points
  readonly inCommit: Map<number, Points>
  /** How far receivers are, durably. */
  readonly has: Points
  boot: Boot | undefined
  readonly told = new Set<string>()
  observe: (commit: number) => void = () => {}

  constructor(from: Machine | undefined, random: Random, reach: Record<string, number>) {
    this.clock = new SimulatedClock(0)
    const faults = { appendMs: [0, 5], writeMs: [0, 5], readMs: [0, 0] } as const
    this.disk = new SimulatedDisk({ clock: this.clock, random, faults })
    for (const [number, record] of from?.disk.records ?? []) this.disk.records.set(number, record)
    for (const [partition, rows] of from?.disk.rows ?? []) this.disk.rows.set(partition, new Map(rows))
    this.heads = new Map(from?.heads)
    this.inCommit = new Map(from?.inCommit ?? [[0, new Map()]])
    this.has = new Map(from?.has)
    this.reach = reach
  }

  count(what: string): void {
    this.reach[what] = (this.reach[what] ?? 0) + 1
  }

  async settle(): Promise<void> {
    do for (let i = 0; i < 12; i++) await undefined
    while (this.clock.step())
  }

  async drive<T>(work: Promise<T>): Promise<T> {
    const state = { done: false }
    const finish = (): void => {
      state.done = true
    }
    work.then(finish, finish)
    while (!state.done) {
      for (let i = 0; i < 4; i++) await undefined
      this.clock.step()
    }
    return work
  }

  /** Opens what the disk holds, and takes over what the boot before it left. */
  async start(): Promise<Boot> {
    let feeds: Feeds | undefined
    const fail = (error: Error): void => {
      throw error
    }
    const { store, replayed } = await this.drive(
      openStore({
        backend: this.disk.open(),
        clock: this.clock,
        schedule: (callback) => void this.clock.after(0, callback),
        limits: STORE,
        hooks: {
          closing: (commit) => feeds && this.#closing(feeds, commit),
          committed: (commit) => {
            feeds?.committed(commit)
            this.observe(commit)
          },
          trimBelow: () => feeds?.trimBelow() ?? 0,
          failed: fail,
        },
      }),
    )
    // What was not durable is gone.
    const durable = store.committed()
    this.heads = new Map(this.inCommit.get(durable)!)
    for (const commit of this.inCommit.keys()) if (commit > durable) this.inCommit.delete(commit)
    feeds = new Feeds(store, this.clock, LIMITS, {
      streamHead: (conv, stream) => this.heads.get(lagKey(conv.id, stream)) ?? 0,
      lagged: () => {},
      demoted: () => this.count('demoted'),
    })
    await this.drive(feeds.takeOver(replayed))
    const convs: Conversation[] = []
    for (const founding of FOUNDINGS) {
      const known = await this.drive(loadConversation(store, founding.id, HERE))
      convs.push(known ?? newConversation(founding, HERE, 1))
    }
    this.told.clear()
    this.boot = { store, feeds, convs }
    return this.boot
  }

  crash(): void {
    this.boot?.store.abandon()
    this.boot = undefined
    this.disk.crash()
  }

  #closing(feeds: Feeds, commit: number): void {
    const { convs } = this.boot ?? { convs: [] }
    const before = LINES.map((l) => convs[l.conv] && feedOf(convs[l.conv]!, l.region).lag.has(l.stream))
    feeds.closing(commit)
    this.inCommit.set(commit, new Map(this.heads))
    for (const region of REGIONS) assert.ok(feeds.windowSize(region) <= LIMITS.windowItems, 'the window is bounded')
    if (this.boot) for (const [i, line] of LINES.entries()) this.#covered(line, before[i] === true)
    this.told.clear()
  }

  /** Whatever the receiver lacks is in the window or has a lag row at or below it. */
  #covered(line: Line, lagged: boolean): void {
    const feed = feedOf(this.boot!.convs[line.conv]!, line.region)
    const [head, has, lag] = [at(this.heads, line), at(this.has, line), feed.lag.get(line.stream)]
    const items = feed.window.get(line.stream) ?? []
    if (lag !== undefined) {
      assert.equal(items.length, 0, 'a stream is in the window or has a lag row')
      const caughtUp = this.told.has(line.name) && (feed.acked.get(line.stream) ?? 0) >= head
      assert.ok(!caughtUp, `${line.stream} has caught up and keeps its lag row`)
    } else if (lagged) this.count('promoted')
    if (head <= has) return
    const owed = `${line.stream}: ${has + 1}..${head} is owed; lag ${lag}, window ${items.map((i) => `${i.from}..${i.to}`)}`
    if (lag !== undefined) assert.ok(lag <= (isDense(line) ? has + 1 : head), owed)
    else if (!isDense(line))
      assert.ok(
        items.some((i) => i.to >= head),
        owed,
      )
    else {
      assert.ok(items.length > 0 && items[0]!.from <= has + 1 && items.at(-1)!.to === head, owed)
      for (let i = 1; i < items.length; i++) assert.equal(items[i]!.from, items[i - 1]!.to + 1, 'the window is dense')
    }
  }

  /** After a takeover nothing is in a window, so what is owed has a lag row. */
  ensureNothingForgotten(): number {
    let owing = 0
    for (const line of LINES) {
      const [head, has] = [at(this.heads, line), at(this.has, line)]
      if (head <= has) continue
      owing++
      const lag = feedOf(this.boot!.convs[line.conv]!, line.region).lag.get(line.stream)
      const owed = `${line.name}: ${has + 1}..${head} is owed, the lag row says ${lag}`
      assert.ok(lag !== undefined && lag <= (isDense(line) ? has + 1 : head), owed)
    }
    return owing
  }

  async feedRows(): Promise<{ lag: string[]; positions: string[] }> {
    const [lag, positions]: [string[], string[]] = [[], []]
    for (const region of REGIONS) {
      const range = { from: undefined, to: undefined, limit: 1_000, reverse: false }
      for (const [key, value] of await this.drive(this.boot!.store.range(feedPartition(region), range)))
        (key === POSITION_KEY ? positions : lag).push(`${region} ${key} ${readNumber(value)}`)
    }
    return { lag, positions }
  }
}

/** One event; everything may happen at any time. */
async function step(m: Machine, random: Random): Promise<void> {
  const below = (n: number): number => Math.floor(random.fraction() * n)
  const { feeds, store, convs } = m.boot!
  const line = LINES[below(LINES.length)]!
  const conv = convs[line.conv]!
  const feed = feedOf(conv, line.region)
  const settled = m.inCommit.get(store.committed()) ?? new Map()
  const what = below(20)
  if (what < 8) {
    const from = at(m.heads, line) + 1
    const to = from + below(3)
    m.heads.set(line.name, to)
    if (line.stream === LOG_STREAM) conv.head = to as Position
    store.put(conversationPartition(conv.id), STATE_KEY, writeState(conv, HERE))
    feeds.concern(conv, line.region, line.stream, isDense(line) ? from : to, to)
  } else if (what < 12) {
    // Only submissions leave before their commit.
    const head = at(line.stream.startsWith('s') ? m.heads : settled, line)
    const has = at(m.has, line)
    if (head > has) m.has.set(line.name, has + 1 + below(head - has))
    acknowledge(m, line, at(m.has, line))
  } else if (what < 14) acknowledge(m, line, below(at(m.has, line) + 1))
  else if (what === 14) {
    const has = at(m.has, line)
    if (!isDense(line)) return
    acknowledge(m, line, has)
    const items = feed.window.get(line.stream)
    const reaches = !feed.lag.has(line.stream) && items !== undefined && items[0]!.from <= has + 1
    assert.equal(feeds.missed(conv, line.region, line.stream, has), reaches)
    m.count(reaches ? 'missed, in the window' : 'missed, no longer in the window')
  } else if (what === 15) {
    const silent = REGIONS[below(2)]!
    m.clock.advanceTo(m.clock.now() + LIMITS.patienceMs * (below(2) + 0.5))
    feeds.heard(silent)
    if (feeds.wantsCommit()) store.note(new Uint8Array(0))
  } else if (what === 16) await m.settle()
  else if (what === 17 && below(3) === 0) {
    m.crash()
    m.count('crashed')
    await m.start()
    m.ensureNothingForgotten()
  } else for (let i = below(6); i > 0 && m.clock.step(); i--) for (let j = 0; j < 6; j++) await undefined
}

function acknowledge(m: Machine, line: Line, point: number): void {
  const { feeds, convs } = m.boot!
  const feed = feedOf(convs[line.conv]!, line.region)
  const before = feed.acked.get(line.stream) ?? 0
  assert.equal(feeds.acknowledged(convs[line.conv]!, line.region, line.stream, point), point > before, 'is it news?')
  assert.equal(feed.acked.get(line.stream) ?? 0, Math.max(before, point), 'old acknowledgements only repeat')
  if (feed.lag.has(line.stream) && (feed.acked.get(line.stream) ?? 0) >= at(m.heads, line)) m.told.add(line.name)
}

test('what is owed is never forgotten, whatever is demoted, promoted, trimmed and wherever it crashes', async () => {
  const reach: Record<string, number> = {}
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      await schedule(seed, reach)
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
    }
  }
  for (const what of [
    'demoted',
    'promoted',
    'crashed',
    'missed, in the window',
    'missed, no longer in the window',
    'owed',
    'trimmed',
  ])
    assert.ok((reach[what] ?? 0) > 10, `${what} happened ${reach[what] ?? 0} times`)
})

async function schedule(seed: number, reach: Record<string, number>): Promise<void> {
  const random = simulatedRandom(seed)
  const m = new Machine(undefined, random, reach)
  const crashes: Machine[] = []
  // As if the power failed right after each commit.
  m.observe = () => crashes.push(new Machine(m, simulatedRandom(seed), {}), new Machine(m, simulatedRandom(seed), {}))
  await m.start()
  for (let i = 0; i < STEPS; i++) await step(m, random)
  await m.settle()
  if (!m.disk.records.has(1)) m.count('trimmed')
  for (let i = 0; i < crashes.length; i += 2) {
    const [one, two] = [crashes[i]!, crashes[i + 1]!]
    await one.start()
    if (one.ensureNothingForgotten() > 0) m.count('owed')
    if (i % 8 !== 0) continue
    await two.start()
    const rows = await one.feedRows()
    assert.deepEqual(await two.feedRows(), rows, 'two who fence one journal write the same')
    // The one who takes over may crash as well, before or after it committed that.
    for (let n = random.fraction() * 12; n > 0; n--) {
      two.clock.step()
      await undefined
    }
    two.crash()
    await two.start()
    two.ensureNothingForgotten()
    assert.deepEqual((await two.feedRows()).lag, rows.lag, 'taken over twice')
  }
}

/** The first entry of a conversation; resolves with its commit. */
async function owe(m: Machine, conv: number): Promise<number> {
  const { feeds, store, convs } = m.boot!
  m.heads.set(lagKey(convs[conv]!.id, LOG_STREAM), 1)
  feeds.concern(convs[conv]!, REGIONS[conv === 2 ? 1 : 0]!, LOG_STREAM, 1, 1)
  store.note(new Uint8Array(0))
  await m.settle()
  return store.committed()
}

test('silence demotes, and only what the silent region is owed', async () => {
  const m = new Machine(undefined, simulatedRandom(1), {})
  const { feeds, convs } = await m.start()
  await owe(m, 0)
  await owe(m, 2)
  m.clock.advanceTo(m.clock.now() + LIMITS.patienceMs + 1)
  feeds.heard(REGIONS[1]!)
  assert.ok(feeds.wantsCommit())
  await owe(m, 1)
  const lag = convs.map((conv) => [...conv.feeds.values()][0]!.lag.get(LOG_STREAM))
  assert.deepEqual(lag, [1, 1, undefined])
  assert.deepEqual([feeds.windowSize(REGIONS[0]!), feeds.windowSize(REGIONS[1]!)], [0, 1])
  assert.equal(feeds.trimBelow(), 1 + readPosition(m, 1), 'the journal is kept for who is heard')
  assert.ok(!feeds.wantsCommit())
})

test('the journal is kept for what gets a lag row until the commit with that row counts', async () => {
  const m = new Machine(undefined, simulatedRandom(1), {})
  const { feeds, convs } = await m.start()
  const first = await owe(m, 0)
  m.clock.advanceTo(m.clock.now() + LIMITS.stuckMs - 100)
  feeds.heard(REGIONS[0]!)
  const second = await owe(m, 1)
  m.clock.advanceTo(m.clock.now() + 200)
  feeds.heard(REGIONS[0]!)
  feeds.closing(second + 1)
  assert.equal(feedOf(convs[0]!, REGIONS[0]!).lag.get(LOG_STREAM), 1, 'it is stuck')
  feeds.committed(second)
  assert.ok(feeds.trimBelow() <= first)
  feeds.committed(second + 1)
  assert.equal(feeds.trimBelow(), second)
})

test('a receiver that lost what it had acknowledged is served from there, from the tables', async () => {
  const m = new Machine(undefined, simulatedRandom(1), {})
  const { feeds, store, convs } = await m.start()
  const conv = convs[0]!
  for (let n = 1; n <= 4; n++) {
    m.heads.set(lagKey(conv.id, LOG_STREAM), n)
    feeds.concern(conv, REGIONS[0]!, LOG_STREAM, n, n)
    store.note(new Uint8Array(0))
    await m.settle()
  }
  m.has.set(lagKey(conv.id, LOG_STREAM), 2)
  acknowledge(m, LINES[0]!, 2)
  assert.equal(feeds.missed(conv, REGIONS[0]!, LOG_STREAM, 2), true)
  assert.equal(feeds.missed(conv, REGIONS[0]!, LOG_STREAM, 1), false)
  const { lag, window } = feedOf(conv, REGIONS[0]!)
  assert.deepEqual([lag.get(LOG_STREAM), window.get(LOG_STREAM)], [2, undefined])
  assert.equal(feeds.missed(conv, REGIONS[0]!, LOG_STREAM, 0), false)
  assert.equal(lag.get(LOG_STREAM), 1, 'the lag row goes further back')
})

function readPosition(m: Machine, region: number): number {
  const row = m.boot!.store.peek(feedPartition(REGIONS[region]!), POSITION_KEY)
  return row ? readNumber(row) : 0
}
