// Keys as node's ciphers take them: in every call, a key as bytes costs node more than a frame does.
import { createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'

/** Of keys that are in use. */
const keyObjects = new WeakMap<Uint8Array, KeyObject>()

/** Of the same array the same object; its bytes must not change. */
export function keyObjectOf(key: Uint8Array): KeyObject {
  let object = keyObjects.get(key)
  if (!object) {
    object = createSecretKey(key)
    keyObjects.set(key, object)
  }
  return object
}

export type CurveName = 'ed25519' | 'x25519'

/**
 * Node finds out what kind of key it was given by errors that it throws and catches itself; to note for each of them where
 * it was thrown costs more than the key does.
 */
function withoutTraces<T>(make: () => T): T {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return make()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** From its 32 bytes. */
export const privateKeyOf = (curve: CurveName, bytes: Uint8Array): KeyObject =>
  withoutTraces(() => createPrivateKey({ key: Buffer.from(bytes), format: 'raw-private', asymmetricKeyType: curve }))

/** From its 32 bytes. Throws what OpenSSL throws for bytes that are no key. */
export const publicKeyOf = (curve: CurveName, bytes: Uint8Array): KeyObject =>
  withoutTraces(() => createPublicKey({ key: Buffer.from(bytes), format: 'raw-public', asymmetricKeyType: curve }))
