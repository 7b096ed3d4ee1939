// Killing a device between any two operations of its database: no k ever gets two contents, no ratchet step two messages,
// nothing that was accepted is lost, nothing is shown twice.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import {
  type ConvId,
  directConvId,
  EmptySchema,
  KIND_SKIP,
  nOf,
  RefusalSchema,
  readHeader,
  StaleManifestsSchema,
  simulatedRandom,
} from '#protocol'
import { all } from '../rules.ts'
import { stepOf } from '../testing/stand-in-cipher.ts'
import { type Actor, bodyText, content, World } from '../testing/world.ts'
import { authorText } from './conversation.ts'

type Hook = { beforeOperation: (operation: string) => void; count: number; crashAt: (count: number) => boolean }

function hook(crashAt: (count: number) => boolean): Hook {
  const self: Hook = {
    count: 0,
    crashAt,
    beforeOperation() {
      if (self.crashAt(++self.count)) throw new Error('crash')
    },
  }
  return self
}

function checkSubmissions(world: World): void {
  const forms = new Map<string, string>()
  const contents = new Map<string, string>()
  const steps = new Map<string, string>()
  const once = (map: Map<string, string>, key: string, value: string, what: string): void => {
    assert.equal(map.get(key) ?? value, value, `${what}: ${key}`)
    map.set(key, value)
  }
  for (const { author, submission } of world.home.submissions) {
    const { k, rev, kind, tag, parts } = submission
    const form = `${author} k ${k} rev ${rev}`
    const bytes = Buffer.concat(parts.map(({ body }) => body)).toString('hex')
    once(forms, form, `${kind} ${bytes}`, 'the same form has the same bytes')
    once(
      contents,
      `${author} k ${k} kind ${kind === KIND_SKIP}`,
      Buffer.from(tag).toString('hex'),
      'one tag for one content',
    )
    for (const { body } of parts) {
      const { step, content: says } = stepOf(body)
      once(steps, step, `${form} ${says}`, 'one ratchet step, one message')
      const { body: said } = JSON.parse(says) as { body: unknown }
      once(contents, `${author} k ${k} says`, JSON.stringify(said), 'one k, one content')
    }
  }
}

/** What a device's database shows of an author, in order of the log. */
function shown(world: World, reader: Actor, author: Actor, conv: ConvId): string[] {
  const member = world.home.logs.get(conv)!.members.indexOf(author.id)
  return all(reader.db, 'messages', conv)
    .filter((row) => row.author === authorText(member, author.key) && row.kind === 'text')
    .sort((a, b) => a.at - b.at)
    .map((row) => `${nOf(row.at)} ${row.k} ${bodyText(row)}`)
}

function numberedIn(world: World, author: Actor, conv: ConvId): Map<number, { n: number; skip: boolean }> {
  const out = new Map<number, { n: number; skip: boolean }>()
  for (const entry of world.home.logs.get(conv)?.entries ?? []) {
    const header = readHeader(entry)
    const log = world.home.logs.get(conv)!
    if (log.members[header.member] !== author.id) continue
    assert.equal(out.has(header.k), false, `k ${header.k} has two numbers`)
    out.set(header.k, { n: nOf(header.at), skip: header.kind === KIND_SKIP })
  }
  return out
}

async function scenario(world: World, ana: Actor, ben: Actor, count: number): Promise<Map<number, string>> {
  const accepted = new Map<number, string>()
  const say = (text: string): void => {
    ana.device.send(ben.id, content(text), undefined).then(
      ({ k }) => accepted.set(k, text),
      () => undefined,
    )
  }
  world.connect(ben)
  say('first, before there is a home')
  await world.settle()
  world.connect(ana)
  for (let i = 1; i <= count; i++) {
    say(`line ${i}`)
    if (i % 3 === 0) await world.steps(Math.floor(world.random.fraction() * 20))
    if (i === 4) void ana.device.cancel(directConvId(ana.id, ben.id), 4).catch(() => undefined)
  }
  await world.run()
  say('and a last one')
  await world.run()
  return accepted
}

