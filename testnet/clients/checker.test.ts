// The checker judges everything else here, so each kind of error is planted once, and what it computes is compared with
// what the protocol's own code computes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  chainHash,
  convIdBytes,
  directConvId,
  type EntryHeader,
  HEADER_BYTES,
  KIND_CONTENT,
  positionOf,
  simulatedRandom,
  userIdOf,
  writeEntry,
} from '#protocol'
import { bytesOfId, type Dump, type DumpedMessage, judge } from './checker.ts'

const random = simulatedRandom(1)
const [ana, ben] = [userIdOf(random.bytes(32)), userIdOf(random.bytes(32))]
const conv = directConvId(ana, ben)
const LINES = { [ana]: ['one', '', 'three ünï'], [ben]: ['two', 'four'] }
const ORDER = [ana, ben, ana, ben, ana]

function headerOf(n: number, k: number, author: string): EntryHeader {
  return {
    kind: KIND_CONTENT,
    at: positionOf(1, n),
    member: author === ana ? 0 : 1,
    device: 1,
    registrationEpoch: 1,
    registrationVersion: 1,
    k,
    tag: new Uint8Array(8).fill(n),
    membershipVersion: 1,
    timeMs: 1_700_000_000_000 + n,
  }
}

/** The log as both should have it. */
function log(): { headers: string[]; messages: DumpedMessage[]; head: Uint8Array } {
  const said = { [ana]: 0, [ben]: 0 }
  const headers: string[] = []
  const messages: DumpedMessage[] = []
  let head = convIdBytes(conv)
  for (const [i, author] of ORDER.entries()) {
    const k = (said[author] ?? 0) + 1
    said[author] = k
    const header = headerOf(i + 1, k, author)
    const entry = writeEntry(header, [])
    head = chainHash(head, entry)
    headers.push(Buffer.from(entry.subarray(0, HEADER_BYTES)).toString('hex'))
    const { at, member, device, timeMs } = header
    const body = Buffer.from(LINES[author]?.[k - 1] ?? '').toString('base64')
    const rest = { kind: 'text', status: 'sequenced', registration: '1.1', mine: false }
    messages.push({ at, from: author, member, device, k, timeMs, body, ...rest })
  }
  return { headers, messages, head }
}

function dumpsOf(change?: (it: { headers: string[]; messages: DumpedMessage[] }) => void): [Dump, Dump] {
  const [one, other] = [ana, ben].map((self): Dump => {
    const it = log()
    if (self === ben) change?.(it)
    const messages = it.messages.map((message) => ({ ...message, mine: message.from === self }))
    return { conv, self, peer: self === ana ? ben : ana, waiting: 0, headers: it.headers, messages }
  })
  return [one!, other!]
}

test('a whole log passes, with the heads that the protocol computes', () => {
  const verdict = judge(dumpsOf(), LINES)
  assert.deepEqual(verdict.faults, [])
  assert.equal(verdict.heads[0], Buffer.from(log().head).toString('hex'))
  assert.equal(verdict.last, positionOf(1, ORDER.length))
  assert.deepEqual(new Uint8Array(bytesOfId(conv)), convIdBytes(conv))
})

const swap = <T>(list: T[]): void => void list.splice(1, 2, list[2]!, list[1]!)
const replaced = (it: { messages: DumpedMessage[] }, part: Partial<DumpedMessage>): void => {
  it.messages[3] = { ...it.messages[3]!, ...part }
}

const PLANTED: Readonly<Record<string, (it: { headers: string[]; messages: DumpedMessage[] }) => void>> = {
  'a message is missing': ({ messages }) => void messages.splice(2, 1),
  'the newest is missing': ({ headers, messages }) => {
    headers.pop()
    messages.pop()
  },
  'a message is there twice': ({ messages }) => void messages.splice(2, 0, messages[2]!),
  'two messages are swapped': ({ messages }) => swap(messages),
  'two entries are swapped': ({ headers, messages }) => {
    swap(headers)
    swap(messages)
  },
  'a text is another': (it) => replaced(it, { body: Buffer.from('for').toString('base64') }),
  'an entry is missing': ({ headers }) => void headers.splice(1, 1),
  'a header is another': ({ headers }) => {
    headers[4] = headers[4]!.replace(/.$/, '0')
  },
  'a time is another': (it) => replaced(it, { timeMs: 1 }),
  'k is another': (it) => replaced(it, { k: 9 }),
  'somebody else wrote it': (it) => replaced(it, { from: conv }),
  'it could not be read': (it) => replaced(it, { kind: 'unreadable' }),
}

for (const [what, plant] of Object.entries(PLANTED)) {
  test(`found: ${what}`, () => assert.notDeepEqual(judge(dumpsOf(plant), LINES).faults, []))
}
