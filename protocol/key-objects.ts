// Keys as node's ciphers take them: in every call, a key as bytes costs node more than a frame does.
import { createSecretKey, type KeyObject } from 'node:crypto'

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
