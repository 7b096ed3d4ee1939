// Ed25519 over raw 32-byte keys. Keys of this kind sign only under the context strings listed in contexts.ts.
import { createPublicKey, sign as cryptoSign, verify as cryptoVerify, type KeyObject } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { privateKeyOf, publicKeyOf } from './key-objects.ts'

const RAW_BYTES = 32
const SIGNATURE_BYTES = 64
/** Parsed public keys that are kept: parsing costs as much as a third of a verification. */
const KEYS_KEPT = 4_096

const parsed = new LRUCache<string, KeyObject>({ max: KEYS_KEPT })

function privateKeyObject(seed: Uint8Array): KeyObject {
  if (seed.length !== RAW_BYTES) throw new RangeError(`Ed25519 private key of ${seed.length} bytes`)
  return privateKeyOf('ed25519', seed)
}

function publicKeyObject(key: Uint8Array): KeyObject | undefined {
  if (key.length !== RAW_BYTES) return undefined
  const name = Buffer.from(key).toString('latin1')
  let object = parsed.get(name)
  if (!object) {
    try {
      object = publicKeyOf('ed25519', key)
    } catch {
      return undefined
    }
    parsed.set(name, object)
  }
  return object
}

export type SigningKey = {
  readonly publicKey: Uint8Array
  sign(message: Uint8Array): Uint8Array
}

/** From the 32 secret bytes. */
export function signingKey(secret: Uint8Array): SigningKey {
  const key = privateKeyObject(secret)
  const publicKey = new Uint8Array(createPublicKey(key).export({ format: 'raw-public' }))
  return { publicKey, sign: (message) => new Uint8Array(cryptoSign(null, message, key)) }
}

/** False for anything that is not a valid signature by a valid key. */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_BYTES) return false
  const key = publicKeyObject(publicKey)
  return key !== undefined && cryptoVerify(null, message, key, signature)
}
