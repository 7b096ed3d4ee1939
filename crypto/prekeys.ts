// Prekeys: what lets others set a session up while this device is away. Private halves go through the storage port,
// public ones to the home, signed by the device key. What to make is a pure rule; ids are never used again.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  IdentityKeyPair,
  KEMKeyPair,
  KyberPreKeyRecord,
  PreKeyRecord,
  PrivateKey,
  SignedPreKeyRecord,
} from '@signalapp/libsignal-client'
import {
  limits,
  type Prekey,
  PrekeySchema,
  PrekeysBodySchema,
  type SignedPrekeys,
  SignedPrekeysSchema,
  signUnder,
  userIdBytes,
} from '#protocol'
import { type DeviceKeys, deviceSigningKey } from './account.ts'
import { raw } from './bytes.ts'
import {
  PREKEY_ID_MAX,
  PREKEY_RETIRED_KEPT_MS,
  PREKEY_RETIRED_MAX,
  PREKEY_ROTATE_MS,
  PREKEYS_KEPT_MAX,
  PREKEYS_TARGET,
} from './limits.ts'
import {
  type DatedKey,
  EMPTY_PREKEY_STATE,
  type PrekeyState,
  readPrekeyState,
  writePrekeyState,
} from './prekey-state.ts'
import type { KeyStorage } from './storage.ts'

/** How many one-time keys the home still has. */
export type PrekeyCounts = { readonly oneTime: number; readonly oneTimeKyber: number }

/** What to make and what to forget. */
export type PrekeyPlan = {
  readonly oneTime: number
  readonly oneTimeKyber: number
  readonly signed: boolean
  readonly lastResort: boolean
  /** Ids of retired keys whose private halves are due to go. */
  readonly forgetSigned: readonly number[]
  readonly forgetLastResort: readonly number[]
}

/**
 * The rule. One-time keys are filled up to the target once the home has no more than the low mark; the signed and the
 * last-resort key are replaced by age (also when their date lies in the future: the clock was wrong), and retired ones
 * forgotten when no mail can refer to them any more.
 */
export function planPrekeys(state: PrekeyState, counts: PrekeyCounts, nowMs: number): PrekeyPlan {
  const due = (key: DatedKey | undefined): boolean =>
    !key || nowMs - key.sinceMs >= PREKEY_ROTATE_MS || key.sinceMs > nowMs + limits.CLOCK_SKEW_MS
  const fill = (count: number): number => (count > limits.PREKEYS_LOW ? 0 : PREKEYS_TARGET - Math.max(0, count))
  const stale = (retired: readonly DatedKey[]): number[] => {
    const surplus = Math.max(0, retired.length + 1 - PREKEY_RETIRED_MAX) // room for one that is replaced now
    return retired.filter((key, i) => i < surplus || nowMs - key.sinceMs >= PREKEY_RETIRED_KEPT_MS).map((key) => key.id)
  }
  return {
    oneTime: fill(counts.oneTime),
    oneTimeKyber: fill(counts.oneTimeKyber),
    signed: due(state.signed),
    lastResort: due(state.lastResort),
    forgetSigned: stale(state.retiredSigned),
    forgetLastResort: stale(state.retiredLastResort),
  }
}

export function isIdle(plan: PrekeyPlan): boolean {
  const making = plan.oneTime > 0 || plan.oneTimeKyber > 0 || plan.signed || plan.lastResort
  return !making && plan.forgetSigned.length === 0 && plan.forgetLastResort.length === 0
}

/**
 * Makes what the plan says, writes private halves to `storage`, and returns the upload for the home. It names the
 * current signed and last-resort keys every time, so that a home which lost them is repaired. Commit the writes before
 * uploading: a key that is handed out must be known here.
 */
export function makePrekeys(storage: KeyStorage, device: DeviceKeys, plan: PrekeyPlan, nowMs: number): SignedPrekeys {
  const identity = IdentityKeyPair.deserialize(raw(device.identityKeyPair)).privateKey
  const state = { ...(readPrekeyState(storage) ?? EMPTY_PREKEY_STATE) }
  const oneTime = Array.from({ length: plan.oneTime }, () => makeOneTime(storage, takeId(state, 'nextPrekeyId')))
  const oneTimeKyber = Array.from({ length: plan.oneTimeKyber }, () =>
    makeKyber(storage, 'kyber', takeId(state, 'nextKyberId'), identity, nowMs),
  )
  if (plan.signed) {
    if (state.signed) state.retiredSigned = [...state.retiredSigned, { id: state.signed.id, sinceMs: nowMs }]
    state.signed = { id: takeId(state, 'nextSignedId'), sinceMs: nowMs }
    makeSigned(storage, state.signed.id, identity, nowMs)
  }
  if (plan.lastResort) {
    if (state.lastResort)
      state.retiredLastResort = [...state.retiredLastResort, { id: state.lastResort.id, sinceMs: nowMs }]
    state.lastResort = { id: takeId(state, 'nextKyberId'), sinceMs: nowMs }
    makeKyber(storage, 'last-resort', state.lastResort.id, identity, nowMs)
  }
  forget(storage, state, plan)
  // A time beyond what clocks may differ was a wrong clock's: no home takes an upload of then, nor has taken one.
  const isFuture = state.uploadedMs > nowMs + limits.CLOCK_SKEW_MS
  state.uploadedMs = isFuture ? nowMs : Math.max(nowMs, state.uploadedMs + 1)
  writePrekeyState(storage, state)
  return signUpload(storage, device, state, oneTime, oneTimeKyber)
}

