// The checker judges everything else here: each kind of error is planted once in journals and devices that are right.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
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
import type { Dump, DumpedMessage } from '../clients/checker.ts'
import { type Line, readJournal } from '../clients/journal.ts'
import { type Class, check, type Written } from './checker.ts'

const random = simulatedRandom(1)
const [ana, ben] = [userIdOf(random.bytes(32)), userIdOf(random.bytes(32))] as const
const conv = directConvId(ana, ben)
assert.equal(convIdBytes(conv).length, 32)
const ORDER = [ana, ben, ana, ana, ben, ana]

type Side = { lines: Line[]; headers: string[]; messages: DumpedMessage[] }
type World = Record<'ana' | 'ben', Side>

const textOf = (author: string, i: number): string => `${author === ana ? 'ana>ben' : 'ben>ana'} ${i}`
const place = (n: number): number => positionOf(1, n)

function headerOf(n: number, k: number, author: string): EntryHeader {
  const device = { device: 1, registrationEpoch: 1, registrationVersion: 1 }
  const rest = { tag: new Uint8Array(8).fill(n), membershipVersion: 1, timeMs: 1_700_000_000_000 + n }
  return { kind: KIND_CONTENT, at: positionOf(1, n), member: author === ana ? 0 : 1, ...device, k, ...rest }
}

/** Both sides as they should be. */
function world(): World {
  const sides: World = {
    ana: { lines: [['boot', 0]], headers: [], messages: [] },
    ben: { lines: [['boot', 0]], headers: [], messages: [] },
  }
  const said: Record<string, number> = { [ana]: 0, [ben]: 0 }
  for (const [i, author] of ORDER.entries()) {
    const [mine, other] = author === ana ? ([sides.ana, sides.ben] as const) : ([sides.ben, sides.ana] as const)
    const reader = author === ana ? ben : ana
    const n = i + 1
    const k = ++said[author]!
    const text = textOf(author, k)
    mine.lines.push(['say', reader, k, text, n], ['stored', reader, k, k], ['held', reader, k])
    mine.lines.push(['sequenced', reader, k, place(n)])
    other.lines.push(['got', author, k, place(n), 'text', text, n])
    const header = headerOf(n, k, author)
    const bytes = Buffer.from(writeEntry(header, []).subarray(0, HEADER_BYTES)).toString('hex')
    for (const [self, side] of [
      [ana, sides.ana],
      [ben, sides.ben],
    ] as const) {
      side.headers.push(bytes)
      const body = Buffer.from(text).toString('base64')
      const rest = { device: 1, registration: '1.1', kind: 'text', status: 'sequenced', timeMs: header.timeMs }
      side.messages.push({ at: place(n), from: author, mine: author === self, member: header.member, k, body, ...rest })
    }
  }
  return sides
}

function judged(sides: World, waiting = 0) {
  const written: Written[] = [
    { name: 'ana', userId: ana, lines: sides.ana.lines },
    { name: 'ben', userId: ben, lines: sides.ben.lines },
  ]
  const dump = (self: string, peer: string, { headers, messages }: Side): Dump => ({
    conv,
    self,
    peer,
    waiting,
    headers,
    messages,
  })
  const dumps = [dump(ana, ben, sides.ana), dump(ben, ana, sides.ben)] as const
  return check(written, [{ people: ['ana', 'ben'], dumps }])
}

test('what is right passes, and is counted', () => {
  const { violations, counts } = judged(world())
  assert.deepEqual(violations, [])
  assert.deepEqual(counts, { said: 6, held: 6, sequenced: 6, received: 6 })
})

test('a line that was said again because nobody knew whether it was taken is no violation', () => {
  const sides = world()
  const at = sides.ana.lines.findIndex(([what]) => what === 'stored')
  sides.ana.lines.splice(at, 0, ['boot', 1], ['say', ben, 1, textOf(ana, 1), 1])
  assert.deepEqual(judged(sides).violations, [])
})

const both = (sides: World, change: (side: Side) => void): void => {
  change(sides.ana)
  change(sides.ben)
}
const swap = <T>(list: T[], i: number): void => void list.splice(i, 2, list[i + 1]!, list[i]!)
const indexOf = (lines: readonly Line[], what: Line[0], from = 0): number =>
  lines.findIndex((line, i) => i >= from && line[0] === what)
const replaced = (side: Side, i: number, part: Partial<DumpedMessage>): void => {
  side.messages[i] = { ...side.messages[i]!, ...part }
}

