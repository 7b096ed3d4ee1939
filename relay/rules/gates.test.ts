// PROTOCOL, section 4: nothing leaves before the commit it was computed from counts, but for four outputs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import {
  type Cursor,
  convIdBytes,
  IntroSchema,
  ItemKind,
  KIND_SKIP,
  LogSchema,
  LogStateSchema,
  type Position,
  positionOf,
  REGISTER_DELIVERED,
  REGISTER_READ,
  RegistersSchema,
  type RelayItem,
  readHeader,
  SafeSchema,
  StaleManifestsSchema,
  type Submission,
  SubmissionStateSchema,
  SubmissionsSchema,
  simulatedRandom,
} from '#protocol'
import {
  type Bench,
  entryOf,
  foundingOfPair,
  makePair,
  type Output,
  openBench,
  type Pair,
  type Side,
  streamKeyOf,
  submissionOf,
  type TestSession,
  tagOf,
} from './bench.ts'
import type { Conversation } from './conversation.ts'
import { loadConversation, newConversation, registerName } from './conversation-rows.ts'

const at = (n: number): Position => positionOf(1, n)
const nameOf = (pair: Pair) =>
  ({ ref: 1, convId: convIdBytes(pair.id), genesis: pair.genesis, homeRecords: [] }) as never
const cursor = (n: number, rewind = false): Cursor => ({ conv: 1, epoch: 1, n, rewind }) as Cursor
const pull = (n: number) => ({ conv: 1, epoch: 1, n, maxBytes: 100_000 }) as never
const submit = (pair: Pair, k: number, more: Partial<Submission> = {}): Submission =>
  submissionOf(pair, k, { ...more, conv: 1 })
const readMark = (member: number, n: number) => ({
  conv: 1,
  kind: REGISTER_READ,
  member,
  device: 1,
  version: BigInt(at(n)),
  body: new Uint8Array([n]),
})

/** One line for each thing that left. */
function linesOf(output: Output): string[] {
  if (output.to === 'region') return itemLines(output.item)
  const { frame } = output
  return [
    ...frame.names.map(() => 'name'),
    ...frame.verdicts.map((v) => {
      const place = v.outcome.case === 'sequenced' ? ` at ${v.outcome.value.n}` : ''
      return `${v.outcome.case} k${v.k}${place}`
    }),
    ...frame.entries.map(
      (run) => `${run.page ? 'page' : 'push'} ${run.entry.map((e) => readHeader(e).at % 2 ** 32)} of ${run.headN}`,
    ),
    ...frame.behind.map((b) => `behind ${b.fromN} of ${b.headN}`),
    ...frame.registers.map((r) => `register ${r.kind} of ${r.member}: ${Number(r.version & 0xffff_ffffn)}`),
  ]
}

function itemLines(item: RelayItem): string[] {
  switch (item.kind) {
    case ItemKind.INTRO:
      return ['intro']
    case ItemKind.SUBMISSIONS:
      return item.value.items.map((s) => `submission k${s.k}`)
    case ItemKind.SUBMISSION_STATE:
      return [`state ${item.value.last} ${item.value.verdict.case ?? ''}`.trim()]
    case ItemKind.LOG:
      return item.value.entry.map((e) => `entry ${readHeader(e).at % 2 ** 32}`)
    case ItemKind.LOG_STATE:
      return [`have ${item.value.n}`]
    case ItemKind.SAFE:
      return [`safe up to ${item.value.n}`]
    case ItemKind.REGISTERS:
    case ItemKind.REGISTERS_STATE: {
      const verb = item.kind === ItemKind.REGISTERS ? 'sends' : 'has'
      return item.value.items.map(
        (r) => `${verb} register ${r.kind} of ${r.member}: ${Number(r.version & 0xffff_ffffn)}`,
      )
    }
    default:
      return [`moving: item ${item.kind}`]
  }
}

const takeLines = (bench: Bench): string[] => bench.out.splice(0).flatMap(linesOf)

type Scene = { bench: Bench; pair: Pair; mine: Side; theirs: Side; device: TestSession }

