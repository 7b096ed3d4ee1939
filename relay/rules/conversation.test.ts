import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  KIND_CONTENT,
  KIND_SKIP,
  limits,
  type Position,
  positionOf,
  type Random,
  readHeader,
  SimulatedClock,
  simulatedRandom,
} from '#protocol'
import { SimulatedDisk } from '../store/simulated.ts'
import { openStore } from '../store/store.ts'
import type { Store } from '../store/types.ts'
import { entryOf, foundingOfPair, makePair, tagOf } from './bench.ts'
import {
  type Author,
  advance,
  authorOf,
  type Conversation,
  findHeld,
  type Held,
  heldAt,
  type Member,
  nextFree,
  nextPlace,
  putHeld,
} from './conversation.ts'
import {
  conversationPartition,
  feedPartition,
  heldKey,
  LOG_STREAM,
  lagKey,
  loadConversation,
  newConversation,
  readEntries,
  readHeld,
  writeHeld,
  writeNumber,
} from './conversation-rows.ts'
import { Conversations } from './conversations.ts'
import { Inboxes } from './inboxes.ts'

const pair = makePair()
const { host, other } = pair
const HERE = other.region

async function openTestStore(random: Random) {
  const clock = new SimulatedClock(0)
  const disk = new SimulatedDisk({ clock, random })
  const hooks = { closing: (_commit: number): void => {}, committed() {}, trimBelow: () => 1e9, failed: assert.fail }
  const drive = async <T>(work: Promise<T>): Promise<T> => {
    const state = { done: false }
    const finish = (): void => {
      state.done = true
    }
    work.then(finish, finish)
    while (!state.done) {
      for (let i = 0; i < 4; i++) await undefined
      clock.step()
    }
    return work
  }
  const open = async (): Promise<Store> => {
    const schedule = (callback: () => void): void => void clock.after(0, callback)
    return (await drive(openStore({ backend: disk.open(), clock, hooks, schedule }))).store
  }
  return { hooks, drive, open }
}

/** What is written and read again; the rest belongs to a boot. */
function lasting(conv: Conversation) {
  const {
    dirty: _,
    stateDirty: _s,
    inboxesDirty: _i,
    pins: __,
    kept: ___,
    retiring: _r,
    feeds,
    authors,
    settled: ____,
    ...rest
  } = conv
  return {
    ...rest,
    members: rest.members.map(({ userId, region, local }) => ({ userId, region, local })),
    authors: [...authors.values()]
      .filter((a) => a.last > 0 || a.run.length > 0)
      .map(({ toldSafe: _t, window, ...a }) => ({
        ...a,
        window: Array.from({ length: a.last }, (_w, i) => window.get(i + 1)),
      }))
      .sort((a, b) => (a.key < b.key ? -1 : 1)),
    registers: [...conv.registers.values()]
      .map(({ gate: _g, ...r }) => r)
      .sort((a, b) => a.member - b.member || a.kind - b.kind || a.device - b.device),
    lag: [...feeds.values()].map((f) => [...f.lag].sort()),
  }
}

const partition = conversationPartition(pair.id)

const NO_ACCOUNTS = {
  knownHome: () => undefined,
  knownManifest: () => undefined,
  findHome: async () => undefined,
}

const conversationsOf = (store: Store, inboxes: Inboxes, load: () => never): Conversations =>
  new Conversations(
    store,
    inboxes,
    HERE,
    10,
    load,
    () => {},
    () => 1,
  )

test('a conversation is read as it was written, whatever happened to it', async () => {
  for (let seed = 1; seed <= 25; seed++) {
    const random = simulatedRandom(seed)
    const below = (n: number): number => Math.floor(random.fraction() * n)
    const { hooks, drive, open } = await openTestStore(random)
    let store = await open()
    const load = (): never => assert.fail('nothing is to be loaded')
    const inboxes = new Inboxes(store, NO_ACCOUNTS)
    const convs = conversationsOf(store, inboxes, load)
    hooks.closing = (commit) => {
      convs.closing(commit)
      inboxes.closing()
    }
    const conv = convs.found(foundingOfPair(pair))
    const reader = conv.members[1]!
    const cursors = (of: Inboxes, member: Member) =>
      Array.from({ length: 9 }, (_, d) => of.cursorOf(conv, member, `${d}.1.1`))
    // Long runs of one author go beyond the window; a second device has a window of its own.
    const devices = [0, 1].flatMap((member) =>
      [1, 127].map((device) => ({ member, device, registrationEpoch: 1 + member, registrationVersion: 2 ** 32 - 1 })),
    )
    const steps = seed % 5 === 0 ? 900 : 120
    for (let i = 0; i < steps; i++) {
      const key = devices[below(seed % 5 === 0 ? 2 : 4)]!
      const author = authorOf(conv, key.member, key)
      const what = below(20)
      if (what < 12) take(convs, store, conv, author)
      else if (what < 15) hold(store, author, nextFree(author) + below(3), random)
      else if (what === 15) {
        const register = { kind: 1 + below(2), member: below(2), device: below(128), version: 1 + below(2 ** 50) }
        convs.putRegister(conv, { ...register, body: random.bytes(below(40)) })
      } else if (what === 16) {
        if (below(3) === 0) inboxes.fellBehind(conv, reader, conv.head)
        else inboxes.acknowledged(conv, reader, `${below(9)}.1.1`, conv.head)
        store.note(new Uint8Array(1))
      } else if (what === 17) {
        for (const held of author.run.splice(0, heldAt(author, author.last + 1)))
          store.delete(partition, heldKey(author, held.k))
      } else if (what === 18) {
        const stream = below(2) ? LOG_STREAM : author.stream
        const from = 1 + below(2 ** 40)
        conv.feeds.get(host.region)!.lag.set(stream, from)
        store.put(feedPartition(host.region), lagKey(conv.id, stream), writeNumber(from))
      } else await drive(below(2) ? store.flushed() : store.checkpoint())
    }
    inboxes.sweep()
    store.note(new Uint8Array(1))
    await drive(store.flushed())
    const before = lasting(conv)
    const again = await drive(loadConversation(store, pair.id, HERE))
    assert.deepEqual(lasting(again!), before, `seed ${seed}`)
    store.abandon()
    store = await open()
    const later = (await drive(loadConversation(store, pair.id, HERE)))!
    assert.deepEqual(lasting(later), before, `seed ${seed}, after a crash`)
    assert.equal(later.settled, later.head)
    const inboxesLater = new Inboxes(store, NO_ACCOUNTS)
    await drive(inboxesLater.load(later, later.members[1]!))
    assert.deepEqual(
      cursors(inboxesLater, later.members[1]!),
      cursors(inboxes, reader),
      `seed ${seed}, inbox after a crash`,
    )
    await ensureEntries(drive, store, later)
    store.abandon()
  }
})

