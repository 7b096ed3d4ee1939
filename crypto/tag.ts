// The tag of a content: 4 random bytes and 4 of an HMAC under a secret of the device. Relays store and return it; the
// device recognises what it once made, even after it has forgotten the content itself (an old copy of a profile does).
import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto'
import { ID_BYTES, type Random, TAG_BYTES } from '#protocol'
import { convBytes, type Place } from './place.ts'

const RANDOM_BYTES = 4
const K_BYTES = 4
const CONTEXT = Buffer.from('parley/tag/v1\0')
/** What the HMAC is of: the context, the conversation, its k, what is random. One at a time. */
const said = Buffer.concat([CONTEXT, Buffer.alloc(ID_BYTES + K_BYTES + RANDOM_BYTES)])

/** 32 bytes; as a key object it costs a quarter of the time. */
export type TagSecret = Uint8Array | KeyObject

function mac(secret: TagSecret, place: Place, random: Uint8Array): Uint8Array {
  said.set(convBytes(place.convId), CONTEXT.length)
  said.writeUInt32BE(place.k, said.length - K_BYTES - RANDOM_BYTES)
  said.set(random, said.length - RANDOM_BYTES)
  return createHmac('sha256', secret)
    .update(said)
    .digest()
    .subarray(0, TAG_BYTES - RANDOM_BYTES)
}

/** 8 bytes, different at each call; one for each content and one for a skip. */
export function makeTag(secret: TagSecret, place: Place, random: Random): Uint8Array {
  const fresh = random.bytes(RANDOM_BYTES)
  const { buffer, byteOffset } = Buffer.allocUnsafe(TAG_BYTES)
  const tag = new Uint8Array(buffer, byteOffset, TAG_BYTES)
  tag.set(fresh)
  tag.set(mac(secret, place, fresh), RANDOM_BYTES)
  return tag
}

/** Whether this device (this secret) made the tag for this place. */
export function isOwnTag(secret: TagSecret, place: Place, tag: Uint8Array): boolean {
  if (tag.length !== TAG_BYTES) return false
  return timingSafeEqual(tag.subarray(RANDOM_BYTES), mac(secret, place, tag.subarray(0, RANDOM_BYTES)))
}
