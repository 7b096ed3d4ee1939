import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { KIND_CONTENT, KIND_SKIP, limits } from '#protocol'
import { tagOf } from './bench.ts'
import { type Author, findHeld, type Held, nextFree, putHeld } from './conversation.ts'
import { forwardable, type HomeOutcome, homeTake, type SubmissionFacts, verdictCounts } from './home.ts'
import { Window } from './window.ts'

const K = 5
const ROOM = { submissions: 100, bytes: 1_000_000 }
const NO_ROOM = { submissions: 0, bytes: 0 }
const STOP = new Uint8Array([9])
const MINE = tagOf(1)
const OTHER = tagOf(2)

type Kept = { rev?: number; kind?: number; stop?: Uint8Array }

const held = (k: number, { rev = 2, kind = KIND_CONTENT, stop }: Kept = {}): Held => ({
  k,
  tag: MINE,
  rev,
  kind,
  size: 10,
  stop,
})

function windowOf(ks: number[]): Window {
  const window = new Window()
  for (const k of ks) window.add(k, 0, 1_000 + k, MINE)
  return window
}

/** `last` in the log, the numbered ones of `window` still known, the run. */
function author(last: number, window: number[], run: Held[]): Author {
  return {
    key: 'a',
    stream: 'sa',
    member: 0,
    device: 1,
    registrationEpoch: 1,
    registrationVersion: 1,
    last,
    window: windowOf(window),
    run,
    toldSafe: 0,
  }
}

const STATES = {
  'none, and it is next': () => author(4, [4], []),
  'none, and next after the run': () => author(2, [], [held(3), held(4)]),
  'none, and beyond the run': () => author(2, [], [held(3)]),
  'none, and it fills a hole': () => author(4, [4], [held(6), held(7)]),
  'none, and a hole lies below it': () => author(2, [], [held(4), held(6)]),
  'on its way': () => author(4, [], [held(5)]),
  'stopped by the host': () => author(4, [], [held(5, { stop: STOP }), held(6)]),
  'held as a skip': () => author(4, [], [held(5, { kind: KIND_SKIP })]),
  'held as a skip that was stopped': () => author(4, [], [held(5, { kind: KIND_SKIP, stop: STOP })]),
  'numbered, in the window': () => author(5, [4, 5], [held(5)]),
  'numbered, below the window': () => author(300, [200, 300], []),
} as const
type State = keyof typeof STATES

const said = (rev: number, tag: Uint8Array, kind = KIND_CONTENT): SubmissionFacts => ({
  k: K,
  tag,
  rev,
  kind,
  size: 10,
})

const SUBMISSIONS = {
  same: said(2, MINE),
  newer: said(3, MINE),
  older: said(1, MINE),
  other: said(2, OTHER),
  'other, newer': said(3, OTHER),
  'skip, newer': said(3, OTHER, KIND_SKIP),
  'skip, not newer': said(2, OTHER, KIND_SKIP),
  'same skip': said(2, MINE, KIND_SKIP),
} as const
type Said = keyof typeof SUBMISSIONS

/** PROTOCOL, section 2, "Home": what each state answers to each submission; `*` is what is not listed. */
const TABLE: Record<State, { '*': string } & Partial<Record<Said, string>>> = {
  'none, and it is next': { '*': 'take' },
  'none, and next after the run': { '*': 'take' },
  'none, and beyond the run': { '*': 'behind 4' },
  'none, and it fills a hole': { '*': 'take' },
  'none, and a hole lies below it': { '*': 'behind 3' },
  'on its way': {
    '*': 'held',
    newer: 'replace',
    'skip, newer': 'replace',
    other: 'conflict',
    'other, newer': 'conflict',
    'skip, not newer': 'conflict',
  },
  'stopped by the host': {
    '*': 'held, stopped',
    newer: 'replace',
    'skip, newer': 'replace',
    other: 'conflict',
    'other, newer': 'conflict',
    'skip, not newer': 'conflict',
  },
  'held as a skip': {
    '*': 'held',
    newer: 'replace',
    other: 'conflict',
    'other, newer': 'conflict',
    'skip, newer': 'conflict',
    'skip, not newer': 'conflict',
  },
  'held as a skip that was stopped': {
    '*': 'held, stopped',
    newer: 'replace',
    other: 'conflict',
    'other, newer': 'conflict',
    'skip, newer': 'conflict',
    'skip, not newer': 'conflict',
  },
  'numbered, in the window': { '*': 'sequenced 1005' },
  'numbered, below the window': { '*': 'past 300' },
}

function words(outcome: HomeOutcome): string {
  switch (outcome.do) {
    case 'sequenced':
      return `sequenced ${outcome.placed.at}`
    case 'past':
      return `past ${outcome.last}`
    case 'behind':
      return `behind ${outcome.k}`
    case 'held':
      return outcome.stop ? 'held, stopped' : 'held'
    default:
      return outcome.do
  }
}

const copyOf = ({ window, ...rest }: Author) => ({
  ...structuredClone(rest),
  placed: Array.from({ length: window.last }, (_, i) => window.get(i + 1)),
})

test('every state of a k answers every submission as the table says', () => {
  const wrong: string[] = []
  for (const state of Object.keys(STATES) as State[]) {
    for (const name of Object.keys(SUBMISSIONS) as Said[]) {
      const at = STATES[state]()
      const before = copyOf(at)
      const answer = words(homeTake(at, SUBMISSIONS[name], ROOM))
      const row = TABLE[state]
      if (answer !== (row[name] ?? row['*'])) wrong.push(`${state}; ${name}: ${answer}, not ${row[name] ?? row['*']}`)
      assert.deepEqual(copyOf(at), before, 'the table only reads')
    }
  }
  assert.deepEqual(wrong, [])
})

