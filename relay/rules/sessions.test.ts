import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type ConvId,
  convIdOf,
  decodeHomeFrame,
  directConvId,
  directGenesis,
  HEADER_BYTES,
  type HomeFrame,
  type HomeRecord,
  KIND_CONTENT,
  limits,
  NOWHERE,
  type ParleyError,
  type Position,
  positionOf,
  type Random,
  readGenesis,
  readHeader,
  readParts,
  regionIdOf,
  simulatedRandom,
  type UserId,
  userIdOf,
  writeEntry,
} from '#protocol'
import { makePair, tagOf } from './bench.ts'
import type { Conversation } from './conversation.ts'
import { newConversation } from './conversation-rows.ts'
import type { DeviceSession } from './ports.ts'
import { type SessionState, Sessions, setDeviceRef, setView } from './sessions.ts'

const BACKLOG = 1_000
const READER = 1
const HERE = regionIdOf(new Uint8Array(32).fill(1))
const ME = { device: 1, registrationEpoch: 1, registrationVersion: 1 }

function conversation(n: number): Conversation {
  const bytes = new Uint8Array(32)
  new DataView(bytes.buffer).setUint32(0, n + 1)
  const users: [UserId, UserId] = [userIdOf(bytes), userIdOf(new Uint8Array(32).fill(255))]
  const genesisBytes = directGenesis(...users)
  const members = users.map((userId) => ({ userId, region: HERE }))
  const founding = { genesisBytes, genesis: readGenesis(genesisBytes), members, host: HERE, epoch: 1 }
  return newConversation({ ...founding, id: directConvId(...users) }, HERE, 1)
}

/** The next entry of a conversation, with a part for the reader, one for another device of theirs, one for the author. */
function next(conv: Conversation, bytes: number): Uint8Array {
  const at = conv.head === NOWHERE ? positionOf(1, 1) : ((conv.head + 1) as Position)
  conv.head = at
  conv.hash = new Uint8Array(32).fill(at % 256)
  const header = {
    kind: KIND_CONTENT,
    at,
    member: 0,
    ...ME,
    k: at % 2 ** 32,
    tag: tagOf(1),
    membershipVersion: 0,
    timeMs: 1,
  }
  const part = (member: number, device: number, size: number) => ({
    member,
    device,
    body: new Uint8Array(size).fill(7),
  })
  return writeEntry(header, [part(READER, 1, bytes), part(READER, 2, 3), part(0, 1, 2)])
}

type Reader = {
  sessions: Sessions
  session: SessionState
  frames: HomeFrame[]
  port: { waiting: number; closed?: ParleyError }
}

function open(records: HomeRecord[] = []): Reader {
  const sessions = new Sessions(BACKLOG, () => records)
  const frames: HomeFrame[] = []
  const state: Reader['port'] = { waiting: 0 }
  const port: DeviceSession = {
    id: 's',
    userId: userIdOf(new Uint8Array(32).fill(255)),
    device: ME,
    send: (frame) => void frames.push(decodeHomeFrame(frame)),
    backlog: () => state.waiting,
    close: () => {},
  }
  return { sessions, session: sessions.open(port), frames, port: state }
}

/** What a device understands of the frames; throws when it hears of a number that was not named before. */
function heard(frames: readonly HomeFrame[]) {
  const names = new Map<number, ConvId>()
  const out = { entries: new Map<ConvId, Position[]>(), verdicts: 0, behind: 0, registers: 0, pages: 0, hashes: 0 }
  const named = (ref: number): ConvId => {
    const id = names.get(ref)
    assert.ok(id, `number ${ref} is used before it is named`)
    return id
  }
  for (const frame of frames) {
    for (const name of frame.names) {
      assert.equal(name.ref, names.size + 1, 'names are dense')
      names.set(name.ref, convIdOf(name.convId))
    }
    for (const run of frame.entries) {
      const list = out.entries.get(named(run.conv)) ?? []
      out.entries.set(named(run.conv), list)
      for (const entry of run.entry) {
        list.push(readHeader(entry).at)
        assert.deepEqual(
          readParts(entry).map((p) => [p.member, p.device]),
          [[READER, 1]],
          'nobody else reads it',
        )
      }
      if (run.page) out.pages++
      if (run.headHash.length > 0) out.hashes++
    }
    for (const b of frame.behind) named(b.conv)
    for (const r of frame.registers) named(r.conv)
    out.verdicts += frame.verdicts.length
    out.behind += frame.behind.length
    out.registers += frame.registers.length
  }
  return out
}

