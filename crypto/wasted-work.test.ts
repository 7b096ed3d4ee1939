// With libsignal: what it costs to be sent messages that say they are far ahead, and session after session.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import { PrivateKey, SessionRecord } from '@signalapp/libsignal-client'
import { SimulatedClock } from '#protocol'
import { raw } from './bytes.ts'
import { SESSION_BYTES_MAX, SESSION_STATES_MAX } from './limits.ts'
import { openSessions, type Sessions } from './sessions.ts'
import { sessionKey } from './signal-stores.ts'
import { acquainted, introduce, newPerson, outcome, type Person, refused, START_MS } from './test-people.ts'

const FAR = 24_000
const MAC_BYTES = 8
const MINUTE_MS = 60_000
const PREKEY_MESSAGE = 3
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const text = (plaintext: Uint8Array): string => Buffer.from(plaintext).toString()

/** Fields of a message, changed. */
function changed(message: Uint8Array, change: (field: number, value: number | Uint8Array) => number | Uint8Array) {
  const reader = new BinaryReader(message)
  const writer = new BinaryWriter()
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    const value = change(field, type === WireType.Varint ? reader.uint32() : reader.bytes())
    if (typeof value === 'number') writer.tag(field, WireType.Varint).uint32(value)
    else writer.tag(field, WireType.LengthDelimited).bytes(value)
  }
  return writer.finish()
}

type Forgery = { readonly counter?: number; readonly pqIndex?: number; readonly ratchetKey?: Uint8Array }

function forgePq(pq: Uint8Array, index: number): Uint8Array {
  const reader = new BinaryReader(pq.subarray(1))
  const epoch = Number(reader.uint64())
  reader.uint32()
  return Buffer.concat([
    pq.subarray(0, 1),
    new BinaryWriter().uint32(epoch).uint32(index).finish(),
    pq.subarray(1 + reader.pos),
  ])
}

function forgeMessage(message: Uint8Array, { counter, pqIndex, ratchetKey }: Forgery): Uint8Array {
  const body = changed(message.subarray(1, -MAC_BYTES), (field, value) => {
    if (field === 1) return ratchetKey ?? value
    if (field === 2) return counter ?? value
    return field === 5 && pqIndex ? forgePq(value as Uint8Array, pqIndex) : value
  })
  return Buffer.concat([message.subarray(0, 1), body, new Uint8Array(MAC_BYTES).fill(7)])
}

/** What a host can make of a ciphertext, which has no keys. */
function forge(ciphertext: Uint8Array, forgery: Forgery, baseKey?: Uint8Array): Uint8Array {
  const message = ciphertext.subarray(1)
  if (ciphertext[0] !== PREKEY_MESSAGE)
    return Buffer.concat([ciphertext.subarray(0, 1), forgeMessage(message, forgery)])
  const body = changed(message.subarray(1), (field, value) => {
    if (field === 2) return baseKey ?? value
    return field === 4 ? forgeMessage(value as Uint8Array, forgery) : value
  })
  return Buffer.concat([ciphertext.subarray(0, 2), body])
}

const newKey = (): Uint8Array => PrivateKey.generate().getPublicKey().serialize()

/** The same device with a clock that can be set forward. */
function reopened(person: Person): { sessions: Sessions; clock: SimulatedClock } {
  const clock = new SimulatedClock(START_MS)
  return { clock, sessions: openSessions({ storage: person.staged.storage, device: person.device, clock }) }
}

