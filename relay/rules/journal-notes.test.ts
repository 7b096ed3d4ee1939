import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type ConvId,
  convIdBytes,
  convIdOf,
  decodeItem,
  encodeItem,
  ItemKind,
  type JournalPlace,
  type JournalPosition,
  NO_PLACE,
  placeOfJournal,
  type RegionId,
  regionIdBytes,
  regionIdOf,
  sealPosition,
} from '#protocol'
import { makeRegion } from '../fixtures.ts'
import { type Bench, openBench } from './bench.ts'
import { RULE_LIMITS } from './limits.ts'

const HERE = makeRegion().regionId
const THERE = makeRegion().regionId
const BOOT = new Uint8Array(8).fill(9)
const kind = ItemKind.JOURNAL_POSITION
const nameOf = (region: RegionId): ConvId => convIdOf(regionIdBytes(region))

const say = (bench: Bench, from: RegionId, of: RegionId, value: JournalPosition): void =>
  bench.hearRaw(from, { conv: nameOf(of), kind, body: encodeItem({ kind, value }) })

const told = (bench: Bench): { of: RegionId; note: JournalPosition; place: JournalPlace }[] =>
  bench.notes.map(({ item }) => {
    const note = decodeItem(kind, item.body).value as JournalPosition
    return { of: regionIdOf(convIdBytes(item.conv)), note, place: placeOfJournal(note) }
  })

async function commit(bench: Bench): Promise<void> {
  bench.store.note(new Uint8Array(0))
  await bench.settle()
}

async function isHeard(bench: Bench): Promise<boolean> {
  let heard = false
  void bench.heard().then(() => {
    heard = true
  })
  await bench.settle()
  return heard
}

test('what another region gave to keep is the first that it hears, also after a crash', async () => {
  const bench = await openBench(HERE, [])
  bench.linkUp(THERE)
  assert.deepEqual(told(bench)[0]!.place, NO_PLACE)
  const secret = new Uint8Array(32).fill(1)
  const note = sealPosition({ life: 2, commit: 7 }, BOOT, secret)
  say(bench, THERE, THERE, note)
  say(bench, THERE, THERE, sealPosition({ life: 1, commit: 9 }, BOOT, secret))
  say(bench, THERE, THERE, sealPosition({ life: 2, commit: 6 }, BOOT, secret))
  await commit(bench)
  const again = await bench.restart()
  assert.ok(again.wanted.includes(THERE), 'it may know')
  again.linkUp(THERE)
  const [first, second] = told(again)
  assert.deepEqual([first!.of, first!.place, first!.note.mac], [THERE, { life: 2, commit: 7 }, note.mac])
  assert.deepEqual([second!.of, second!.place.commit], [HERE, again.store.committed()])
})

test('a region says again how far its journal has come, when it has come farther', async () => {
  const bench = await openBench(HERE, [])
  bench.linkUp(THERE)
  for (let i = 0; i < 3; i++) await bench.pass(RULE_LIMITS.notesAgainMs)
  bench.notes.length = 0
  await bench.pass(RULE_LIMITS.notesAgainMs)
  assert.deepEqual(told(bench), [])
  await commit(bench)
  await bench.pass(RULE_LIMITS.notesAgainMs)
  assert.deepEqual(
    told(bench).map(({ of, place }) => [of, place.commit]),
    [[HERE, bench.store.committed()]],
  )
})

test('a store that went back is found out, and never used again', async () => {
  const errors: string[] = []
  const failed = (error: Error & { code?: string }): void => void errors.push(error.code ?? error.message)
  const before = await openBench(HERE, [], { failed })
  before.linkUp(THERE)
  say(before, THERE, THERE, sealPosition({ life: 1, commit: 1 }, BOOT, new Uint8Array(32)))
  await commit(before)
  const backup = new Map(before.disk.records)
  for (let i = 0; i < 3; i++) await commit(before)
  before.linkUp(THERE)
  const { note } = told(before).at(-1)!
  say(before, THERE, HERE, note)
  await before.settle()
  assert.deepEqual(errors, [], 'it has come so far')
  const goesBack = async (bench: Bench): Promise<Bench> => {
    bench.disk.records.clear()
    for (const [number, record] of backup) bench.disk.records.set(number, record)
    const old = await bench.restart()
    old.linkUp(THERE)
    return old
  }
  const misled = await goesBack(before)
  for (const [what, wrong] of [
    ['sealed by somebody else', sealPosition({ life: 1, commit: 99 }, BOOT, new Uint8Array(32).fill(3))],
    ['changed on its way', { ...note, commit: note.commit + 1n }],
    ['nothing', { ...note, life: 0, commit: 0n, boot: new Uint8Array(0), mac: new Uint8Array(0) }],
  ] as const) {
    say(misled, THERE, HERE, wrong)
    await misled.settle()
    assert.deepEqual(errors, [], what)
  }
  const old = await goesBack(misled)
  // What it commits now says nothing about what it had.
  for (let i = 0; i < 9; i++) await commit(old)
  say(old, THERE, HERE, note)
  await old.settle()
  assert.deepEqual(errors, ['old_backup'])
  await assert.rejects(old.heard(), { code: 'old_backup' })
  await assert.rejects(old.restart(), { code: 'old_backup' })
})

test('nobody speaks of the journal of a third region', async () => {
  const bench = await openBench(HERE, [])
  bench.linkUp(THERE)
  const third = makeRegion().regionId
  say(bench, THERE, third, sealPosition({ life: 1, commit: 1 }, BOOT, new Uint8Array(32)))
  assert.deepEqual(bench.refused, ['conflict'])
  bench.linkUp(third)
  assert.ok(told(bench).every(({ of, place }) => of !== third || place.commit === 0))
})

test('devices wait until a region that may know was heard, or none answers', async () => {
  const bench = await openBench(HERE, [])
  assert.ok(await isHeard(bench), 'nobody can know')
  bench.linkUp(THERE)
  say(bench, THERE, THERE, sealPosition({ life: 1, commit: 1 }, BOOT, new Uint8Array(32)))
  await commit(bench)
  const answered = await bench.restart()
  assert.ok(!(await isHeard(answered)))
  answered.linkUp(THERE)
  say(answered, THERE, HERE, { ...sealPosition({ life: 1, commit: 1 }, BOOT, new Uint8Array(32)), life: 1 })
  assert.ok(await isHeard(answered))
  const silent = await answered.restart()
  await silent.pass(RULE_LIMITS.notesPatienceMs - 1)
  assert.ok(!(await isHeard(silent)))
  await silent.pass(1)
  assert.ok(await isHeard(silent))
})