/** Plan and upload in one step; undefined when nothing is due. */
export function replenishPrekeys(
  storage: KeyStorage,
  device: DeviceKeys,
  counts: PrekeyCounts,
  nowMs: number,
): SignedPrekeys | undefined {
  const plan = planPrekeys(readPrekeyState(storage) ?? EMPTY_PREKEY_STATE, counts, nowMs)
  return isIdle(plan) ? undefined : makePrekeys(storage, device, plan, nowMs)
}

type MutableState = { -readonly [K in keyof PrekeyState]: PrekeyState[K] }

function takeId(state: MutableState, counter: 'nextPrekeyId' | 'nextKyberId' | 'nextSignedId'): number {
  const id = state[counter]
  if (id > PREKEY_ID_MAX) throw new Error('prekey ids of this device are used up: register a new device')
  state[counter] = id + 1
  return id
}

function makeOneTime(storage: KeyStorage, id: number): Prekey {
  const secret = PrivateKey.generate()
  const key = secret.getPublicKey()
  storage.set('prekey', `${id}`, PreKeyRecord.new(id, key, secret).serialize())
  return create(PrekeySchema, { id, key: key.serialize() })
}

function makeKyber(
  storage: KeyStorage,
  table: 'kyber' | 'last-resort',
  id: number,
  identity: PrivateKey,
  nowMs: number,
): Prekey {
  const pair = KEMKeyPair.generate()
  const key = pair.getPublicKey().serialize()
  const signature = identity.sign(key)
  storage.set(table, `${id}`, KyberPreKeyRecord.new(id, nowMs, pair, signature).serialize())
  return create(PrekeySchema, { id, key, signature })
}

function makeSigned(storage: KeyStorage, id: number, identity: PrivateKey, nowMs: number): void {
  const secret = PrivateKey.generate()
  const key = secret.getPublicKey()
  const record = SignedPreKeyRecord.new(id, nowMs, key, secret, identity.sign(key.serialize()))
  storage.set('signed', `${id}`, record.serialize())
}

function forget(storage: KeyStorage, state: MutableState, plan: PrekeyPlan): void {
  for (const id of plan.forgetSigned) storage.set('signed', `${id}`, undefined)
  for (const id of plan.forgetLastResort) {
    storage.set('last-resort', `${id}`, undefined)
    storage.set('used', `${id}`, undefined)
  }
  state.retiredSigned = state.retiredSigned.filter((key) => !plan.forgetSigned.includes(key.id))
  state.retiredLastResort = state.retiredLastResort.filter((key) => !plan.forgetLastResort.includes(key.id))
  for (; state.nextPrekeyId - state.lowestPrekeyId > PREKEYS_KEPT_MAX; state.lowestPrekeyId++) {
    storage.set('prekey', `${state.lowestPrekeyId}`, undefined)
  }
  for (; state.nextKyberId - state.lowestKyberId > PREKEYS_KEPT_MAX; state.lowestKyberId++) {
    storage.set('kyber', `${state.lowestKyberId}`, undefined)
  }
}

function signUpload(
  storage: KeyStorage,
  device: DeviceKeys,
  state: PrekeyState,
  oneTime: Prekey[],
  oneTimeKyber: Prekey[],
): SignedPrekeys {
  const body = create(PrekeysBodySchema, {
    userId: userIdBytes(device.userId),
    device: device.number,
    registrationEpoch: device.registrationEpoch,
    registrationVersion: device.registrationVersion,
    oneTime,
    oneTimeKyber,
    timeMs: BigInt(state.uploadedMs),
  })
  const signed = state.signed && storage.get('signed', `${state.signed.id}`)
  if (signed) {
    const record = SignedPreKeyRecord.deserialize(raw(signed))
    body.signed = create(PrekeySchema, {
      id: record.id(),
      key: record.publicKey().serialize(),
      signature: record.signature(),
    })
  }
  const lastResort = state.lastResort && storage.get('last-resort', `${state.lastResort.id}`)
  if (lastResort) {
    const record = KyberPreKeyRecord.deserialize(raw(lastResort))
    body.lastResortKyber = create(PrekeySchema, {
      id: record.id(),
      key: record.publicKey().serialize(),
      signature: record.signature(),
    })
  }
  const payload = toBinary(PrekeysBodySchema, body)
  return create(SignedPrekeysSchema, {
    payload,
    signature: signUnder('parley/prekeys/v1', payload, deviceSigningKey(device)),
  })
}
