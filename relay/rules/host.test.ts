import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  KIND_CONTENT,
  KIND_CONTROL,
  KIND_KEYS,
  KIND_SKIP,
  KIND_SUPPLEMENT,
  limits,
  type Manifest,
  type Submission,
} from '#protocol'
import { makeRegion } from '../fixtures.ts'
import { foundingOfPair, makePair, submissionOf, tagOf } from './bench.ts'
import { type Author, authorOf, type Conversation } from './conversation.ts'
import { newConversation } from './conversation-rows.ts'
import { type HostOutcome, hostTake } from './host.ts'

const region = makeRegion()
const pair = makePair(region, region)
const LAST = 300

function words(outcome: HostOutcome): string {
  switch (outcome.do) {
    case 'duplicate':
      return `sequenced ${outcome.placed.at} ${outcome.placed.tag[0]}`
    case 'past':
      return `past ${outcome.last}`
    case 'behind':
      return `behind ${outcome.k}`
    case 'stale':
      return `stale ${outcome.newest.map((v) => `${v.member}:${v.rootEpoch}.${v.version}`).join(' ')}`
    case 'final':
      return `final ${outcome.code}`
    default:
      return outcome.do
  }
}

/** 300 numbered, the last 200 of them in the window. */
function hosting(): { conv: Conversation; author: Author } {
  const conv = newConversation(foundingOfPair(pair), region.regionId, 1)
  const author = authorOf(conv, 0, pair.host.person.device)
  author.last = LAST
  for (let k = 101; k <= LAST; k++) author.window.add(k, 0, 1_000 + k, tagOf(7))
  return { conv, author }
}

const version = (manifest: Manifest, rootEpoch: number, v: number): Manifest => ({
  ...manifest,
  ...{ rootEpoch, version: v, devicesSince: v },
})
const manifests = [version(pair.host.manifest, 2, 3), version(pair.other.manifest, 2, 3)]
const known = (member: number): Manifest | undefined => manifests[member]
const encryptedFor = (a: [number, number], b: [number, number] | undefined): Submission['encryptedFor'] =>
  [a, b].flatMap((v, member) => (v ? [{ member, rootEpoch: v[0], version: v[1] }] : [])) as Submission['encryptedFor']
const NEWEST = encryptedFor([2, 3], [2, 3])

const PLACES = {
  'in the window': 200,
  'the last': LAST,
  'oldest of the window': 101,
  'below the window': 100,
  next: 301,
  beyond: 302,
}
type Place = keyof typeof PLACES

const body = (length: number) => ({ member: 1, device: 1, body: new Uint8Array(length) })
const SUBMISSIONS: Record<string, Partial<Submission>> = {
  good: {},
  'of another tag': { tag: tagOf(99) },
  'of a later rev': { rev: 9 },
  skip: { kind: KIND_SKIP },
  'skip that says nothing of manifests': { kind: KIND_SKIP, encryptedFor: [] },
  supplement: { kind: KIND_SUPPLEMENT },
  keys: { kind: KIND_KEYS },
  control: { kind: KIND_CONTROL },
  'of no known kind': { kind: 77 },
  'for an older manifest of the other': { encryptedFor: encryptedFor([2, 3], [2, 2]) },
  'for an older root epoch of the other': { encryptedFor: encryptedFor([2, 3], [1, 9]) },
  'for older manifests of both': { encryptedFor: encryptedFor([2, 2], [1, 9]) },
  'for nobody but oneself': { encryptedFor: encryptedFor([2, 3], undefined) },
  'for a manifest newer than known': { encryptedFor: encryptedFor([2, 4], [3, 1]) },
  'with a part as large as goes': { parts: [body(limits.PART_MAX_BYTES)] as Submission['parts'] },
  'with a part too large': { parts: [body(limits.PART_MAX_BYTES + 1)] as Submission['parts'] },
  'with as many parts as go': { parts: Array(limits.PARTS_MAX).fill(body(1)) },
  'with too many parts': { parts: Array(limits.PARTS_MAX + 1).fill(body(1)) },
  'with a part for nobody': { parts: [{ ...body(1), member: 2 }] as Submission['parts'] },
}