const PLANTED: readonly (readonly [what: string, kind: Class, plant: (sides: World) => void])[] = [
  [
    'the newest message is at neither end',
    'lost',
    (sides) =>
      both(sides, (side) => {
        side.messages.pop()
        side.headers.pop()
      }),
  ],
  [
    'the reader lacks the newest message',
    'lost',
    ({ ben }) => {
      ben.messages.pop()
      ben.headers.pop()
    },
  ],
  ['a message is missing in the middle', 'gap', (sides) => both(sides, (side) => void side.messages.splice(2, 1))],
  ['what was held is not there', 'lost', ({ ana }) => void ana.lines.push(['held', ben, 9])],
  ['what had a place is not there', 'lost', ({ ana }) => void ana.lines.push(['sequenced', ben, 9, place(9)])],
  ['what had arrived is not there', 'lost', ({ ben }) => void ben.lines.push(['got', ana, 9, place(9), 'text', '', 9])],
  ['a line is left out', 'lost', ({ ana }) => void ana.lines.push(['say', ben, 9, 'x', 1])],
  [
    'a message is there twice',
    'duplicate',
    (sides) => both(sides, ({ messages }) => void messages.splice(2, 0, messages[2]!)),
  ],
  [
    'a message has two numbers',
    'duplicate',
    (sides) =>
      both(sides, (side) => {
        replaced(side, 3, { body: side.messages[2]!.body })
      }),
  ],
  ['it came twice', 'duplicate', ({ ben }) => void ben.lines.push(ben.lines.findLast(([what]) => what === 'got')!)],
  ['it was told two places', 'duplicate', ({ ana }) => void ana.lines.push(['sequenced', ben, 1, place(3)])],
  ['a number is left out', 'gap', (sides) => both(sides, (side) => replaced(side, 5, { at: place(7) }))],
  ['a k is left out', 'gap', (sides) => both(sides, (side) => replaced(side, 5, { k: 5 }))],
  ['an entry is missing', 'gap', ({ ben }) => void ben.headers.splice(1, 1)],
  [
    'it came behind a newer one',
    'reordered',
    ({ ben: { lines } }) => swap(lines, indexOf(lines, 'got', indexOf(lines, 'got', 6))),
  ],
  ['numbers go back', 'reordered', ({ ben }) => swap(ben.messages, 2)],
  [
    'lines stand in another order than they were said',
    'reordered',
    (sides) =>
      both(sides, (side) => {
        const [one, other] = [side.messages[2]!.body, side.messages[3]!.body]
        replaced(side, 2, { body: other })
        replaced(side, 3, { body: one })
      }),
  ],
  ['a text is another at one end', 'diverged', ({ ben }) => replaced(ben, 1, { body: 'eA==' })],
  [
    'it stands at another place',
    'diverged',
    ({ ana }) => {
      const at = indexOf(ana.lines, 'sequenced')
      ana.lines[at] = ['sequenced', ben, 1, place(2)]
    },
  ],
  [
    'it was another when it came',
    'diverged',
    ({ ben: { lines } }) => {
      const at = indexOf(lines, 'got')
      lines[at] = ['got', ana, 1, place(1), 'text', 'another', 1]
    },
  ],
  [
    'a k has another content',
    'diverged',
    ({ ana: { lines } }) => {
      const at = indexOf(lines, 'stored')
      lines[at] = ['stored', ben, 1, 2]
    },
  ],
  [
    'a hash is another',
    'diverged',
    ({ ben }) => {
      ben.headers[4] = ben.headers[4]!.replace(/.$/, '0')
    },
  ],
  ['nobody said it', 'odd', (sides) => both(sides, (side) => replaced(side, 1, { body: 'eA==' }))],
  [
    'it could not be read',
    'odd',
    ({ ben: { lines } }) => {
      const at = indexOf(lines, 'got')
      lines[at] = ['got', ana, 1, place(1), 'unreadable', textOf(ana, 1), 1]
    },
  ],
  ['a client says so itself', 'odd', ({ ana }) => void ana.lines.push(['odd', 'the host lies'])],
]

for (const [what, kind, plant] of PLANTED) {
  test(`found: ${what}`, () => {
    const sides = world()
    plant(sides)
    const { violations } = judged(sides)
    assert.ok(
      violations.some((it) => it.class === kind),
      `${kind} is not among ${JSON.stringify(violations)}`,
    )
  })
}

test('found: a message has no number', () => {
  assert.equal(judged(world(), 1).violations[0]?.class, 'lost')
})

test('a journal is read to its last whole line, and a line that a kill has cut off is passed over', () => {
  const whole = '["boot",1]\n["say","x",1,"t",2]\n'
  assert.equal(readJournal(whole).length, 2)
  assert.equal(readJournal(`${whole}["sto`).length, 2)
  assert.equal(readJournal(`${whole}["sto\n["boot",3]\n`).length, 3)
  assert.throws(() => readJournal(`${whole}["sto\n["held","x",1]\n`), /broken line/)
})
