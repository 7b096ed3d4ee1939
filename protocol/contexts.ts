// The context strings under which keys sign: a signature made for one purpose is worth nothing for another.
// What is signed is the string, a zero byte, and the payload as received.
import type { SigningKey } from './ed25519.ts'
import { verifySignature } from './ed25519.ts'

export type Context =
  | 'parley/grant/v1'
  | 'parley/manifest/v1'
  | 'parley/home/v1'
  | 'parley/countersignature/v1'
  | 'parley/region-record/v1'
  | 'parley/node/v1'
  | 'parley/prekeys/v1'
  | 'parley/closed/v1'
  | 'parley/host-register/v1'
  | 'parley/sign-in/node/v1'
  | 'parley/sign-in/device/v1'

function message(context: Context, payload: Uint8Array): Uint8Array {
  const prefix = Buffer.from(`${context}\0`)
  const out = new Uint8Array(prefix.length + payload.length)
  out.set(prefix)
  out.set(payload, prefix.length)
  return out
}

export function signUnder(context: Context, payload: Uint8Array, key: SigningKey): Uint8Array {
  return key.sign(message(context, payload))
}

export function verifyUnder(
  context: Context,
  payload: Uint8Array,
  publicKey: Uint8Array,
  signature: Uint8Array,
): boolean {
  return verifySignature(publicKey, message(context, payload), signature)
}
