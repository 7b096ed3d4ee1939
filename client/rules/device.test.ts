import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import {
  directConvId,
  EmptySchema,
  NOWHERE,
  type Position,
  positionOf,
  RefusalSchema,
  StaleManifestsSchema,
} from '#protocol'
import { all } from '../rules.ts'
import { bodyText, content, messagesOf, World } from '../testing/world.ts'

const texts = (actor: Parameters<typeof messagesOf>[0]): string[] => messagesOf(actor).map(bodyText)

async function pair(seed = 1) {
  const world = new World(seed)
  const ana = await world.add()
  const ben = await world.add()
  world.connect(ana)
  world.connect(ben)
  await world.run()
  return { world, ana, ben, conv: directConvId(ana.id, ben.id) }
}

const states = (actor: Parameters<typeof messagesOf>[0], k: number): string[] =>
  actor.events.flatMap((event) => (event.type === 'state' && event.k === k ? [event.state] : []))

test('two people talk, both directions, in order; marks come back', async () => {
  const { world, ana, ben, conv } = await pair()
  for (let i = 1; i <= 50; i++) void ana.device.send(ben.id, content(`a${i}`), undefined)
  await world.run()
  for (let i = 1; i <= 50; i++) void ben.device.send(ana.id, content(`b${i}`), undefined)
  await world.run()
  assert.deepEqual(
    texts(ben),
    Array.from({ length: 50 }, (_, i) => `a${i + 1}`),
  )
  assert.deepEqual(
    texts(ana),
    Array.from({ length: 50 }, (_, i) => `b${i + 1}`),
  )
  assert.deepEqual(states(ana, 50), ['sequenced'])
  await ben.device.markRead(conv, positionOf(1, 50))
  await world.run()
  const last = (type: string) => ana.events.findLast((event) => event.type === type) as { upTo?: number } | undefined
  assert.equal(last('delivered')?.upTo, positionOf(1, 100))
  assert.equal(last('read')?.upTo, positionOf(1, 50))
  assert.deepEqual(
    all(ana.db, 'entries', conv).map(({ header }) => Buffer.from(header).toString('hex')),
    all(ben.db, 'entries', conv).map(({ header }) => Buffer.from(header).toString('hex')),
  )
  assert.equal(all(ana.db, 'outbox').length + all(ana.db, 'sealed').length, 0, 'what is safe is dropped')
  assert.equal(world.home.bundles, 2, 'one session each way')
})

test('that a device has its own entries rides on its next frame; alone it goes a second later, or when the device stops', async () => {
  const { world, ana, ben, conv } = await pair()
  const cursors = () =>
    world.home.frames.filter(({ from, frame }) => from === ana.id && frame.cursors.length > 0).map(({ frame }) => frame)
  const said = (): number => world.home.frames.filter(({ from }) => from === ana.id).length
  const sent = async (text: string): Promise<void> => {
    await ana.device.send(ben.id, content(text), undefined)
    const at = (): Position => all(ana.db, 'messages', conv).find((row) => bodyText(row) === text)!.at
    while (at() === NOWHERE || ana.db.get('conversations', [conv])!.cursor < at()) await world.steps(1)
  }
  await sent('1')
  const before = said()
  assert.equal(cursors().length, 0, 'no frame of its own')
  await sent('2')
  assert.equal(said(), before + 1)
  assert.equal(cursors().length, 1, 'it rides on the next submission')
  await world.run()
  assert.equal(cursors().length, 2)
  assert.equal(cursors().at(-1)!.cursors[0]!.n, 2)
  const session = [...world.home.sessions.values()].find(({ user }) => user === ana.id)!
  const { deliver } = session
  const frames: Parameters<typeof deliver>[0][] = []
  Object.assign(session, { deliver: (frame: (typeof frames)[number]) => void frames.push(frame) })
  void ana.device.send(ben.id, content('a'), undefined)
  void ben.device.send(ana.id, content('b'), undefined)
  await world.run()
  Object.assign(session, { deliver })
  for (const frame of frames) ana.device.receive(ana.session!, frame)
  await world.run()
  assert.deepEqual(texts(ana), ['b'])
  for (const frame of cursors()) assert.equal(frame.cursors.length, 1, 'heard and followed in one turn')
  const { length } = cursors()
  await sent('3')
  assert.equal(cursors().length, length)
  await ana.device.stop()
  await world.run()
  assert.equal(cursors().length, length + 1, 'the last word of a session')
})