/** What the next k of each kind gets; below and beyond, what it is does not matter. */
const NEXT: Record<string, string> = {
  good: 'append',
  'of another tag': 'append',
  'of a later rev': 'append',
  skip: 'append',
  'skip that says nothing of manifests': 'append',
  supplement: 'append',
  keys: 'final malformed',
  control: 'final malformed',
  'of no known kind': 'final malformed',
  'for an older manifest of the other': 'stale 1:2.3',
  'for an older root epoch of the other': 'stale 1:2.3',
  'for older manifests of both': 'stale 0:2.3 1:2.3',
  'for nobody but oneself': 'stale 1:2.3',
  'for a manifest newer than known': 'append',
  'with a part as large as goes': 'append',
  'with a part too large': 'final too_large',
  'with as many parts as go': 'append',
  'with too many parts': 'final too_large',
  'with a part for nobody': 'final malformed',
}
const ELSEWHERE: Record<Exclude<Place, 'next'>, string> = {
  'in the window': 'sequenced 1200 7',
  'the last': 'sequenced 1300 7',
  'oldest of the window': 'sequenced 1101 7',
  'below the window': 'past 300',
  beyond: 'behind 301',
}

test('what was encrypted for the same devices is good, whichever manifest it names', () => {
  const moved = manifests.map((manifest) => ({ ...manifest, version: 9 }))
  const outcomes = ([2, 3, 9] as const).map((named) => {
    const { conv, author } = hosting()
    const submission = submissionOf(pair, LAST + 1, { encryptedFor: encryptedFor([2, 9], [2, named]) })
    return words(hostTake(conv, author, submission, (member) => moved[member]))
  })
  assert.deepEqual(outcomes, ['stale 1:2.9', 'append', 'append'])
})

test('every place of a k answers every submission as the table says', () => {
  const wrong: string[] = []
  for (const place of Object.keys(PLACES) as Place[]) {
    for (const [name, more] of Object.entries(SUBMISSIONS)) {
      const { conv, author } = hosting()
      const submission = submissionOf(pair, PLACES[place], { encryptedFor: NEWEST, ...more })
      const answer = words(hostTake(conv, author, submission, known))
      const expected = place === 'next' ? NEXT[name] : ELSEWHERE[place]
      if (answer !== expected) wrong.push(`${place}; ${name}: ${answer}, not ${expected}`)
      assert.equal(author.last, LAST, 'the table only reads')
    }
  }
  assert.deepEqual(wrong, [])
})

test('only a device of the newest manifest known gets a number, content or skip; what has one keeps it', () => {
  const { conv } = hosting()
  const without = (member: number): Manifest | undefined => (member === 0 ? undefined : known(member))
  const stranger = authorOf(conv, 2, pair.host.person.device)
  const others = {
    'another number': { device: 2 },
    'another registration': { registrationVersion: 2 },
    'another root': { registrationEpoch: 2 },
  }
  for (const kind of [KIND_CONTENT, KIND_SKIP]) {
    const next = submissionOf(pair, 1, { encryptedFor: NEWEST, kind })
    for (const [name, other] of Object.entries(others)) {
      const author = authorOf(conv, 0, { ...pair.host.person.device, ...other })
      assert.equal(words(hostTake(conv, author, next, known)), 'final unsigned_device', name)
    }
    const { conv: mine, author } = hosting()
    const following = submissionOf(pair, LAST + 1, { encryptedFor: NEWEST, kind })
    assert.equal(words(hostTake(mine, author, following, without)), 'final unsigned_device', 'no manifest is known')
    assert.equal(words(hostTake(conv, stranger, next, known)), 'final not_member')
  }
  const { conv: mine, author } = hosting()
  assert.equal(words(hostTake(mine, author, submissionOf(pair, LAST), without)), 'sequenced 1300 7')
})

test('whatever is offered, numbers are dense and one k has one place and one tag', () => {
  const offer = fc.record({
    k: fc.integer({ min: 1, max: 40 }),
    tag: fc.integer({ min: 1, max: 3 }),
    skip: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(offer, { maxLength: 120 }), (offers) => {
      const conv = newConversation(foundingOfPair(pair), region.regionId, 1)
      const author = authorOf(conv, 0, pair.host.person.device)
      const placed = new Map<number, string>()
      for (const { k, tag, skip } of offers) {
        const said = submissionOf(pair, k, {
          tag: tagOf(tag),
          encryptedFor: NEWEST,
          kind: skip ? KIND_SKIP : KIND_CONTENT,
        })
        const outcome = hostTake(conv, author, said, known)
        if (outcome.do === 'append') {
          assert.equal(k, placed.size + 1)
          author.last = k
          author.window.add(k, 0, k, said.tag)
          placed.set(k, `sequenced ${k} ${tag}`)
        } else assert.equal(words(outcome), placed.get(k) ?? `behind ${placed.size + 1}`)
      }
    }),
  )
})
