// State keys and sealed registers. What members set for each other (read marks) is overwritten, coalesced, and may be
// dropped: ratchet steps must not be spent on it. It is sealed under a key that the members share in the log, narrowed
// to the one who writes, and bound to the register it stands in.
//
//   writer key = HKDF-SHA-256(state key, info = context ‖ userId 32 ‖ device u8 ‖ registration u32 u32)
//   sealed     = hint 4 ‖ nonce 12 ‖ AES-256-GCM(writer key, nonce, plaintext, context ‖ convId 32 ‖ kind u32 ‖ member u32 ‖ version u64)
//
// The hint, 4 bytes of a hash of the state key, says which of several keys it was: two people may hand one out at once.
import { createCipheriv, createDecipheriv, hash, hkdfSync } from 'node:crypto'
import { create, toBinary } from '@bufbuild/protobuf'
import {
  type ConvId,
  convIdBytes,
  decode,
  epochOf,
  limits,
  nOf,
  ParleyError,
  type Position,
  type Random,
  ReadMarkSchema,
  type UserId,
  userIdBytes,
} from '#protocol'
import { STATE_KEY_BYTES } from './limits.ts'

const CONTEXT = Buffer.from('parley/register/v1\0')
const HINT_CONTEXT = Buffer.from('parley/state-key/v1\0')
const HINT_BYTES = 4
const NONCE_BYTES = 12
const GCM_TAG_BYTES = 16
const OVERHEAD_BYTES = HINT_BYTES + NONCE_BYTES + GCM_TAG_BYTES
const CIPHER = 'aes-256-gcm'

/** RegisterUpdate.kind of read marks. */
export const READ_REGISTER = 2

/** The device that writes a register. */
export type Writer = {
  readonly userId: UserId
  readonly device: number
  readonly registrationEpoch: number
  readonly registrationVersion: number
}

/** Which register, and which version of it. `version` orders: for read marks the place that was read. */
export type RegisterName = {
  readonly convId: ConvId
  readonly kind: number
  readonly member: number
  readonly version: number
}

export function newStateKey(random: Random): Uint8Array {
  return random.bytes(STATE_KEY_BYTES)
}

/** `too_large` when the result would not fit a register. */
export function sealRegister(
  stateKey: Uint8Array,
  writer: Writer,
  name: RegisterName,
  plaintext: Uint8Array,
  random: Random,
): Uint8Array {
  if (plaintext.length + OVERHEAD_BYTES > limits.REGISTER_BODY_MAX_BYTES) {
    throw new ParleyError('too_large', 'register over the limit', { limit: `${limits.REGISTER_BODY_MAX_BYTES}` })
  }
  const nonce = random.bytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, writerKey(stateKey, writer), nonce)
  cipher.setAAD(bindingOf(name))
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return new Uint8Array(Buffer.concat([hintOf(stateKey), nonce, body, cipher.getAuthTag()]))
}

/**
 * `stateKeys`: all that are known of the conversation. `not_found` when it was sealed under another (its carrier may not
 * have been read yet), `undecryptable` when it was not sealed by this writer for this register and version, `malformed`.
 */
export function openRegister(
  stateKeys: readonly Uint8Array[],
  writer: Writer,
  name: RegisterName,
  sealed: Uint8Array,
): Uint8Array {
  if (sealed.length < OVERHEAD_BYTES || sealed.length > limits.REGISTER_BODY_MAX_BYTES) {
    throw new ParleyError('malformed', 'sealed register of impossible length')
  }
  const hinted = stateKeys.filter((key) => Buffer.compare(hintOf(key), sealed.subarray(0, HINT_BYTES)) === 0)
  if (hinted.length === 0) throw new ParleyError('not_found', 'sealed under a state key that is not known here')
  for (const key of hinted) {
    const plaintext = tryOpen(writerKey(key, writer), name, sealed.subarray(HINT_BYTES))
    if (plaintext) return plaintext
  }
  throw new ParleyError('undecryptable', 'the register was not sealed by this device for this place')
}

/** A read mark: everything up to `at` has been read. The version of its register is `at` itself. */
export function sealReadMark(
  stateKey: Uint8Array,
  writer: Writer,
  where: { readonly convId: ConvId; readonly member: number },
  at: Position,
  random: Random,
): Uint8Array {
  const mark = toBinary(ReadMarkSchema, create(ReadMarkSchema, { epoch: epochOf(at), n: nOf(at) }))
  return sealRegister(stateKey, writer, { ...where, kind: READ_REGISTER, version: at }, mark, random)
}

/** Checks that the mark says what its register's `version` says (`conflict`); besides, the errors of `openRegister`. */
export function openReadMark(
  stateKeys: readonly Uint8Array[],
  writer: Writer,
  where: { readonly convId: ConvId; readonly member: number },
  version: Position,
  sealed: Uint8Array,
): Position {
  const plaintext = openRegister(stateKeys, writer, { ...where, kind: READ_REGISTER, version }, sealed)
  const mark = decode(ReadMarkSchema, plaintext, limits.REGISTER_BODY_MAX_BYTES)
  if (mark.epoch !== epochOf(version) || mark.n !== nOf(version)) {
    throw new ParleyError('conflict', 'the read mark and its version differ')
  }
  return version
}

function writerKey(stateKey: Uint8Array, writer: Writer): Uint8Array {
  const who = Buffer.alloc(9)
  who.writeUInt8(writer.device, 0)
  who.writeUInt32BE(writer.registrationEpoch, 1)
  who.writeUInt32BE(writer.registrationVersion, 5)
  const info = Buffer.concat([CONTEXT, userIdBytes(writer.userId), who])
  return new Uint8Array(hkdfSync('sha256', stateKey, new Uint8Array(0), info, STATE_KEY_BYTES))
}

function bindingOf(name: RegisterName): Uint8Array {
  const numbers = Buffer.alloc(16)
  numbers.writeUInt32BE(name.kind, 0)
  numbers.writeUInt32BE(name.member, 4)
  numbers.writeBigUInt64BE(BigInt(name.version), 8)
  return Buffer.concat([CONTEXT, convIdBytes(name.convId), numbers])
}

function hintOf(stateKey: Uint8Array): Uint8Array {
  return hash('sha256', Buffer.concat([HINT_CONTEXT, stateKey]), 'buffer').subarray(0, HINT_BYTES)
}

function tryOpen(key: Uint8Array, name: RegisterName, sealed: Uint8Array): Uint8Array | undefined {
  const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES), { authTagLength: GCM_TAG_BYTES })
  decipher.setAAD(bindingOf(name))
  decipher.setAuthTag(sealed.subarray(sealed.length - GCM_TAG_BYTES))
  const body = decipher.update(sealed.subarray(NONCE_BYTES, sealed.length - GCM_TAG_BYTES))
  try {
    decipher.final()
  } catch {
    return undefined
  }
  return new Uint8Array(body)
}