test('without room only a new k at the end is refused: holes are filled, what is held is answered and replaced', () => {
  for (const state of Object.keys(STATES) as State[]) {
    for (const name of Object.keys(SUBMISSIONS) as Said[]) {
      const with_ = words(homeTake(STATES[state](), SUBMISSIONS[name], ROOM))
      const refused = with_ === 'take' && state !== 'none, and it fills a hole'
      for (const room of [NO_ROOM, { submissions: 1, bytes: 9 }, { submissions: 0, bytes: 10 }])
        assert.equal(words(homeTake(STATES[state](), SUBMISSIONS[name], room)), refused ? 'no_room' : with_, state)
    }
  }
})

test('the verdict of a host counts for what is still held, not numbered, and not of a later rev', () => {
  const at = author(4, [], [held(4), held(5, { rev: 3 })])
  assert.equal(verdictCounts(at, 5, 3)?.k, 5)
  assert.equal(verdictCounts(at, 5, 4)?.k, 5)
  assert.equal(verdictCounts(at, 5, 2), undefined, 'a later rev is held')
  assert.equal(verdictCounts(at, 4, 9), undefined, 'the log has it')
  assert.equal(verdictCounts(at, 6, 9), undefined, 'nothing is held')
})

const step = fc.oneof(
  fc.record({
    do: fc.constant('submit' as const),
    ahead: fc.integer({ min: -3, max: 4 }),
    tag: fc.integer({ min: 1, max: 3 }),
    rev: fc.integer({ min: 0, max: 4 }),
    skip: fc.boolean(),
    room: fc.boolean(),
  }),
  fc.record({ do: fc.constant('number' as const), count: fc.integer({ min: 1, max: 5 }) }),
  fc.record({
    do: fc.constant('stop' as const),
    ahead: fc.integer({ min: 0, max: 4 }),
    rev: fc.integer({ min: 0, max: 4 }),
  }),
  fc.record({ do: fc.constant('cut' as const), back: fc.integer({ min: 1, max: 3 }) }),
)

/** What a home does with an outcome, and no more. */
function apply(at: Author, facts: SubmissionFacts, outcome: HomeOutcome): void {
  if (outcome.do === 'take' || outcome.do === 'replace') putHeld(at, { ...facts, stop: undefined })
}

test('no sequence of submissions gives one k two contents, and what may be in flight is bounded and stops at a stop', () => {
  const IN_FLIGHT = 4
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const at = author(0, [], [])
      const contents = new Map<number, string>()
      for (const s of steps) {
        if (s.do === 'submit') {
          const k = Math.max(1, nextFree(at) + s.ahead)
          const kind = s.skip ? KIND_SKIP : KIND_CONTENT
          const facts = { k, tag: tagOf(s.tag + (s.skip ? 10 : 0)), rev: s.rev, kind, size: 10 }
          const known = findHeld(at, k)
          const outcome = homeTake(at, facts, s.room ? ROOM : NO_ROOM)
          assert.ok(outcome.do !== 'take' || (k === nextFree(at) && !known), 'only the next is new')
          assert.ok(outcome.do !== 'replace' || (known && facts.rev > known.rev), 'only a later rev replaces')
          apply(at, facts, outcome)
          const mine = findHeld(at, k)
          if (mine && mine.kind === KIND_CONTENT && k > at.last) {
            const content = Buffer.from(mine.tag).toString('hex')
            assert.equal(contents.get(k) ?? content, content, `k ${k} has two contents`)
            contents.set(k, content)
          }
          if (known?.kind === KIND_SKIP) assert.equal(mine?.kind, KIND_SKIP, 'a skip stays a skip')
        } else if (s.do === 'number') {
          for (let i = 0; i < s.count && findHeld(at, at.last + 1); i++) {
            const next = findHeld(at, ++at.last)!
            at.window.add(at.last, 0, 1_000 + at.last, next.tag)
          }
        } else if (s.do === 'stop') {
          const mine = verdictCounts(at, at.last + 1 + s.ahead, s.rev)
          if (mine) putHeld(at, { ...mine, stop: STOP })
        } else {
          // What was safe is forgotten; then a cut takes numbers back, and leaves a hole.
          while (at.run[0] && at.run[0].k <= at.last) contents.delete(at.run.shift()!.k)
          at.last = Math.max(0, at.last - s.back)
          at.window.cut(at.last)
        }
        const run = at.run.map((h) => h.k)
        assert.deepEqual(
          run,
          [...new Set(run)].sort((a, b) => a - b),
          'the run ascends',
        )
        const stop = at.run.find((h) => h.stop && h.k > at.last)
        const going = forwardable(at, 0, IN_FLIGHT)
        assert.ok(going.length <= IN_FLIGHT, 'too much in flight')
        for (const h of going) {
          assert.ok(h.k > at.last && h.k <= at.last + IN_FLIGHT, 'beyond what may be in flight')
          assert.ok(!stop || h.k < stop.k, 'passed a stop')
        }
      }
    }),
    { numRuns: 1_000 },
  )
})

test('what may be in flight is everything held from there on, up to the limit', () => {
  const many = Array.from({ length: 600 }, (_, i) => held(i + 11))
  const at = author(10, [], many)
  assert.deepEqual(
    forwardable(at, 20, limits.IN_FLIGHT_MAX).map((h) => h.k),
    Array.from({ length: limits.IN_FLIGHT_MAX - 9 }, (_, i) => i + 20),
  )
  at.run[30] = held(41, { stop: STOP })
  assert.deepEqual(
    forwardable(at, 39, limits.IN_FLIGHT_MAX).map((h) => h.k),
    [39, 40],
  )
})