const register = (body = 0) => ({
  kind: body ? 2 : 1,
  member: 0,
  device: body ? 1 : 0,
  version: positionOf(1, 1),
  body: new Uint8Array(body),
  gate: 0,
})
const live = ({ session }: Reader, conv: Conversation) => setView(session, conv.id, { live: true, sent: conv.head })

test('whatever is said in whatever order, frames are whole, ordered, named, and nothing gets lost', () => {
  for (let seed = 1; seed <= 15; seed++) {
    try {
      schedule(simulatedRandom(seed))
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
    }
  }
})

function schedule(random: Random): void {
  const below = (n: number): number => Math.floor(random.fraction() * n)
  const reader = open([])
  const { sessions, session, frames } = reader
  const convs = Array.from({ length: 5 }, (_, n) => conversation(n))
  for (const conv of convs) {
    live(reader, conv)
    setDeviceRef(session, conv.id, (session.deviceRefOf?.size ?? 0) + 1)
  }
  const said = { verdicts: 0, behind: 0, registers: 0 }
  let [gate, committed] = [1, 0]
  for (let i = 0; i < 60; i++) {
    const conv = convs[below(5)]!
    const what = below(8)
    if (what < 4) {
      const before = conv.head
      const size = below(10) === 0 ? limits.PART_MAX_BYTES : 1 + below(2_000)
      const entries = Array.from({ length: 1 + below(12) }, () => next(conv, size))
      sessions.push(session, conv, before, entries, gate)
    } else if (what === 4) {
      sessions.verdict(session, conv.id, { k: 1, rev: 0, outcome: { case: 'held', value: {} } }, below(2) * gate)
      said.verdicts++
    } else if (what === 5) {
      sessions.register(session, conv, register(below(2) * 512), below(2) * gate)
      said.registers++
    } else if (what === 6) gate += below(3)
    else {
      committed = Math.max(committed, gate - below(3))
      sessions.flush(committed)
    }
  }
  sessions.flush(gate)
  const got = heard(frames)
  assert.deepEqual({ verdicts: got.verdicts, behind: got.behind, registers: got.registers }, said)
  for (const conv of convs) {
    const list = got.entries.get(conv.id) ?? []
    assert.deepEqual(
      list,
      Array.from({ length: conv.head % 2 ** 32 }, (_, n) => positionOf(1, n + 1)),
    )
  }
}

test('one frame however many commits, and what waits for none in the first', () => {
  const reader = open()
  const { sessions, session, frames } = reader
  const conv = conversation(1)
  live(reader, conv)
  setDeviceRef(session, conv.id, 1)
  const verdict = (k: number, gate: number): void =>
    sessions.verdict(session, conv.id, { k, rev: 0, outcome: { case: 'held', value: {} } }, gate)
  for (let k = 1; k <= 6; k++) verdict(k, 2 + (k % 2))
  for (let i = 0; i < 3; i++) sessions.push(session, conv, conv.head, [next(conv, 5)].slice(0, 0), 3)
  const before = conv.head
  sessions.push(session, conv, before, [next(conv, 5), next(conv, 5)], 3)
  sessions.register(session, conv, register(), 3)
  sessions.flush(0)
  assert.equal(frames.length, 1)
  assert.equal(frames[0]!.names.length, 1)
  sessions.flush(1)
  assert.equal(frames.length, 1, 'nothing counts yet')
  sessions.flush(3)
  assert.equal(frames.length, 2)
  assert.deepEqual(
    frames[1]!.verdicts.map((v) => v.k),
    [2, 4, 6, 1, 3, 5],
  )
  assert.deepEqual([frames[1]!.entries.length, frames[1]!.registers.length], [1, 1])
  assert.deepEqual(frames[1]!.entries[0]!.headHash, conv.hash)
})