async function cpuMsOf(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

/** How many states the session has that is kept. */
function statesKept(of: Person, peer: Person): number {
  const record = of.base.get('session', sessionKey(peer.peer))!
  assert.ok(SessionRecord.deserialize(raw(record)))
  const reader = new BinaryReader(record)
  let states = 0
  for (; reader.pos < reader.len; states++) {
    const [field, type] = reader.tag()
    reader.skip(type, field)
  }
  return states
}

test('forgeries that say they are far ahead cost a device little, whatever they are made of', async () => {
  const [ana, ben] = await acquainted()
  const cem = newPerson()
  await introduce(cem, ben)
  const first = await cem.sessions.encrypt(ben.peer, bytes('first'))
  const next = await ana.sessions.encrypt(ben.peer, bytes('next'))
  const forgeries = [
    [ana, forge(next, { counter: FAR })],
    [ana, forge(next, { counter: FAR, ratchetKey: newKey() })],
    [ana, forge(next, { pqIndex: FAR })],
    [cem, forge(first, { counter: FAR })],
    [cem, forge(first, { counter: FAR }, newKey())],
  ] as const
  const cpuMs = await cpuMsOf(async () => {
    for (let i = 0; i < 10; i++) {
      for (const [author, forged] of forgeries)
        await assert.rejects(ben.sessions.decrypt(author.peer, forged), refused('undecryptable'))
    }
  })
  assert.deepEqual(ben.staged.changes(), [])
  assert.ok(cpuMs < 1_500, `${cpuMs} ms`)
  assert.equal(text(await ben.sessions.decrypt(ana.peer, next)), 'next')
  assert.equal(text(await ben.sessions.decrypt(cem.peer, first)), 'first')
})

test('while forgeries are held back, sessions under which all was well go on, and time brings the others back', async () => {
  const [ana, ben] = await acquainted()
  const [cem, dan] = [newPerson(), newPerson()]
  await introduce(cem, ben)
  await introduce(dan, ben)
  const { sessions, clock } = reopened(ben)
  const jump = async (author: Person, count = 300): Promise<Uint8Array> => {
    const run = Array.from({ length: count }, () => bytes('x'))
    return (await author.sessions.encryptRun([ben.peer], run)).sealed.at(-1)![0]!
  }
  for (const author of [ana, cem]) assert.equal(text(await sessions.decrypt(author.peer, await jump(author))), 'x')
  const next = await jump(ana, 1)
  for (let i = 0; i < 4; i++) await outcome(sessions.decrypt(ana.peer, forge(next, { counter: FAR })))
  await assert.rejects(sessions.decrypt(ana.peer, next), refused('undecryptable'))
  assert.equal(text(await sessions.decrypt(cem.peer, await jump(cem))), 'x', 'nothing has failed there')
  const unknown = await jump(dan)
  await assert.rejects(sessions.decrypt(dan.peer, unknown), refused('undecryptable'))
  clock.advanceTo(START_MS + MINUTE_MS)
  for (const [author, far] of [
    [ana, next],
    [dan, unknown],
  ] as const)
    assert.equal(text(await sessions.decrypt(author.peer, far)), 'x')
})

test('whoever sets up session after session leaves a few states, and no large row', async () => {
  const [eve, ben] = [newPerson(), newPerson(60)]
  const lost: Uint8Array[] = []
  for (let i = 0; i < SESSION_STATES_MAX + 4; i++) {
    await introduce(eve, ben)
    const skipped = Array.from({ length: i < 2 ? 1_900 : 1 }, () => bytes('skipped'))
    lost.push((await eve.sessions.encryptRun([ben.peer], skipped)).sealed.at(-1)![0]!)
    const last = await eve.sessions.encrypt(ben.peer, bytes(`${i}`))
    assert.equal(text(await ben.sessions.decrypt(eve.peer, last)), `${i}`)
    ben.commit()
    const row = ben.base.get('session', sessionKey(eve.peer))!
    assert.ok(row.length <= SESSION_BYTES_MAX && statesKept(ben, eve) <= SESSION_STATES_MAX)
    if (i === 2) assert.equal(statesKept(ben, eve), 2, 'the largest are too large together')
  }
  assert.equal(statesKept(ben, eve), SESSION_STATES_MAX)
  for (const [i, one] of lost.entries()) {
    const got = await outcome(ben.sessions.decrypt(eve.peer, one))
    if (i < 4) assert.deepEqual(got, { code: 'undecryptable' })
    else assert.equal('value' in got && text(got.value), 'skipped')
  }
})

test('another own device that is said to have the same key is none: libsignal would follow it without any bound', async () => {
  const [ana, ben] = [newPerson(), newPerson()]
  await introduce(ana, ben)
  const first = await ana.sessions.encrypt(ben.peer, bytes('first'))
  const mirrored = { ...ben.peer, device: 2 }
  const claimed = Buffer.concat([
    first.subarray(0, 2),
    changed(first.subarray(2), (field, value) => {
      if (field === 3) return ben.peer.identityKey
      return field === 4 ? forgeMessage(value as Uint8Array, { counter: 300_000 }) : value
    }),
  ])
  await assert.rejects(ben.sessions.decrypt(mirrored, claimed), refused('malformed'))
  assert.throws(() => ben.sessions.hasSession(mirrored), refused('malformed'))
})
