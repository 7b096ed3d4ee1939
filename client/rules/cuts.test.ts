import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create } from '@bufbuild/protobuf'
import { succeedManifest } from '#crypto'
import {
  type ConvId,
  type Cut,
  chainHash,
  convIdBytes,
  directConvId,
  epochOf,
  hashBefore,
  hostRegisterPayload,
  NOWHERE,
  openClosed,
  openHostRegister,
  type Position,
  positionOf,
  type RegionSigner,
  readHeader,
  type SignedRecord,
  StaleManifestsSchema,
  signClosed,
  signHostRegister,
} from '#protocol'
import { all, type DeviceEvent } from '../rules.ts'
import type { Person } from '../testing/scripted-home.ts'
import { testRegion } from '../testing/test-region.ts'
import { type Actor, bodyText, content, messagesOf, World } from '../testing/world.ts'
import { readRun } from './reader.ts'

type Scene = { world: World; ana: Actor; ben: Actor; conv: ConvId; first: Person }

/** Nothing becomes safe, so that everything can be cut off. */
async function scene(seed = 1): Promise<Scene> {
  const world = new World(seed)
  world.home.safe = false
  const ana = await world.add()
  const ben = await world.add()
  world.connect(ana)
  world.connect(ben)
  await world.run()
  const conv = directConvId(ana.id, ben.id)
  return { world, ana, ben, conv, first: ana.id < ben.id ? ana.person : ben.person }
}

async function talk({ world, ana, ben }: Scene, from: number, to: number): Promise<void> {
  for (let i = from; i <= to; i++) {
    void ana.device.send(ben.id, content(`a${i}`), undefined)
    void ben.device.send(ana.id, content(`b${i}`), undefined)
    await world.run()
  }
}

function hashAt({ world, conv }: Scene, at: Position): Uint8Array {
  const { entries, cuts } = world.home.logs.get(conv)!
  let hash = convIdBytes(conv)
  let head: Position = NOWHERE
  for (const entry of entries) {
    if (readHeader(entry).at > at) break
    hash = chainHash(hashBefore(head, hash, cuts), entry)
    head = readHeader(entry).at
  }
  return hash
}

/** The person whose home record decides moves to a new region, which cuts the log at that place. */
function registerOf(
  scene: Scene,
  epoch: number,
  cut: Position,
  by: RegionSigner = testRegion(scene.world.random),
): SignedRecord {
  const { world, conv, ana, ben } = scene
  const person = [ana, ben].map((actor) => actor.person).find((p) => p.manifest.userId === membersOf(scene)[0])!
  let manifest = person.manifest
  let head: SignedRecord | undefined
  while (manifest.homeGeneration < epoch) {
    const last = manifest.homeGeneration + 1 === epoch
    const home = { homeRegion: last ? by.regionId : testRegion(world.random).regionId, fallbackRegions: [] }
    const next = succeedManifest(person.account.account, manifest, { devices: undefined, home })
    head = next.head
    manifest = { ...manifest, ...home, homeGeneration: manifest.homeGeneration + 1, version: manifest.version + 1 }
  }
  const closed = openClosed(
    signClosed({ convId: conv, beforeEpoch: epoch, at: cut, hash: hashAt(scene, cut) }, by, world.clock.now()),
    world.clock.now(),
  )
  const init = { convId: conv, epoch, closed: [closed], homeHead: head! }
  return signHostRegister(hostRegisterPayload(init, by, world.clock.now()), by)
}

const membersOf = ({ world, conv }: Scene) => world.home.logs.get(conv)!.members

async function again({ world, ana, ben }: Scene): Promise<void> {
  for (const actor of [ana, ben]) {
    world.disconnect(actor)
    world.connect(actor)
  }
  await world.run()
}

const eventsOf = <T extends DeviceEvent['type']>(actor: Actor, type: T) =>
  actor.events.filter((event): event is DeviceEvent & { type: T } => event.type === type)

const headers = (actor: Actor, conv: ConvId): string[] =>
  all(actor.db, 'entries', conv).map(({ header }) => Buffer.from(header).toString('hex'))