test('what is written offline waits, and goes when there is a home again', async () => {
  const { world, ana, ben } = await pair()
  world.disconnect(ana)
  await ana.device.send(ben.id, content('one'), undefined)
  await ana.device.send(ben.id, content('two'), { name: 'job', line: 2 })
  await world.run()
  assert.deepEqual(texts(ben), [])
  assert.deepEqual(
    { ...ana.db.get('jobs', ['job']) },
    { name: 'job', line: 2, conv: directConvId(ana.id, ben.id), k: 2 },
  )
  world.restart(ana)
  await world.run()
  assert.deepEqual(texts(ben), ['one', 'two'])
})

test('behind: the same bytes again, once', async () => {
  const { world, ana, ben } = await pair()
  let drop = true
  world.home.script = (submission) => (drop && submission.k <= 3 ? 'silence' : undefined)
  for (let i = 1; i <= 10; i++) void ana.device.send(ben.id, content(`${i}`), undefined)
  await ana.device.settled()
  world.clock.after(1, () => {
    drop = false
  })
  await world.run()
  assert.deepEqual(
    texts(ben),
    Array.from({ length: 10 }, (_, i) => `${i + 1}`),
  )
  const sent = world.home.submissions.filter(({ submission }) => submission.k === 1)
  assert.ok(sent.length >= 2)
  for (const { submission } of sent) assert.deepEqual(submission.parts, sent[0]!.submission.parts)
  assert.ok(world.home.submissions.length <= 20, `${world.home.submissions.length} for 10 messages`)
})

test('stale: this and all later ones are encrypted again with a higher rev, nobody notices', async () => {
  const { world, ana, ben } = await pair()
  world.home.script = (submission) =>
    submission.k >= 3 && submission.rev === 0
      ? submission.k === 3
        ? { case: 'stale', value: create(StaleManifestsSchema, { code: 'stale_manifest' }) }
        : 'silence'
      : undefined
  for (let i = 1; i <= 6; i++) void ana.device.send(ben.id, content(`${i}`), undefined)
  await world.run()
  assert.deepEqual(texts(ben), ['1', '2', '3', '4', '5', '6'])
  assert.deepEqual(
    [3, 4, 5, 6].map((k) => world.home.submissions.findLast(({ submission }) => submission.k === k)?.submission.rev),
    [1, 1, 1, 1],
  )
})

test('final: the content fails, a skip takes its place, later ones go on', async () => {
  const { world, ana, ben } = await pair()
  world.home.script = (submission) =>
    submission.k === 2 && submission.kind !== 2
      ? { case: 'final', value: create(RefusalSchema, { code: 'blocked' }) }
      : undefined
  for (let i = 1; i <= 4; i++) void ana.device.send(ben.id, content(`${i}`), undefined)
  await world.run()
  assert.deepEqual(texts(ben), ['1', '3', '4'])
  assert.deepEqual(states(ana, 2), ['failed'])
  assert.deepEqual(states(ana, 4), ['sequenced'])
})

test('cancel: before it has a number it is skipped; if it was sent after all it is shown so', async () => {
  const { world, ana, ben, conv } = await pair()
  world.home.script = (submission) => (submission.kind !== 2 ? { case: 'held', value: create(EmptySchema) } : undefined)
  await ana.device.send(ben.id, content('never mind'), undefined)
  await world.run()
  assert.deepEqual(states(ana, 1), ['held'])
  assert.equal(await ana.device.cancel(conv, 1), true)
  await world.run()
  assert.deepEqual(states(ana, 1), ['held', 'cancelled'])
  world.home.script = () => undefined
  const { k } = await ana.device.send(ben.id, content('too late'), undefined)
  await ana.device.cancel(conv, k)
  await world.run()
  assert.deepEqual(states(ana, k), ['sequenced'])
  assert.deepEqual(texts(ben), ['too late'])
  assert.equal(await ana.device.cancel(conv, k), false)
})

test('wait: nothing changes, and it goes again later', async () => {
  const { world, ana, ben } = await pair()
  let waits = 2
  world.home.script = () =>
    waits-- > 0 ? { case: 'wait', value: create(RefusalSchema, { code: 'no_room', retryAfterMs: 3_000 }) } : undefined
  const before = world.clock.now()
  void ana.device.send(ben.id, content('patience'), undefined)
  await world.run()
  assert.deepEqual(texts(ben), ['patience'])
  assert.ok(world.clock.now() - before >= 6_000)
})