/** The node of a member's home, hosting or not; its device and the other region are there. */
async function sceneOf(hosting: boolean): Promise<Scene> {
  const pair = makePair()
  const [mine, theirs] = hosting ? [pair.host, pair.other] : [pair.other, pair.host]
  const bench = await openBench(mine.region, [mine, theirs], { limits: { held: 6 } })
  bench.linkUp(theirs.region)
  const device = bench.session(mine)
  device.frame({ names: [nameOf(pair)] })
  await bench.settle()
  bench.out.length = 0
  return { bench, pair, mine, theirs, device }
}

const intro = (pair: Pair): RelayItem => ({
  kind: ItemKind.INTRO,
  value: create(IntroSchema, { genesis: pair.genesis, homeRecords: [] }),
})
const log = (...entry: Uint8Array[]): RelayItem => ({ kind: ItemKind.LOG, value: create(LogSchema, { entry }) })
const logState = (n: number, gap = false): RelayItem => ({
  kind: ItemKind.LOG_STATE,
  value: create(LogStateSchema, { epoch: 1, n, gap }),
})
const safe = (n: number): RelayItem => ({ kind: ItemKind.SAFE, value: create(SafeSchema, { epoch: 1, n }) })
const submissions = (pair: Pair, by: Side, ...ks: number[]): RelayItem => ({
  kind: ItemKind.SUBMISSIONS,
  value: create(SubmissionsSchema, { author: streamKeyOf(by), items: ks.map((k) => submissionOf(pair, k)) }),
})
const state = (by: Side, value: object): RelayItem => ({
  kind: ItemKind.SUBMISSION_STATE,
  value: create(SubmissionStateSchema, { author: streamKeyOf(by), ...value } as never),
})
const stale = { case: 'stale' as const, value: create(StaleManifestsSchema, { code: 'stale_manifest' }) }
const registers = (kind: typeof ItemKind.REGISTERS | typeof ItemKind.REGISTERS_STATE, items: object[]): RelayItem => ({
  kind,
  value: create(RegistersSchema, { items: items.map((i) => ({ ...i, conv: 0 })) as never }),
})

test('a home: submissions go to the host at once; what is held, refused, stopped or acknowledged waits', async () => {
  const { bench, pair, mine, theirs, device } = await sceneOf(false)
  bench.hold()
  device.frame({
    submissions: [submit(pair, 1), submit(pair, 2), submit(pair, 9), submit(pair, 1, { tag: tagOf(99) })],
  })
  await bench.pass(1_000)
  assert.deepEqual(takeLines(bench), ['intro', 'submission k1', 'submission k2'])
  bench.hear(theirs.region, pair.id, state(mine, { last: 0, k: 2, verdict: stale }))
  device.frame({ registers: [readMark(mine.member, 1)] as never })
  await bench.pass(1_000)
  assert.deepEqual(takeLines(bench), [])
  device.frame({ submissions: [3, 4, 5, 6, 7].map((k) => submit(pair, k)) })
  await bench.pass(1_000)
  assert.deepEqual(takeLines(bench), [], 'behind a stop nothing goes, and no room is said after the commit as well')

  bench.release()
  await bench.settle()
  const late = takeLines(bench)
  const verdicts = late.filter((line) => !line.startsWith('sends'))
  assert.deepEqual(verdicts, ['behind k3', 'final k1', 'stale k2', 'wait k7'])
  assert.deepEqual(
    late.filter((line) => line.startsWith('sends')),
    [`sends register 2 of ${mine.member}: 1`],
  )
  await bench.pass(1_000)
  assert.deepEqual(
    takeLines(bench).filter((line) => line.startsWith('held')),
    ['held k1', 'held k3', 'held k4', 'held k5', 'held k6'],
  )
})