/** Both have the log of the home, show everything of it once, and hold nothing else. */
function assertWhole(scene: Scene): void {
  const { world, ana, ben, conv } = scene
  const log = world.home.logs.get(conv)!.entries.map((entry) => Buffer.from(entry.subarray(0, 47)).toString('hex'))
  for (const actor of [ana, ben]) {
    assert.deepEqual(headers(actor, conv), log)
    for (const row of all(actor.db, 'messages', conv)) {
      assert.ok(row.status === 'sequenced' || row.status === 'cancelled', `${row.author} ${row.k} is ${row.status}`)
      const entry = actor.db.get('entries', [conv, row.at])
      assert.equal(entry && readHeader(entry.header).k, row.k, 'a message stands where its entry stands')
    }
    const ids = messagesOf(actor).map((message) => `${message.from} ${message.k}`)
    assert.equal(new Set(ids).size, ids.length, 'shown once')
    assert.deepEqual(eventsOf(actor, 'host-lies'), [])
    const cursor = actor.db.get('conversations', [conv])!
    assert.deepEqual(cursor.hash, hashAt(scene, cursor.cursor))
  }
}

test('what a cut takes away comes again under the same k, and is shown as unconfirmed until then', async () => {
  const talked = await scene()
  const { world, ana, ben, conv } = talked
  await talk(talked, 1, 5)
  world.home.script = () => 'silence'
  world.home.move(conv, registerOf(talked, 2, positionOf(1, 6)))
  await again(talked)
  const [moved] = eventsOf(ben, 'host-moved')
  assert.equal(moved?.unconfirmed, 2)
  const lost = all(ben.db, 'messages', conv).filter(({ status }) => status === 'unconfirmed')
  assert.deepEqual(lost.map(bodyText), ['a4', 'a5'])
  assert.equal(ben.db.get('conversations', [conv])?.cursor, positionOf(1, 6))
  world.home.script = () => undefined
  await again(talked)
  assertWhole(talked)
  assert.deepEqual(messagesOf(ben).map(bodyText), ['a1', 'a2', 'a3', 'a4', 'a5'])
  assert.deepEqual(
    eventsOf(ben, 'confirmed').map(({ message }) => bodyText(message)),
    ['a4', 'a5'],
  )
  await talk(talked, 6, 7)
  assertWhole(talked)
  assert.ok(all(ana.db, 'messages', conv).some(({ at }) => epochOf(at) === 2))
})

test('what the cut keeps and is not safe is sent again, with the bytes it had', async () => {
  const talked = await scene()
  const { world, conv, ana } = talked
  await talk(talked, 1, 3)
  world.home.move(conv, registerOf(talked, 2, positionOf(1, 6)))
  const before = world.home.submissions.length
  await again(talked)
  const sent = world.home.submissions.slice(before)
  const author = [...world.home.logs.get(conv)!.last.keys()].find((name) => name.startsWith(ana.id))
  assert.deepEqual(
    sent.filter((s) => s.author === author).map(({ submission }) => submission.k),
    [1, 2, 3],
  )
  for (const { author: by, submission } of sent) {
    const first = world.home.submissions.find((s) => s.author === by && s.submission.k === submission.k)!
    assert.deepEqual(submission, { ...first.submission, conv: submission.conv })
  }
  assertWhole(talked)
})

test('an author who cancels what was cut off: it was never said', async () => {
  const talked = await scene()
  const { world, ana, ben, conv } = talked
  await talk(talked, 1, 3)
  world.home.script = () => 'silence'
  world.home.move(conv, registerOf(talked, 2, positionOf(1, 4)))
  await again(talked)
  assert.equal(await ana.device.cancel(conv, 3), true)
  world.home.script = (submission) => (submission.kind === 2 || submission.k < 3 ? undefined : 'silence')
  await again(talked)
  world.home.script = () => undefined
  await again(talked)
  assertWhole(talked)
  const [gone] = eventsOf(ben, 'confirmed').filter(({ message }) => message.from === ana.id)
  assert.deepEqual([gone?.message.k, gone?.message.status, gone?.message.kind], [3, 'cancelled', 'gone'])
})

test('a content that is encrypted again after the cut is the same to its readers', async () => {
  const talked = await scene()
  const { world, ben, conv } = talked
  await talk(talked, 1, 3)
  world.home.move(conv, registerOf(talked, 2, positionOf(1, 2)))
  world.home.script = (submission) =>
    submission.rev === 0
      ? { case: 'stale', value: create(StaleManifestsSchema, { code: 'stale_manifest' }) }
      : undefined
  await again(talked)
  assertWhole(talked)
  assert.deepEqual(messagesOf(ben).map(bodyText), ['a1', 'a2', 'a3'])
})

