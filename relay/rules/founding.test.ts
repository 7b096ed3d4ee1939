import assert from 'node:assert/strict'
import { test } from 'node:test'
import { convIdOfGenesis, type Home, type HomeRecord, type UserId } from '#protocol'
import { makeRegion } from '../fixtures.ts'
import { makePair, START_MS } from './bench.ts'
import { ensureLocal, foundingOf, learnHomes, membersOf } from './founding.ts'
import type { DirectoryPort } from './ports.ts'

const pair = makePair()
const homeOf = (user: UserId): Home | undefined => [pair.host, pair.other].find((side) => side.userId === user)?.home
const code = (expected: string) => ({ code: expected })

test('a conversation is what its genesis says, hosted by the home of the smaller user', () => {
  const founding = foundingOf(pair.id, pair.genesis, homeOf)
  assert.equal(founding.host, pair.host.region)
  assert.equal(founding.epoch, 1)
  assert.deepEqual(
    founding.members.map((m) => [m.userId, m.region]),
    [pair.host, pair.other].map((s) => [s.userId, s.region]),
  )
  const genesis = pair.genesis.slice()
  const kept = foundingOf(pair.id, genesis, homeOf)
  genesis.fill(0)
  assert.deepEqual(kept.genesisBytes, pair.genesis, 'a copy is kept')
})

test('the genesis has to be the one of the id', () => {
  const stranger = makePair()
  assert.throws(() => foundingOf(pair.id, stranger.genesis, homeOf), code('bad_id'))
  const swapped = pair.genesis.slice()
  swapped.set(pair.genesis.subarray(33), 1)
  swapped.set(pair.genesis.subarray(1, 33), 33)
  assert.throws(() => membersOf(convIdOfGenesis(swapped), swapped), code('malformed'))
  assert.throws(() => membersOf(pair.id, pair.genesis.subarray(1)), code('bad_id'))
})

test('a group is not served', () => {
  const group = new Uint8Array(73).fill(1)
  group.fill(0, 65)
  group[0] = 2
  assert.throws(() => membersOf(convIdOfGenesis(group), group), code('unknown_conversation'))
})

test('nobody is invited whose home is not known', () => {
  for (const unknown of [pair.host, pair.other]) {
    const some = (user: UserId): Home | undefined => (user === unknown.userId ? undefined : homeOf(user))
    assert.throws(() => foundingOf(pair.id, pair.genesis, some), code('unknown_user'))
  }
})

test('only a member region has to do with a conversation', () => {
  const founding = foundingOf(pair.id, pair.genesis, homeOf)
  ensureLocal(founding, pair.host.region)
  ensureLocal(founding, pair.other.region)
  assert.throws(() => ensureLocal(founding, makeRegion().regionId), code('not_home'))
})

test('home records that come along are verified before they are learnt; what is known costs nothing', () => {
  const learnt: UserId[] = []
  const known = new Map<UserId, Home>()
  const directory = {
    knownHome: (user: UserId) => known.get(user),
    learnHome: (home: Home) => {
      learnt.push(home.userId)
      known.set(home.userId, home)
      return true
    },
  } as unknown as DirectoryPort
  const records = [pair.host.home.record, pair.other.home.record]
  learnHomes(records, directory, START_MS)
  assert.deepEqual(learnt, [pair.host.userId, pair.other.userId])
  learnHomes(records, directory, START_MS)
  assert.equal(learnt.length, 2)
  learnHomes([...records, makePair().host.home.record], directory, START_MS)
  assert.equal(learnt.length, 2, 'a message carries at most two')

  const fresh = makePair().host.home.record
  const head = fresh.head!
  const forged = { ...fresh, head: { ...head, signature: head.signature.slice().fill(1) } } as HomeRecord
  learnHomes([forged], directory, START_MS)
  learnHomes([fresh], directory, START_MS + 90 * 86_400_000)
  learnHomes([{ ...fresh, head: { ...head, payload: head.payload.subarray(3) } }], directory, START_MS)
  assert.equal(learnt.length, 2, 'what does not hold is passed over')
  learnHomes([forged, fresh], directory, START_MS)
  assert.equal(learnt.length, 3, 'and what comes with it is not')
})
