// A device's prekeys: signed by its device key, so that a relay can withhold them but not put its own in their place.
import { sha256 } from './chain.ts'
import { verifyUnder } from './contexts.ts'
import type { DeviceKey } from './entry.ts'
import { type Device, type Prekey, PrekeysBodySchema, type SignedPrekeys } from './gen/records_pb.ts'
import { type UserId, userIdBytes } from './ids.ts'
import { CLOCK_SKEW_MS, PREKEYS_MAX_BYTES, PREKEYS_ONE_TIME_MAX } from './limits.ts'
import { ParleyError } from './refusals.ts'
import { decode, ensureSize } from './wire.ts'

/** A type byte and the key, as libsignal serialises them. */
const EC_KEY_BYTES = 33
const KYBER_KEY_BYTES = 1_569
const SIGNATURE_BYTES = 64

export type Prekeys = {
  /** Undefined: the one before stays. */
  readonly signed: Prekey | undefined
  readonly lastResortKyber: Prekey | undefined
  readonly oneTime: readonly Prekey[]
  readonly oneTimeKyber: readonly Prekey[]
  readonly timeMs: number
  /** SHA-256 of the payload: the same one sent again is recognised by it. */
  readonly hash: Uint8Array
}

type Owner = DeviceKey & { readonly userId: Uint8Array }

function ensure(holds: boolean, what: string): void {
  if (!holds) throw new ParleyError('malformed', what)
}

function checkKey(prekey: Prekey, keyBytes: number, signatureBytes: number): void {
  ensure(prekey.id >= 1, 'prekey ids count from 1')
  ensure(prekey.key.length === keyBytes, 'a prekey of the wrong length')
  ensure(prekey.signature.length === signatureBytes, 'a prekey with a signature of the wrong length')
}

function checkBatch(prekeys: readonly Prekey[], keyBytes: number, signatureBytes: number): void {
  if (prekeys.length > PREKEYS_ONE_TIME_MAX) {
    throw new ParleyError('too_many', 'one-time prekeys over the limit', { limit: `${PREKEYS_ONE_TIME_MAX}` })
  }
  ensure(new Set(prekeys.map((prekey) => prekey.id)).size === prekeys.length, 'a prekey id twice')
  for (const prekey of prekeys) checkKey(prekey, keyBytes, signatureBytes)
}

function checkOwner(found: Owner, userId: UserId, device: Device): void {
  const same =
    Buffer.compare(found.userId, userIdBytes(userId)) === 0 &&
    found.device === device.number &&
    found.registrationEpoch === device.registrationEpoch &&
    found.registrationVersion === device.registrationVersion
  if (!same) throw new ParleyError('unsigned_device', 'prekeys of another device')
}

/**
 * Verifies prekeys against the device as the newest manifest has it. The signatures of the keys themselves are for
 * libsignal to check; that `timeMs` is above the last one seen is for the caller.
 */
export function openPrekeys(record: SignedPrekeys, owner: { userId: UserId; device: Device }, nowMs: number): Prekeys {
  ensureSize('prekeys', record.payload, PREKEYS_MAX_BYTES)
  if (!verifyUnder('parley/prekeys/v1', record.payload, owner.device.deviceKey, record.signature)) {
    throw new ParleyError('bad_signature', 'the prekeys are not signed by their device')
  }
  const body = decode(PrekeysBodySchema, record.payload, PREKEYS_MAX_BYTES)
  checkOwner(body, owner.userId, owner.device)
  const { signed, lastResortKyber, oneTime, oneTimeKyber } = body
  if (signed) checkKey(signed, EC_KEY_BYTES, SIGNATURE_BYTES)
  if (lastResortKyber) checkKey(lastResortKyber, KYBER_KEY_BYTES, SIGNATURE_BYTES)
  checkBatch(oneTime, EC_KEY_BYTES, 0)
  checkBatch(oneTimeKyber, KYBER_KEY_BYTES, SIGNATURE_BYTES)
  const timeMs = Number(body.timeMs)
  ensure(timeMs <= nowMs + CLOCK_SKEW_MS, 'prekeys from the future')
  return { signed, lastResortKyber, oneTime, oneTimeKyber, timeMs, hash: sha256(record.payload) }
}