test('what cannot be read is shown as such, asked for again, and appears; the cursor never waits', async () => {
  const { world, ana, ben, conv } = await pair()
  void ana.device.send(ben.id, content('fine'), undefined)
  await world.run()
  const log = world.home.logs.get(conv)!
  const push = log.entries.push.bind(log.entries)
  let spoil = true
  log.entries.push = (...entries) => {
    const spoilt = entries.map((entry) => (spoil ? spoilLastByte(entry) : entry))
    return push(...spoilt)
  }
  world.disconnect(ben)
  void ana.device.send(ben.id, content('spoilt'), undefined)
  await world.run()
  spoil = false
  void ana.device.send(ben.id, content('after'), undefined)
  await world.run()
  world.connect(ben)
  await world.run()
  const seen = messagesOf(ben).map((message) => `${message.kind}:${bodyText(message)}`)
  assert.deepEqual(seen, ['text:fine', 'unreadable:', 'text:after', 'text:spoilt'])
  assert.equal(
    ben.events.some((event) => event.type === 'message' && event.late),
    true,
  )
  assert.equal(all(ben.db, 'unread').length, 0)
  assert.equal(all(ben.db, 'conversations')[0]!.asked, 0)
  const place = messagesOf(ben).at(-1)!.at
  assert.equal(place, positionOf(1, 2), 'it appears where it stood')
})

function spoilLastByte(entry: Uint8Array): Uint8Array {
  const out = entry.slice()
  out[out.length - 1]! ^= 0xff
  return out
}

test('a gap in what is pushed is answered with the own cursor and healed', async () => {
  const { world, ana, ben, conv } = await pair()
  void ana.device.send(ben.id, content('1'), undefined)
  await world.run()
  const session = [...world.home.sessions.values()].find(({ user }) => user === ben.id)!
  const { deliver } = session
  let lose = 1
  Object.assign(session, {
    deliver: (frame: Parameters<typeof deliver>[0]) => {
      if (frame.entries.length > 0 && lose-- > 0) return
      deliver(frame)
    },
  })
  for (const text of ['2', '3', '4']) {
    void ana.device.send(ben.id, content(text), undefined)
    await world.run()
  }
  assert.deepEqual(texts(ben), ['1', '2', '3', '4'])
  assert.ok(world.home.frames.some(({ from, frame }) => from === ben.id && frame.cursors.some(({ rewind }) => rewind)))
  assert.equal(all(ben.db, 'conversations')[0]!.cursor, positionOf(1, 4))
  assert.equal(conv, all(ben.db, 'conversations')[0]!.conv)
})

test('an old copy of a profile notices its own later k and stops', async () => {
  const { world, ana, ben } = await pair()
  void ana.device.send(ben.id, content('1'), undefined)
  await world.run()
  const copy = structuredClone({ outbox: all(ana.db, 'outbox'), conversations: all(ana.db, 'conversations') })
  void ana.device.send(ben.id, content('2'), undefined)
  await world.run()
  world.disconnect(ana)
  ana.db.transaction((tx) => {
    for (const row of copy.conversations) tx.put('conversations', row)
    for (const { conv, k } of all(ana.db, 'messages')) if (k === 2) tx.delete('messages', [conv, `${k}`, k])
    tx.delete('messages', [copy.conversations[0]!.conv, all(ana.db, 'messages').find(({ k }) => k === 2)!.author, 2])
  })
  world.home.cursors.clear()
  world.restart(ana)
  await world.run()
  assert.ok(ana.events.some((event) => event.type === 'old-copy'))
  await assert.rejects(ana.device.send(ben.id, content('3'), undefined), { code: 'old_profile' })
})

test('a host that puts another content under a k is found out, and everything else goes on', async () => {
  const { world, ana, ben, conv } = await pair()
  world.home.script = (submission) =>
    submission.k === 2 ? { case: 'sequenced', value: { epoch: 1, n: 9 } as never } : undefined
  void ana.device.send(ben.id, content('1'), undefined)
  await world.run()
  const { home } = world
  const verdict = home.script
  home.script = (submission, author) => {
    const outcome = verdict(submission, author)
    if (outcome && outcome !== 'silence') submission.tag = new Uint8Array(8).fill(7)
    return outcome
  }
  void ana.device.send(ben.id, content('2'), undefined)
  await world.run()
  assert.ok(ana.events.some((event) => event.type === 'host-lies' && event.conv === conv))
  assert.deepEqual(states(ana, 2), [])
  assert.equal(all(ana.db, 'outbox')[0]?.at, NOWHERE)
})

test('ten thousand ahead: at most AHEAD_MAX are encrypted, all arrive', async () => {
  const { world, ana, ben } = await pair()
  world.home.script = () => 'silence'
  for (let i = 1; i <= 2_000; i++) void ana.device.send(ben.id, content(`${i}`), undefined)
  await world.run()
  assert.equal(all(ana.db, 'sealed').length, 1_024)
  assert.equal(
    new Set(world.home.submissions.map(({ submission }) => submission.k)).size,
    256,
    'in flight without an answer',
  )
  world.home.script = () => undefined
  world.restart(ana)
  await world.run()
  assert.equal(texts(ben).length, 2_000)
  assert.equal(texts(ben).at(-1), '2000')
})
