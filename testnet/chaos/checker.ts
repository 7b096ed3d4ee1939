// Judges a run from what the clients wrote down and from what their devices hold at the end, and from nothing else. It
// shares no code with what it judges.
import { type Dump, type DumpedMessage, judge } from '../clients/checker.ts'
import type { Line } from '../clients/journal.ts'

export const CLASSES = ['lost', 'duplicate', 'gap', 'reordered', 'diverged', 'odd'] as const
export type Class = (typeof CLASSES)[number]
export type Violation = { readonly class: Class; readonly what: string }

/** One person's journal. */
export type Written = { readonly name: string; readonly userId: string; readonly lines: readonly Line[] }

export type Counts = { said: number; held: number; sequenced: number; received: number }
export type Verdict = { readonly violations: readonly Violation[]; readonly counts: Counts }

type Fault = (kind: Class, what: string) => void
type Said = { text: string; k: number | undefined }

/** What one person wrote down about another. */
type Thread = {
  /** By i, from 1. */
  readonly said: Said[]
  readonly held: Set<number>
  readonly sequenced: Map<number, number>
  readonly got: (Line & { 0: 'got' })[]
}

const SHOWN_BYTES = 40
const NUMBERS = 2 ** 32
const textOf = ({ body }: DumpedMessage): string => Buffer.from(body, 'base64').toString()
const short = (text: string): string => JSON.stringify(text.slice(0, SHOWN_BYTES))

function threadOf(lines: readonly Line[], other: string, fault: Fault): Thread {
  const thread: Thread = { said: [], held: new Set(), sequenced: new Map(), got: [] }
  for (const line of lines) {
    if (line[0] === 'boot' || line[0] === 'odd' || line[1] !== other) continue
    if (line[0] === 'say') {
      const [, , i, text] = line
      const before = thread.said[i - 1]
      if (!before && i !== thread.said.length + 1) {
        fault('lost', `line ${i} was said after line ${thread.said.length}`)
        continue
      }
      if (before?.k !== undefined) fault('lost', `line ${i} had k ${before.k} and was said again`)
      thread.said[i - 1] = { text, k: undefined }
    } else if (line[0] === 'stored') {
      const [, , i, k] = line
      const said = thread.said[i - 1]
      if (!said) fault('odd', `line ${i} has k ${k} and was never said`)
      else said.k = k
    } else if (line[0] === 'held') thread.held.add(line[2])
    else if (line[0] === 'sequenced') {
      const [, , k, at] = line
      const before = thread.sequenced.get(k)
      if (before !== undefined && before !== at) fault('duplicate', `k ${k} has the places ${before} and ${at}`)
      thread.sequenced.set(k, at)
    } else thread.got.push(line)
  }
  return thread
}

/** Numbers dense from 1, and k of each author dense from 1. */
function checkDense(dump: Dump, fault: Fault): void {
  let last = 0
  const lastK = new Map<string, number>()
  const texts = new Set<string>()
  for (const it of dump.messages) {
    const n = it.at % NUMBERS
    if (n <= last) fault(n === last ? 'duplicate' : 'reordered', `number ${n} comes after ${last}`)
    else if (n !== last + 1) fault('gap', `number ${n} comes after ${last}`)
    last = n
    const before = lastK.get(it.from) ?? 0
    if (it.k <= before) fault('duplicate', `k ${it.k} of ${it.from.slice(0, 16)} comes after ${before}`)
    else if (it.k !== before + 1) fault('gap', `k ${it.k} of ${it.from.slice(0, 16)} comes after ${before}`)
    lastK.set(it.from, it.k)
    const text = `${it.from} ${it.body}`
    if (texts.has(text)) fault('duplicate', `${short(textOf(it))} is there twice`)
    texts.add(text)
  }
  if (dump.waiting > 0) fault('lost', `${dump.waiting} messages have no number`)
  if (dump.headers.length !== dump.messages.length)
    fault('gap', `${dump.headers.length} entries, ${dump.messages.length} messages`)
}

/** Everything that was said is there once, in the order in which it was said. */
function checkSaid({ said }: Thread, messages: readonly DumpedMessage[], fault: Fault): void {
  const places = new Map(messages.map((it, place) => [textOf(it), place]))
  let last = -1
  for (const [i, { text }] of said.entries()) {
    const place = places.get(text)
    if (place === undefined) fault('lost', `line ${i + 1}, ${short(text)}`)
    else if (place < last) fault('reordered', `line ${i + 1} stands before one that was said earlier`)
    last = Math.max(last, place ?? last)
    places.delete(text)
  }
  for (const text of places.keys()) fault('odd', `nobody said ${short(text)}`)
}