test('a host: nothing about a number leaves before its commit, neither here nor to the other region', async () => {
  const { bench, pair, theirs, device } = await sceneOf(true)
  bench.hold()
  device.frame({ submissions: [submit(pair, 1), submit(pair, 2), submit(pair, 1), submit(pair, 7)] })
  bench.hear(theirs.region, pair.id, intro(pair), submissions(pair, theirs, 1, 2))
  bench.hear(theirs.region, pair.id, submissions(pair, theirs, 2, 4))
  await bench.pass(1_000)
  device.frame({ cursors: [cursor(1, true)], pulls: [pull(1)] })
  bench.session({ ...theirs, region: bench.here })
  await bench.pass(1_000)
  bench.relay.linkDown(theirs.region)
  bench.linkUp(theirs.region)
  await bench.pass(1_000)
  assert.deepEqual(takeLines(bench), ['name'])

  bench.release()
  await bench.settle()
  const late = takeLines(bench)
  const starting = (...what: string[]): string[] => late.filter((line) => what.some((w) => line.startsWith(w)))
  assert.deepEqual(starting('sequenced'), ['sequenced k1 at 1', 'sequenced k2 at 2', 'sequenced k1 at 1'])
  assert.deepEqual(starting('behind k'), ['behind k3'])
  assert.deepEqual(starting('push', 'behind 1', 'page'), ['push 1,2,3,4 of 4', 'behind 1 of 4', 'page 2,3,4 of 4'])
  assert.deepEqual(starting('entry'), ['entry 1', 'entry 2', 'entry 3', 'entry 4'])
  assert.deepEqual(starting('state'), ['state 2', 'state 2 behind'])
})

test('a replica: entries and what they say of its own go out at once, acknowledgements and read marks wait', async () => {
  const { bench, pair, mine, theirs, device } = await sceneOf(false)
  bench.hold()
  device.frame({ submissions: [submit(pair, 1), submit(pair, 2)] })
  bench.hear(theirs.region, pair.id, intro(pair), log(entryOf(mine, 1, at(1)), entryOf(theirs, 1, at(2))))
  await bench.settle()
  assert.deepEqual(takeLines(bench), [
    'intro',
    'submission k1',
    'submission k2',
    'name',
    'sequenced k1 at 1',
    'push 1,2 of 2',
  ])
  device.frame({ cursors: [cursor(2)] })
  bench.hear(theirs.region, pair.id, safe(2), registers(ItemKind.REGISTERS, [readMark(theirs.member, 1)]))
  await bench.pass(1_000)
  assert.deepEqual(takeLines(bench), [], 'a read mark of somebody else waits too')
  const delivered = {
    kind: REGISTER_DELIVERED,
    member: theirs.member,
    device: 0,
    version: BigInt(at(2)),
    body: new Uint8Array(0),
  }
  bench.hear(theirs.region, pair.id, registers(ItemKind.REGISTERS, [delivered]))
  await bench.settle()
  assert.deepEqual(takeLines(bench), [`register 1 of ${theirs.member}: 2`])

  bench.release()
  await bench.settle()
  const late = takeLines(bench)
  assert.ok(late.includes('have 2'))
  const said = late.filter((line) => !line.startsWith('have'))
  assert.deepEqual(said.sort(), [
    `has register 1 of ${theirs.member}: 2`,
    `has register 2 of ${theirs.member}: 1`,
    `register 2 of ${theirs.member}: 1`,
    `sends register 1 of ${mine.member}: 2`,
  ])
})

// --- whatever happens while no commit resolves

/** Why an output may not have left, or undefined: judged by what was committed when commits stopped resolving. */
function offence(line: string, hosting: boolean, was: Conversation): string | undefined {
  const numbers = [...line.matchAll(/\d+/g)].map(Number)
  const last = numbers[numbers.length - 1]!
  const head = was.head % 2 ** 32
  const ok = ((): boolean => {
    if (line === 'name' || line === 'intro') return true
    if (/^(submission|push|page|sequenced|behind \d)/.test(line) && !hosting) return true
    if (/^(sends )?register 1/.test(line)) return true
    if (/register 2/.test(line)) return last <= versionOf(was, numbers[1]!) % 2 ** 32
    if (/^(push|page|behind \d|entry|have|safe up to|sequenced)/.test(line)) return last <= head
    const authors = [...was.authors.values()]
    if (/^(safe k|held)/.test(line)) return authors.some((a) => a.last >= last || a.run.some((h) => h.k >= last))
    return false
  })()
  return ok ? undefined : line
}

function versionOf(was: Conversation, member: number): number {
  return was.registers.get(registerName({ kind: REGISTER_READ, member, device: 1 }))?.version ?? 0
}

for (const hosting of [true, false]) {
  test(`whatever a ${hosting ? 'host' : 'home and replica'} hears while no commit resolves, nothing else leaves`, async () => {
    for (let seed = 1; seed <= 25; seed++) await randomScene(seed, hosting)
  })
}

