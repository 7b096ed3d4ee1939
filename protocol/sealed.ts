// Sealed frames: AES-256-GCM under keys that the sign-in derived, with a counter in each direction that is not sent.
//
//   sealed frame = ciphertext ‖ 16-byte GCM tag; nonce = IV XOR counter (in the last 8 bytes);
//   associated data = version u8 ‖ mode u8 ‖ direction u8 (0 = device to node) ‖ counter u64
//
// A frame that was lost, repeated, reordered or changed does not open; after that nothing does.
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'
import { keyObjectOf } from './key-objects.ts'
import { ParleyError } from './refusals.ts'
import { ensureSize } from './wire.ts'

export const SEAL_OVERHEAD_BYTES = 16
const KEY_BYTES = 32
const IV_BYTES = 12
const SIGN_IN_VERSION = 1

/** 1: the device dialled this node. 2: the bytes pass through an edge. */
export type SignInMode = 1 | 2
export type Direction = 0 | 1
export const DEVICE_TO_NODE: Direction = 0
export const NODE_TO_DEVICE: Direction = 1

export type DirectionKeys = { readonly key: Uint8Array; readonly iv: Uint8Array }
export type KeyPair = readonly [deviceToNode: DirectionKeys, nodeToDevice: DirectionKeys]

/** Seals what this side says and opens what the other says, both in order. */
export type Channel = {
  seal(plaintext: Uint8Array): Uint8Array
  /** Throws `bad_signature` for anything but the next frame of the other side; the session is over then. */
  open(sealed: Uint8Array): Uint8Array
}

/** HKDF-SHA-256 gives, in this order, D→N key 32, D→N IV 12, N→D key 32, N→D IV 12. */
export function deriveKeys(secret: Uint8Array, salt: Uint8Array, info: string): KeyPair {
  const half = KEY_BYTES + IV_BYTES
  const all = new Uint8Array(hkdfSync('sha256', keyObjectOf(secret), salt, info, 2 * half))
  const keysAt = (from: number): DirectionKeys => ({
    key: all.slice(from, from + KEY_BYTES),
    iv: all.slice(from + KEY_BYTES, from + half),
  })
  return [keysAt(0), keysAt(half)]
}

function nonceOf(iv: Uint8Array, counter: number): Uint8Array {
  const nonce = iv.slice()
  const view = new DataView(nonce.buffer)
  view.setBigUint64(4, view.getBigUint64(4) ^ BigInt(counter))
  return nonce
}

function associated(mode: SignInMode, direction: Direction, counter: number): Uint8Array {
  const out = new Uint8Array(11)
  out[0] = SIGN_IN_VERSION
  out[1] = mode
  out[2] = direction
  new DataView(out.buffer).setBigUint64(3, BigInt(counter))
  return out
}

export function sealFrame(
  keys: KeyPair,
  mode: SignInMode,
  direction: Direction,
  counter: number,
  plaintext: Uint8Array,
): Uint8Array {
  const { key, iv } = keys[direction]
  const cipher = createCipheriv('aes-256-gcm', keyObjectOf(key), nonceOf(iv, counter))
  cipher.setAAD(associated(mode, direction, counter))
  return new Uint8Array(Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]))
}

export function openFrame(
  keys: KeyPair,
  mode: SignInMode,
  direction: Direction,
  counter: number,
  sealed: Uint8Array,
): Uint8Array {
  const end = sealed.length - SEAL_OVERHEAD_BYTES
  if (end < 0) throw new ParleyError('malformed', 'sealed frame cut off')
  const { key, iv } = keys[direction]
  const decipher = createDecipheriv('aes-256-gcm', keyObjectOf(key), nonceOf(iv, counter), {
    authTagLength: SEAL_OVERHEAD_BYTES,
  })
  decipher.setAAD(associated(mode, direction, counter))
  decipher.setAuthTag(sealed.subarray(end))
  const head = decipher.update(sealed.subarray(0, end))
  try {
    return new Uint8Array(Buffer.concat([head, decipher.final()]))
  } catch {
    throw new ParleyError('bad_signature', 'a sealed frame does not open: changed, lost, repeated or out of order')
  }
}

/** `sealed`, `opened`: how many frames of the traffic keys have been used already in the direction of this side and of the other. */
export function openChannel(
  keys: KeyPair,
  mode: SignInMode,
  side: Direction,
  used: { sealed: number; opened: number },
  limitBytes: number,
): Channel {
  let { sealed: sealCounter, opened: openCounter } = used
  let over = false
  const other: Direction = side === DEVICE_TO_NODE ? NODE_TO_DEVICE : DEVICE_TO_NODE
  return {
    seal: (plaintext) => sealFrame(keys, mode, side, sealCounter++, plaintext),
    open(sealed) {
      if (over) throw new ParleyError('bad_signature', 'the sealed session is over')
      try {
        ensureSize('sealed frame', sealed, limitBytes + SEAL_OVERHEAD_BYTES)
        return openFrame(keys, mode, other, openCounter++, sealed)
      } catch (error) {
        over = true
        throw error
      }
    },
  }
}