/** What was acknowledged: under its k, at its place, with its content. */
function checkAcknowledged(thread: Thread, messages: readonly DumpedMessage[], fault: Fault): void {
  const byK = new Map(messages.map((it) => [it.k, it]))
  for (const k of thread.held) if (!byK.has(k)) fault('lost', `k ${k} was held`)
  let last = 0
  for (const [k, at] of [...thread.sequenced].sort(([a], [b]) => a - b)) {
    const found = byK.get(k)
    if (!found) fault('lost', `k ${k} was sequenced at ${at}`)
    else if (found.at !== at) fault('diverged', `k ${k} was sequenced at ${at} and stands at ${found.at}`)
    if (at <= last) fault('reordered', `k ${k} was sequenced at ${at}, an earlier one at ${last}`)
    last = at
  }
  for (const [i, { k, text }] of thread.said.entries()) {
    const found = k === undefined ? undefined : byK.get(k)
    if (found && textOf(found) !== text) fault('diverged', `line ${i + 1} got k ${k}, which is ${short(textOf(found))}`)
  }
}

/** What came in was told once, ascending, and stands there still. */
function checkGot({ got }: Thread, messages: readonly DumpedMessage[], fault: Fault): void {
  const byPlace = new Map(messages.map((it) => [it.at, it]))
  let last = 0
  for (const [, , k, at, kind, text] of got) {
    const found = byPlace.get(at)
    if (kind !== 'text') fault('odd', `k ${k} at ${at} is ${kind}`)
    if (at === last) fault('duplicate', `what stands at ${at} came twice`)
    else if (at < last) fault('reordered', `what stands at ${at} came after ${last}`)
    last = Math.max(last, at)
    if (!found) fault('lost', `k ${k} came at ${at} and is not there any more`)
    else if (found.k !== k || textOf(found) !== text) fault('diverged', `what stands at ${at} is not what came`)
  }
}

/** The same log, message by message and hash by hash. */
function checkAlike([one, other]: readonly [Dump, Dump], fault: Fault): void {
  const there = new Map(other.messages.map((it) => [it.at, it]))
  for (const it of one.messages) {
    const twin = there.get(it.at)
    if (!twin) fault('lost', `${it.at} is at ${one.self.slice(0, 16)} only`)
    else if (twin.k !== it.k || twin.from !== it.from || twin.body !== it.body)
      fault('diverged', `${it.at} differs between the two`)
    there.delete(it.at)
  }
  for (const at of there.keys()) fault('lost', `${at} is at ${other.self.slice(0, 16)} only`)
}

function checkPair(people: readonly [Written, Written], dumps: readonly [Dump, Dump], fault: Fault): void {
  const written: Record<string, string[]> = {}
  const before = { count: 0 }
  const counted: Fault = (kind, what) => {
    before.count++
    fault(kind, what)
  }
  for (const [i, me] of people.entries()) {
    const other = people[1 - i]!
    const of: Fault = (kind, what) => counted(kind, `${me.name}: ${what}`)
    const thread = threadOf(me.lines, other.userId, of)
    written[me.userId] = thread.said.map(({ text }) => text)
    for (const dump of dumps) {
      const mine = dump.messages.filter(({ from }) => from === me.userId)
      checkSaid(thread, mine, of)
      checkAcknowledged(thread, mine, of)
    }
    const dump = dumps[i]!
    checkDense(dump, of)
    checkGot(
      thread,
      dump.messages.filter(({ from }) => from === other.userId),
      of,
    )
  }
  checkAlike(dumps, counted)
  // Whoever finds nothing here may still find something in the chain of hashes.
  const { faults } = judge(dumps, written)
  if (before.count === 0) for (const what of faults) fault('diverged', what)
}

/** `pairs`: what both devices of each conversation hold at the end. */
export function check(
  written: readonly Written[],
  pairs: readonly { readonly people: readonly [string, string]; readonly dumps: readonly [Dump, Dump] }[],
): Verdict {
  const violations: Violation[] = []
  const of = (name: string): Written => written.find((it) => it.name === name)!
  for (const { people, dumps } of pairs) {
    const fault: Fault = (kind, what) => void violations.push({ class: kind, what: `${people.join(' and ')}: ${what}` })
    checkPair([of(people[0]), of(people[1])], dumps, fault)
  }
  const counts: Counts = { said: 0, held: 0, sequenced: 0, received: 0 }
  for (const { name, lines } of written) {
    for (const line of lines) {
      if (line[0] === 'odd') violations.push({ class: 'odd', what: `${name}: ${line[1]}` })
      else if (line[0] === 'say') counts.said++
      else if (line[0] === 'held') counts.held++
      else if (line[0] === 'sequenced') counts.sequenced++
      else if (line[0] === 'got') counts.received++
    }
  }
  return { violations, counts }
}