function check(world: World, ana: Actor, ben: Actor, accepted: ReadonlyMap<number, string>): void {
  const conv = directConvId(ana.id, ben.id)
  checkSubmissions(world)
  const numbered = numberedIn(world, ana, conv)
  const lines = shown(world, ben, ana, conv)
  const own = shown(world, ana, ana, conv)
  const ks = [...numbered.keys()]
  assert.deepEqual(
    ks,
    Array.from({ length: ks.length }, (_, i) => i + 1),
    'k are dense',
  )
  const sent = [...numbered].filter(([, { skip }]) => !skip)
  assert.deepEqual(
    lines.map((line) => Number(line.split(' ')[1])),
    sent.map(([k]) => k),
    'every content once, in order',
  )
  for (const [k, text] of accepted) {
    assert.ok(numbered.has(k), `k ${k} was accepted and has no number`)
    if (!numbered.get(k)!.skip) assert.ok(lines.includes(`${numbered.get(k)!.n} ${k} ${text}`), `${k} ${text}`)
  }
  const ownNumbered = own.filter((line) => numbered.get(Number(line.split(' ')[1]))?.skip === false)
  assert.deepEqual(ownNumbered, lines, 'both sides show the same')
  assert.equal(all(ana.db, 'outbox').length, 0, 'the outbox is drained')
}

test('killed once, at each operation in turn', async () => {
  let crashAt = 1
  for (let crashed = true; crashed; crashAt += 1 + Math.floor(crashAt / 40)) {
    const world = new World(crashAt)
    const killer = hook((count) => count === crashAt)
    const ana = await world.add(killer.beforeOperation)
    const ben = await world.add()
    const accepted = await scenario(world, ana, ben, 5)
    killer.crashAt = () => false
    try {
      check(world, ana, ben, accepted)
    } catch (error) {
      throw new Error(`killed at operation ${crashAt}`, { cause: error })
    }
    crashed = ana.crashes > 0
  }
  assert.ok(crashAt > 100, `only ${crashAt} operations`)
})

test('both killed at random, with a home that drops, delays, refuses and forgets to answer', async () => {
  const first = Number(process.env.SEED ?? 1)
  const last = process.env.SEED ? first : Number(process.env.SEEDS ?? 25)
  let crashes = 0
  for (let seed = first; seed <= last; seed++) {
    const world = new World(seed)
    const chance = simulatedRandom(seed * 7_919)
    let calm = false
    const killer = (): Hook => hook(() => !calm && chance.fraction() < 0.01)
    const ana = await world.add(killer().beforeOperation)
    const ben = await world.add(killer().beforeOperation)
    world.home.delayMs = () => Math.floor(chance.fraction() * 30)
    world.home.script = (submission) => {
      const dice = calm ? 1 : chance.fraction()
      if (dice < 0.1) return 'silence'
      if (dice < 0.2) return { case: 'held', value: create(EmptySchema) }
      if (dice < 0.25) return { case: 'wait', value: create(RefusalSchema, { code: 'no_room' }) }
      if (dice < 0.3 && submission.kind !== KIND_SKIP) {
        return { case: 'stale', value: create(StaleManifestsSchema, { code: 'stale_manifest' }) }
      }
      if (dice < 0.32 && submission.kind !== KIND_SKIP)
        return { case: 'final', value: create(RefusalSchema, { code: 'blocked' }) }
      return undefined
    }
    const accepted = await scenario(world, ana, ben, 30)
    calm = true
    world.restart(ana)
    world.restart(ben)
    await world.run()
    crashes += ana.crashes + ben.crashes
    try {
      check(world, ana, ben, accepted)
    } catch (error) {
      throw new Error(`SEED=${seed} `, { cause: error })
    }
  }
  if (first !== last) assert.ok(crashes > 40, `only ${crashes} crashes`)
})
