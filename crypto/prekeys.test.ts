import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PublicKey } from '@signalapp/libsignal-client'
import fc from 'fast-check'
import {
  decode,
  limits,
  openPrekeys,
  type PrekeysBody,
  PrekeysBodySchema,
  type SignedPrekeys,
  userIdBytes,
  verifyUnder,
} from '#protocol'
import { deviceSigningKey, identityKeyOf } from './account.ts'
import { raw } from './bytes.ts'
import {
  PREKEY_RETIRED_KEPT_MS,
  PREKEY_RETIRED_MAX,
  PREKEY_ROTATE_MS,
  PREKEYS_KEPT_MAX,
  PREKEYS_TARGET,
} from './limits.ts'
import { EMPTY_PREKEY_STATE, type PrekeyState, readPrekeyState, writePrekeyState } from './prekey-state.ts'
import { isIdle, makePrekeys, type PrekeyPlan, planPrekeys, replenishPrekeys } from './prekeys.ts'
import { type KeyStorage, memoryKeyStorage } from './storage.ts'
import { introduce, newPerson, refused, START_MS } from './test-people.ts'

const FULL = { oneTime: limits.PREKEYS_ONE_TIME_MAX, oneTimeKyber: limits.PREKEYS_ONE_TIME_MAX }
const NONE: PrekeyPlan = {
  oneTime: 0,
  oneTimeKyber: 0,
  signed: false,
  lastResort: false,
  forgetSigned: [],
  forgetLastResort: [],
}
const owner = newPerson(0)
const bodyOf = (upload: { payload: Uint8Array }): PrekeysBody =>
  decode(PrekeysBodySchema, upload.payload, limits.REQUEST_MAX_BYTES)

test('the first upload has everything, is signed by the device, and its keys by the identity', () => {
  const storage = memoryKeyStorage()
  const upload = replenishPrekeys(storage, owner.device, { oneTime: 0, oneTimeKyber: 0 }, START_MS)!
  assert.ok(upload.payload.length * 1.4 < limits.REQUEST_MAX_BYTES, 'fits a request, in base64 too')
  const deviceKey = deviceSigningKey(owner.device).publicKey
  assert.ok(verifyUnder('parley/prekeys/v1', upload.payload, deviceKey, upload.signature))
  const body = bodyOf(upload)
  assert.deepEqual(body.userId, userIdBytes(owner.account.userId))
  assert.deepEqual([body.device, body.registrationEpoch, body.registrationVersion], [1, 1, 1])
  assert.deepEqual([body.oneTime.length, body.oneTimeKyber.length], [PREKEYS_TARGET, PREKEYS_TARGET])
  const identity = PublicKey.deserialize(raw(identityKeyOf(owner.device)))
  for (const key of [body.signed!, body.lastResortKyber!, ...body.oneTimeKyber]) {
    assert.ok(identity.verify(raw(key.key), raw(key.signature)))
  }
  for (const key of body.oneTime) assert.equal(key.signature.length, 0)
  assert.equal(replenishPrekeys(storage, owner.device, FULL, START_MS + 1), undefined)
})

