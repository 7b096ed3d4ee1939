// Noise as libp2p has it, with other ciphers under it: the library hands its keys to node as bytes, and node then throws
// and catches an error in every call before it takes them, which costs more than to encrypt what a link sends. It also
// encrypts piece by piece what it joins to one frame anyway.
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { noise } from '@chainsafe/libp2p-noise'
import { keyObjectOf } from '#protocol'

const CIPHER = 'chacha20-poly1305'
const TAG_BYTES = 16
const TAG = { authTagLength: TAG_BYTES }

type Bytes = { subarray(): Uint8Array }
/** What the library's object has beyond its declared interface. */
export type NoiseCipher = {
  encrypt(plaintext: Bytes, nonce: Uint8Array, associated: Uint8Array, key: Uint8Array): Uint8Array
  /** Throws when it was not made with this key, nonce and associated data. */
  decrypt(ciphertext: Bytes, nonce: Uint8Array, associated: Uint8Array, key: Uint8Array): Uint8Array
}

export const noiseCipher: NoiseCipher = {
  encrypt(plaintext, nonce, associated, key) {
    const bytes = plaintext.subarray()
    const cipher = createCipheriv(CIPHER, keyObjectOf(key), nonce, TAG)
    if (associated.length > 0) cipher.setAAD(associated, { plaintextLength: bytes.length })
    const head = cipher.update(bytes)
    return Buffer.concat([head, cipher.final(), cipher.getAuthTag()])
  },
  decrypt(ciphertext, nonce, associated, key) {
    const bytes = ciphertext.subarray()
    const end = bytes.length - TAG_BYTES
    if (end < 0) throw new Error('ciphertext cut off')
    const decipher = createDecipheriv(CIPHER, keyObjectOf(key), nonce, TAG)
    if (associated.length > 0) decipher.setAAD(associated, { plaintextLength: end })
    decipher.setAuthTag(bytes.subarray(end))
    const plaintext = decipher.update(bytes.subarray(0, end))
    decipher.final()
    return plaintext
  },
}

type Lengths = { lengthDecoder(bytes: { readonly byteLength: number }): number }
const LENGTH_BYTES = 2
const LENGTH_MAX = 0xffff

/** After each frame the library reads one more length, and is told that there is none by an error: another bill. */
function readCalmly(decoder: Lengths): void {
  const read = decoder.lengthDecoder
  decoder.lengthDecoder = (bytes) => (bytes.byteLength < LENGTH_BYTES ? LENGTH_MAX : read(bytes))
}

export const meshNoise: typeof noise = (init) => {
  const make = noise(init)
  return (components) => {
    const inner = make(components)
    Object.assign((inner as unknown as { crypto: NoiseCipher }).crypto, noiseCipher)
    for (const way of ['secureInbound', 'secureOutbound'] as const) {
      const secure = inner[way].bind(inner)
      inner[way] = async (connection, options) => {
        const secured = await secure(connection, options)
        readCalmly((secured.connection as unknown as { decoder: Lengths }).decoder)
        return secured
      }
    }
    return inner
  }
}