/** Everything that may be heard, with numbers that are right, nearly right and wrong. */
function movesOf(
  { bench, pair, mine, theirs, device }: Scene,
  hosting: boolean,
  below: (n: number) => number,
): (() => void)[] {
  const s = { k: 0, theirK: 0, n: 0, numbered: 0, sessions: 1, own: device }
  const hear = (...items: RelayItem[]): void => bench.hear(theirs.region, pair.id, ...items)
  const entry = (): void => {
    const by = s.k > 0 && below(2) === 0 ? mine : theirs
    const placed = by === mine ? ++s.numbered : ++s.theirK
    if (by === mine && s.numbered > s.k) s.numbered--
    else hear(log(entryOf(by, placed, at(++s.n))))
  }
  return [
    () => s.own.frame({ submissions: [submit(pair, ++s.k)] }),
    () => s.own.frame({ submissions: [submit(pair, 1 + below(s.k + 3), { rev: below(3), tag: tagOf(1 + below(9)) })] }),
    () =>
      s.own.frame({
        submissions: [submit(pair, 1 + below(s.k + 1), { kind: KIND_SKIP, rev: 1 + below(3), tag: tagOf(100) })],
      }),
    () => s.own.frame({ cursors: [cursor(below(8))] }),
    () => s.own.frame({ cursors: [cursor(below(4), true)] }),
    () => s.own.frame({ pulls: [pull(below(4))] }),
    () => s.own.frame({ registers: [readMark(mine.member, 1 + below(8))] as never }),
    () => {
      s.own = bench.session(mine, `again ${++s.sessions}`)
      s.own.frame({ names: [nameOf(pair)] })
    },
    () => {
      bench.relay.linkDown(theirs.region)
      bench.linkUp(theirs.region)
      hear(intro(pair))
    },
    () => hear(registers(ItemKind.REGISTERS, [readMark(theirs.member, 1 + below(8))])),
    () => hear(registers(ItemKind.REGISTERS_STATE, [readMark(mine.member, 1 + below(8))])),
    ...(hosting
      ? [
          () => hear(submissions(pair, theirs, ++s.theirK)),
          () => hear(submissions(pair, theirs, 1 + below(s.theirK + 4))),
          () => hear(logState(below(4), below(2) === 0)),
        ]
      : [
          entry,
          entry,
          () => hear(safe(1 + below(6))),
          () =>
            hear(
              state(mine, {
                last: below(4),
                k: 1 + below(s.k + 2),
                rev: below(2),
                verdict: [stale, { case: 'behind', value: {} }, { case: undefined }][below(3)],
              }),
            ),
        ]),
  ]
}

async function randomScene(seed: number, hosting: boolean): Promise<void> {
  const random = simulatedRandom(seed)
  const below = (n: number): number => Math.floor(random.fraction() * n)
  const scene = await sceneOf(hosting)
  const { bench, pair, theirs } = scene
  const told: string[] = []
  const step = movesOf(scene, hosting, below)
  const hear = (...items: RelayItem[]): void => bench.hear(theirs.region, pair.id, ...items)
  hear(intro(pair))
  for (let i = below(12); i > 0; i--) {
    step[below(step.length)]!()
    await bench.pass(below(3) * 300)
  }
  await bench.settle()
  const loading = loadConversation(bench.store, pair.id, bench.here)
  await bench.settle()
  // One that was only named is not worth a row.
  const was = (await loading) ?? newConversation(foundingOfPair(pair), bench.here, 1)
  bench.out.length = 0
  bench.hold()
  const isQuiet = (): boolean => bench.store.gate() <= bench.store.committed()
  const judge = (quiet: boolean, what: string): void => {
    for (const line of takeLines(bench)) {
      told.push(line)
      const bad = quiet && isQuiet() ? undefined : offence(line, hosting, was)
      assert.equal(bad, undefined, `seed ${seed}: left before its commit after ${what}; ${told.slice(-12).join(' | ')}`)
    }
  }
  for (let i = 25; i > 0; i--) {
    const at = below(step.length)
    const quiet = isQuiet()
    step[at]!()
    await bench.settle()
    judge(quiet, `step ${at}`)
    const stillQuiet = isQuiet()
    await bench.pass(below(3) * 300)
    judge(stillQuiet, `a tick`)
  }
  bench.release()
  await bench.settle()
  assert.equal(bench.store.committed(), bench.store.gate())
}