test('the rule: what is low is filled to the target, what is old replaced, nothing else is touched', () => {
  const dated = fc.record({
    id: fc.nat(),
    sinceMs: fc.integer({ min: START_MS - 2 * PREKEY_ROTATE_MS, max: START_MS + PREKEY_ROTATE_MS }),
  })
  const state = fc.record<PrekeyState>({
    ...(Object.fromEntries(Object.entries(EMPTY_PREKEY_STATE).map(([name, value]) => [name, fc.constant(value)])) as {
      [K in keyof PrekeyState]: fc.Arbitrary<PrekeyState[K]>
    }),
    signed: fc.option(dated, { nil: undefined }),
    lastResort: fc.option(dated, { nil: undefined }),
  })
  const count = fc.oneof(
    fc.integer({ min: -1, max: limits.PREKEYS_ONE_TIME_MAX }),
    fc.constantFrom(limits.PREKEYS_LOW, limits.PREKEYS_LOW + 1),
  )
  fc.assert(
    fc.property(state, count, count, (before, oneTime, oneTimeKyber) => {
      const plan = planPrekeys(before, { oneTime, oneTimeKyber }, START_MS)
      for (const [made, had] of [
        [plan.oneTime, oneTime],
        [plan.oneTimeKyber, oneTimeKyber],
      ] as const) {
        assert.equal(made > 0, had <= limits.PREKEYS_LOW)
        assert.ok(made <= PREKEYS_TARGET && (made === 0 || made + Math.max(0, had) === PREKEYS_TARGET))
      }
      for (const [due, key] of [
        [plan.signed, before.signed],
        [plan.lastResort, before.lastResort],
      ] as const) {
        const age = key ? START_MS - key.sinceMs : undefined
        assert.equal(due, age === undefined || age >= PREKEY_ROTATE_MS || age < -limits.CLOCK_SKEW_MS)
      }
      assert.equal(isIdle(plan), !(plan.oneTime || plan.oneTimeKyber || plan.signed || plan.lastResort))
    }),
  )
})

// Years of uploads with any counts, lost answers and clocks that jump: ids never come again, times go back with a clock that is put right only, the
// private half of whatever may still be used is there, and the number of rows stays bounded.
test('over any history of uploads ids are never used again and private halves are there for what was uploaded', () => {
  const step = fc.record({
    days: fc.integer({ min: -3, max: 20 }),
    oneTime: fc.integer({ min: 0, max: 3 }),
    signed: fc.boolean(),
    lastResort: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const storage = memoryKeyStorage()
      const seen = new Set<string>()
      let nowMs = START_MS
      let timeMs = 0n
      for (const { days, oneTime, ...rotate } of steps) {
        nowMs += days * 86_400_000
        const plan = planPrekeys(readPrekeyState(storage) ?? EMPTY_PREKEY_STATE, FULL, nowMs)
        const body = bodyOf(
          makePrekeys(storage, owner.device, { ...plan, oneTime, oneTimeKyber: oneTime, ...rotate }, nowMs),
        )
        if (timeMs > nowMs + limits.CLOCK_SKEW_MS) assert.equal(body.timeMs, BigInt(nowMs))
        else assert.ok(body.timeMs > timeMs)
        timeMs = body.timeMs
        const state = readPrekeyState(storage)!
        const news = [
          ...body.oneTime.map(({ id }) => `prekey ${id}`),
          ...body.oneTimeKyber.map(({ id }) => `kyber ${id}`),
          ...(rotate.signed ? [`signed ${body.signed!.id}`] : []),
          // libsignal asks for a Kyber key by id alone: both kinds share a space.
          ...(rotate.lastResort ? [`kyber ${body.lastResortKyber!.id}`] : []),
        ]
        for (const id of news) assert.ok(!seen.has(id) && seen.add(id), `${id} again`)
        for (const { id } of body.oneTime) assert.ok(storage.get('prekey', `${id}`))
        for (const { id } of body.oneTimeKyber) assert.ok(storage.get('kyber', `${id}`))
        assert.equal(body.signed?.id, state.signed?.id)
        assert.equal(body.lastResortKyber?.id, state.lastResort?.id)
        for (const { id, sinceMs } of [...state.retiredSigned, ...(state.signed ? [state.signed] : [])]) {
          assert.ok(storage.get('signed', `${id}`))
          assert.ok(id === state.signed?.id || nowMs - sinceMs < PREKEY_RETIRED_KEPT_MS)
        }
        assert.ok(state.retiredSigned.length <= PREKEY_RETIRED_MAX)
      }
    }),
    { numRuns: 25 },
  )
})

