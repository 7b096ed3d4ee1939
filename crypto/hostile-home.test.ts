// What a home can do with the prekeys it was trusted with, and what comes of it: it can refuse and delay, and no more.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { limits, type PrekeyBundle, SimulatedClock } from '#protocol'
import { LAST_RESORT_USES_MAX, PREKEY_RETIRED_KEPT_MS } from './limits.ts'
import { EMPTY_PREKEY_STATE, readPrekeyState } from './prekey-state.ts'
import { makePrekeys, planPrekeys } from './prekeys.ts'
import { openSessions } from './sessions.ts'
import { memoryKeyStorage } from './storage.ts'
import { introduce, newPerson, outcome, refused, START_MS } from './test-people.ts'

const DAY_MS = 86_400_000
const FULL = { oneTime: limits.PREKEYS_ONE_TIME_MAX, oneTimeKyber: limits.PREKEYS_ONE_TIME_MAX }
const hello = Uint8Array.of(1, 2, 3)

test('a one-time key given to two people: the second is told apart, and gets through with a new set-up', async () => {
  const ben = newPerson(2)
  const bundle = ben.home.bundle()
  const [ana, cem] = [newPerson(), newPerson()]
  await ana.sessions.setUp(ben.peer, bundle)
  await cem.sessions.setUp(ben.peer, bundle)
  await ben.sessions.decrypt(ana.peer, await ana.sessions.encrypt(ben.peer, hello))
  ben.commit()
  await assert.rejects(
    ben.sessions.decrypt(cem.peer, await cem.sessions.encrypt(ben.peer, hello)),
    refused('undecryptable'),
  )
  assert.deepEqual(ben.staged.changes(), [])
  await cem.sessions.setUp(ben.peer, ben.home.bundle())
  assert.deepEqual(
    new Uint8Array(await ben.sessions.decrypt(cem.peer, await cem.sessions.encrypt(ben.peer, hello))),
    hello,
  )
})

// Whatever a home puts together from the public keys of two people, a message written under it is read by nobody else
// than the device whose identity it names.
test('bundles put together from parts of others are refused, or only the right device can read', async () => {
  const [ana, ben, eve] = [newPerson(), newPerson(8), newPerson(8)]
  const [his, hers] = [ben.home.bundle(), eve.home.bundle()]
  const pick = <K extends 'signed' | 'oneTime' | 'kyber'>(name: K) => fc.constantFrom(his[name], hers[name], undefined)
  const mixed = fc.record({
    signed: pick('signed'),
    oneTime: pick('oneTime'),
    kyber: pick('kyber'),
    id: fc.constantFrom(0, 1, 2 ** 32 - 1),
  })
  await fc.assert(
    fc.asyncProperty(mixed, async ({ id, ...parts }) => {
      const bundle = { ...his, ...parts } as PrekeyBundle
      if (id > 0 && bundle.oneTime) bundle.oneTime = { ...bundle.oneTime, id }
      const set = await outcome(ana.sessions.setUp(ben.peer, bundle))
      if ('code' in set) {
        assert.ok(['malformed', 'bad_signature'].includes(set.code), set.code)
        assert.deepEqual(ana.staged.changes(), [])
        return
      }
      assert.ok(parts.signed === his.signed && parts.kyber === his.kyber, 'signed by another')
      const sealed = await ana.sessions.encrypt(ben.peer, hello)
      ana.staged.reset()
      const atEve = await outcome(eve.sessions.decrypt(ana.peer, sealed))
      assert.ok('code' in atEve && atEve.code === 'undecryptable', JSON.stringify(atEve))
      const atBen = await outcome(ben.sessions.decrypt(ana.peer, sealed))
      ben.staged.reset()
      // The same key under the id it has anyway is his after all.
      const honest = bundle.oneTime?.key === his.oneTime?.key && bundle.oneTime?.id === his.oneTime?.id
      if (honest || !bundle.oneTime) assert.ok('value' in atBen)
      else assert.ok('code' in atBen && atBen.code === 'undecryptable')
    }),
    { numRuns: 60 },
  )
})

test('a message that was held back until its keys were retired for good is refused, and leaves nothing behind', async () => {
  const ben = newPerson(0)
  const [ana, cem] = [newPerson(), newPerson()]
  await introduce(ana, ben)
  await introduce(cem, ben)
  const early = await ana.sessions.encrypt(ben.peer, hello)
  const late = await cem.sessions.encrypt(ben.peer, hello)
  for (const nowMs of [START_MS + DAY_MS, START_MS + DAY_MS + PREKEY_RETIRED_KEPT_MS - 1]) {
    const plan = planPrekeys(readPrekeyState(ben.base) ?? EMPTY_PREKEY_STATE, FULL, nowMs)
    makePrekeys(ben.base, ben.device, { ...plan, signed: true, lastResort: true }, nowMs)
  }
  assert.deepEqual(new Uint8Array(await ben.sessions.decrypt(ana.peer, early)), hello)
  ben.commit()
  const over = START_MS + DAY_MS + PREKEY_RETIRED_KEPT_MS
  makePrekeys(ben.base, ben.device, planPrekeys(readPrekeyState(ben.base)!, FULL, over), over)
  await assert.rejects(ben.sessions.decrypt(cem.peer, late), refused('undecryptable'))
  assert.deepEqual(ben.staged.changes(), [])
})

test('what is remembered of a last-resort key is bounded, the newest set-ups stay refused', async () => {
  const ben = newPerson(0)
  const id = readPrekeyState(ben.base)!.lastResort!.id
  ben.base.set('used', `${id}`, new Uint8Array(LAST_RESORT_USES_MAX * 16).fill(7))
  const ana = newPerson()
  await introduce(ana, ben)
  const first = await ana.sessions.encrypt(ben.peer, hello)
  await ben.sessions.decrypt(ana.peer, first)
  ben.commit()
  assert.equal(ben.base.get('used', `${id}`)!.length, LAST_RESORT_USES_MAX * 16)
  ben.sessions.forget(ana.peer)
  await assert.rejects(ben.sessions.decrypt(ana.peer, first), refused('replayed'))
})

test('a set-up that nobody has answered for two months is not written to any more', async () => {
  const [ana, ben] = [newPerson(), newPerson()]
  const time = new SimulatedClock(START_MS)
  const sessions = openSessions({ storage: memoryKeyStorage(), device: ana.device, clock: time })
  await sessions.setUp(ben.peer, ben.home.bundle())
  await sessions.encrypt(ben.peer, hello)
  time.advanceTo(START_MS + 7 * DAY_MS)
  assert.equal(sessions.hasSession(ben.peer), true)
  time.advanceTo(START_MS + 60 * DAY_MS)
  assert.equal(sessions.hasSession(ben.peer), false)
  await assert.rejects(sessions.encrypt(ben.peer, hello), refused('no_session'))
})