test('cut twice, and restarted in between', async () => {
  const talked = await scene()
  const { world, ana, ben, conv } = talked
  await talk(talked, 1, 4)
  world.home.move(conv, registerOf(talked, 2, positionOf(1, 3)))
  world.restart(ana)
  world.restart(ben)
  await world.run()
  assertWhole(talked)
  await talk(talked, 5, 6)
  world.home.move(conv, registerOf(talked, 3, positionOf(2, 2)))
  world.restart(ana)
  await again(talked)
  await talk(talked, 7, 8)
  assertWhole(talked)
  const said = (name: string) => Array.from({ length: 8 }, (_, i) => `${name}${i + 1}`)
  const shown = (actor: Actor, mine: boolean) =>
    all(actor.db, 'messages', conv)
      .filter((row) => row.author.startsWith(`${membersOf(talked).indexOf(actor.id)}.`) === mine)
      .map(bodyText)
      .sort()
  assert.deepEqual(shown(ben, false), said('a'))
  assert.deepEqual(shown(ana, false), said('b'))
})

test('an epoch of which nobody had anything is stepped over', async () => {
  const talked = await scene()
  const { world, conv } = talked
  await talk(talked, 1, 2)
  world.home.script = () => 'silence'
  world.home.move(conv, registerOf(talked, 2, positionOf(1, 4)))
  world.home.move(conv, registerOf(talked, 3, positionOf(1, 4)))
  await again(talked)
  world.home.script = () => undefined
  await again(talked)
  await talk(talked, 3, 4)
  assertWhole(talked)
  assert.equal(readHeader(world.home.logs.get(conv)!.entries.at(-1)!).at, positionOf(3, 4))
})

test('what was safe and is lost all the same is said again out of the history', async () => {
  const talked = await scene()
  const { world, ana, ben, conv } = talked
  world.home.safe = true
  await talk(talked, 1, 3)
  assert.equal(all(ana.db, 'outbox', conv).length, 0)
  world.home.move(conv, registerOf(talked, 2, positionOf(1, 2)))
  await again(talked)
  await talk(talked, 4, 4)
  assert.equal(eventsOf(ana, 'host-lies').length, 2, 'the device says that a promise was broken')
  assert.deepEqual(messagesOf(ben).map(bodyText), ['a1', 'a2', 'a3', 'a4'])
  assert.deepEqual(
    all(ben.db, 'messages', conv).map(({ status }) => status),
    Array.from({ length: 8 }, () => 'sequenced'),
  )
})

test('a host register that does not hold moves nothing', async () => {
  const talked = await scene()
  const { world, ben, conv } = talked
  await talk(talked, 1, 2)
  const good = registerOf(talked, 2, positionOf(1, 3))
  const forged = { ...good, signature: good.signature.slice().fill(1) }
  const log = world.home.logs.get(conv)!
  log.moves.push(forged)
  log.cuts.push(openHostRegister(good, world.clock.now()))
  await again(talked)
  assert.equal(eventsOf(ben, 'host-moved').length, 0)
  assert.match(eventsOf(ben, 'host-lies')[0]!.what, /does not hold/)
  assert.equal(all(ben.db, 'hosts', conv).length, 0)
})

test('one epoch, two hosts: the second is a lie', async () => {
  const talked = await scene()
  const { world, ben, conv } = talked
  await talk(talked, 1, 2)
  world.home.script = () => 'silence'
  world.home.move(conv, registerOf(talked, 2, positionOf(1, 4)))
  world.home.logs.get(conv)!.moves.push(registerOf(talked, 2, positionOf(1, 4)))
  world.home.logs.get(conv)!.cuts.push(world.home.logs.get(conv)!.cuts[0]!)
  await again(talked)
  assert.equal(eventsOf(ben, 'host-moved').length, 1)
  assert.match(eventsOf(ben, 'host-lies')[0]!.what, /two regions/)
})

test('a run goes over the cut and is chained to the register', async () => {
  const talked = await scene()
  const { world, conv } = talked
  await talk(talked, 1, 2)
  const payload = new Uint8Array([1, 2])
  const cuts: Cut[] = [{ epoch: 2, cut: positionOf(1, 2), payload }]
  const { entries } = world.home.logs.get(conv)!
  const next = entries[2]!.slice()
  new DataView(next.buffer).setUint32(2, 2)
  new DataView(next.buffer).setUint32(6, 1)
  const start = { cursor: NOWHERE, hash: convIdBytes(conv) }
  const run = [entries[0]!, entries[1]!, next]
  const without = readRun(start, conv, run)
  assert.equal(without.gap, positionOf(2, 1), 'nothing of an epoch before its register')
  const { state, gap } = readRun(start, conv, run, cuts)
  assert.equal(gap, undefined)
  assert.deepEqual(state.hash, chainHash(hashBefore(positionOf(1, 2), without.state.hash, cuts), next))
  assert.equal(readRun(start, conv, entries.slice(0, 3), cuts).gap, positionOf(1, 3), 'and nothing behind a cut')
})