test('a home takes uploads as soon as a clock that was a year ahead is put right', () => {
  const storage = memoryKeyStorage()
  const device = owner.manifestRead.devices[0]!
  const taken = (upload: SignedPrekeys): number =>
    openPrekeys(upload, { userId: owner.account.userId, device }, START_MS).timeMs
  const make = (nowMs: number): SignedPrekeys =>
    replenishPrekeys(storage, owner.device, { oneTime: 0, oneTimeKyber: 0 }, nowMs)!
  assert.throws(() => taken(make(START_MS + 365 * 86_400_000)), refused('malformed'))
  assert.equal(taken(make(START_MS)), START_MS)
  // Within what clocks may differ a home has perhaps taken it: the next one is newer.
  assert.equal(taken(make(START_MS - limits.CLOCK_SKEW_MS)), START_MS + 1)
})

test('retired keys go when their time is over, the oldest first when there are too many', () => {
  const storage = memoryKeyStorage()
  const rotate = (nowMs: number): void => {
    const plan = planPrekeys(readPrekeyState(storage) ?? EMPTY_PREKEY_STATE, FULL, nowMs)
    makePrekeys(storage, owner.device, { ...plan, signed: true, lastResort: true }, nowMs)
  }
  rotate(START_MS)
  rotate(START_MS + 1)
  const { signed, lastResort, retiredSigned, retiredLastResort } = readPrekeyState(storage)!
  assert.deepEqual([retiredSigned.length, retiredLastResort.length], [1, 1])
  assert.ok(
    storage.get('signed', `${retiredSigned[0]!.id}`) && storage.get('last-resort', `${retiredLastResort[0]!.id}`),
  )
  storage.set('used', `${retiredLastResort[0]!.id}`, Uint8Array.of(1))
  rotate(START_MS + 1 + PREKEY_RETIRED_KEPT_MS)
  assert.equal(storage.get('signed', `${retiredSigned[0]!.id}`), undefined)
  assert.equal(storage.get('last-resort', `${retiredLastResort[0]!.id}`), undefined)
  assert.equal(storage.get('used', `${retiredLastResort[0]!.id}`), undefined)
  assert.ok(storage.get('signed', `${signed!.id}`) && storage.get('last-resort', `${lastResort!.id}`))
  for (let i = 0; i < PREKEY_RETIRED_MAX + 3; i++) rotate(START_MS + 2 + PREKEY_RETIRED_KEPT_MS)
  assert.equal(readPrekeyState(storage)!.retiredSigned.length, PREKEY_RETIRED_MAX)
  assert.equal(storage.get('signed', `${signed!.id}`), undefined)
})

test('private halves that were never asked for are bounded, and the newest stay', () => {
  const storage: KeyStorage = memoryKeyStorage()
  for (const key of ['prekey', 'kyber'] as const)
    for (let id = 1; id <= 5; id++) storage.set(key, `${id}`, Uint8Array.of(1))
  const next = PREKEYS_KEPT_MAX + 1
  writePrekeyState(storage, { ...EMPTY_PREKEY_STATE, nextPrekeyId: next, nextKyberId: next })
  makePrekeys(storage, owner.device, { ...NONE, oneTime: 2, oneTimeKyber: 3 }, START_MS)
  const left = (table: 'prekey' | 'kyber'): number[] => [1, 2, 3, 4, 5].filter((id) => storage.get(table, `${id}`))
  assert.deepEqual(
    [left('prekey'), left('kyber')],
    [
      [3, 4, 5],
      [4, 5],
    ],
  )
})

test('a session can be set up with the keys of an upload that came before a rotation', async () => {
  const [ana, ben] = [newPerson(), newPerson()]
  await introduce(ana, ben)
  const plan = planPrekeys(readPrekeyState(ben.base)!, FULL, START_MS + PREKEY_ROTATE_MS)
  assert.ok(plan.signed && plan.lastResort)
  ben.home.take(makePrekeys(ben.base, ben.device, plan, START_MS + PREKEY_ROTATE_MS))
  const hello = await ana.sessions.encrypt(ben.peer, Uint8Array.of(7))
  assert.deepEqual(new Uint8Array(await ben.sessions.decrypt(ana.peer, hello)), Uint8Array.of(7))
})