test('a sign-in behind in thousands of conversations is cut into frames within the limits', () => {
  const pair = makePair()
  const { sessions, session, frames } = open([pair.host.home.record, pair.other.home.record])
  const COUNT = 2_000
  for (let n = 0; n < COUNT; n++) {
    const conv = conversation(n)
    conv.head = positionOf(1, 9)
    sessions.behind(session, conv, NOWHERE, 0)
    sessions.register(session, conv, register(limits.REGISTER_BODY_MAX_BYTES), 0)
    sessions.page(session, conv, [], conv.head, undefined, 0)
  }
  sessions.flush(0)
  const got = heard(frames)
  assert.deepEqual([got.behind, got.registers, got.pages], [COUNT, COUNT, COUNT])
})

test('a commit of many large and many empty entries is cut between entries; the hash and the page end with the last', () => {
  const reader = open()
  const { sessions, frames, session } = reader
  const [large, bare] = [conversation(1), conversation(2)]
  live(reader, large)
  sessions.push(
    session,
    large,
    NOWHERE,
    Array.from({ length: 40 }, () => next(large, limits.PART_MAX_BYTES)),
    1,
  )
  const headers = Array.from({ length: 5_000 }, () => next(bare, 1))
  sessions.page(session, bare, headers, bare.head, undefined, 1)
  sessions.flush(1)
  const got = heard(frames)
  assert.deepEqual([got.entries.get(large.id)!.length, got.entries.get(bare.id)!.length], [40, 5_000])
  assert.deepEqual([got.pages, got.hashes], [1, 2])
  assert.ok(HEADER_BYTES < 50)
})

test('a reader that does not keep up is pushed to no longer, and resumes when it has caught its breath', () => {
  const reader = open()
  const { sessions, session, frames, port } = reader
  const conv = conversation(1)
  live(reader, conv)
  const push = (): void => {
    const before = conv.head
    sessions.push(session, conv, before, [next(conv, 5)], 0)
    sessions.flush(0)
  }
  push()
  assert.equal(heard(frames).entries.get(conv.id)!.length, 1)
  port.waiting = BACKLOG + 1
  push()
  assert.equal(heard(frames).entries.get(conv.id)!.length, 1, 'what it cannot take is not piled up')
  assert.ok(sessions.hasPaused())
  port.waiting = 0
  push()
  assert.equal(heard(frames).entries.get(conv.id)!.length, 1, 'a gap is not pushed over')
  port.waiting = BACKLOG / 2 + 1
  assert.deepEqual(sessions.resumed(), [])
  port.waiting = BACKLOG / 2
  assert.deepEqual(sessions.resumed(), [{ session, convs: new Set([conv.id]), goOn: [] }])
  assert.ok(!sessions.hasPaused())
  sessions.behind(session, conv, positionOf(1, 1), 0)
  sessions.page(session, conv, [], conv.head, undefined, 0)
  push()
  assert.equal(heard(frames).entries.get(conv.id)!.at(-1), conv.head)

  port.waiting = BACKLOG + 1
  push()
  sessions.drop(session)
  assert.ok(!sessions.hasPaused(), 'who is gone is not waited for')
})

test('thousands of small things are cut by their number, and nothing is pushed over a gap', () => {
  const reader = open()
  const { sessions, session, frames } = reader
  const conv = conversation(1)
  setDeviceRef(session, conv.id, 1)
  for (let k = 1; k <= 9_000; k++) {
    sessions.verdict(session, conv.id, { k, rev: 0, outcome: { case: 'held', value: {} } }, 0)
    sessions.page(session, conv, [], conv.head, undefined, 0)
  }
  live(reader, conv)
  next(conv, 5)
  sessions.push(session, conv, conv.head, [next(conv, 5)], 0)
  sessions.flush(0)
  const got = heard(frames)
  assert.deepEqual([got.verdicts, got.pages, got.entries.get(conv.id)], [9_000, 9_000, []])
})