function take(convs: Conversations, store: Store, conv: Conversation, author: Author): void {
  const at = nextPlace(conv)
  const entry = entryOf(author.member === 0 ? host : other, author.last + 1, at, {
    tag: tagOf((author.last * 7) % 256),
  })
  const { device, registrationEpoch, registrationVersion } = author
  const header = { ...readHeader(entry), device, registrationEpoch, registrationVersion }
  const before = conv.head
  advance(conv, author, header, entry)
  convs.changed(conv)
  store.append(conv.partition, before, at, entry)
  assert.equal(author.window.get(author.last - limits.IN_FLIGHT_MAX), undefined)
}

function hold(store: Store, author: Author, k: number, random: Random): void {
  const submission = random.bytes(1 + Math.floor(random.fraction() * 50))
  const stop = random.fraction() < 0.2 ? random.bytes(5) : undefined
  const kind = random.fraction() < 0.2 ? KIND_SKIP : KIND_CONTENT
  const held: Held = { k, tag: tagOf(k % 256), rev: k % 7, kind, size: submission.length, stop }
  putHeld(author, held)
  store.put(partition, heldKey(author, k), writeHeld(held, submission))
  assert.deepEqual(readHeld(k, writeHeld(held, submission)), { held, submission })
}

async function ensureEntries(
  drive: <T>(work: Promise<T>) => Promise<T>,
  store: Store,
  conv: Conversation,
): Promise<void> {
  const after = Math.max(conv.low, conv.head - 20) as Position
  const all = await drive(readEntries(store, conv, after, conv.head, 1e6))
  assert.deepEqual(
    all.map((e) => readHeader(e).at),
    Array.from({ length: conv.head - after }, (_, i) => after + i + 1),
  )
  const one = await drive(readEntries(store, conv, after, conv.head, 1))
  assert.equal(one.length, Math.min(1, conv.head - after), 'the first comes whatever its size')
}

test('entries are taken in order only: dense places, dense ks', () => {
  const conv = newConversation(foundingOfPair(pair), HERE, 1)
  const offer =
    (k: number, n: number, epoch = 1) =>
    () => {
      const entry = entryOf(host, k, positionOf(epoch, n))
      const header = readHeader(entry)
      advance(conv, authorOf(conv, header.member, header), header, entry)
    }
  assert.throws(offer(1, 2), /out of order/)
  assert.throws(offer(1, 1, 2), /out of order/)
  offer(1, 1)()
  assert.throws(offer(2, 1), /out of order/)
  assert.throws(offer(3, 2), /k 3 was numbered after 1/)
})

test('the run is found and filled by k, and the next free k is its first hole', () => {
  const conv = newConversation(foundingOfPair(pair), HERE, 1)
  const author = authorOf(conv, 1, other.person.device)
  author.last = 4
  const held = (k: number): Held => ({ k, tag: tagOf(k), rev: 0, kind: KIND_CONTENT, size: 1, stop: undefined })
  for (const k of [9, 5, 3, 7, 6]) putHeld(author, held(k))
  assert.deepEqual(
    author.run.map((h) => h.k),
    [3, 5, 6, 7, 9],
  )
  assert.equal(nextFree(author), 8)
  putHeld(author, { ...held(6), rev: 1 })
  assert.deepEqual([author.run.length, findHeld(author, 6)?.rev, findHeld(author, 8)], [5, 1, undefined])
  putHeld(author, held(8))
  assert.equal(nextFree(author), 10)
})
