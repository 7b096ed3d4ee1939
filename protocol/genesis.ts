// What a conversation's id is the hash of. Fixed layout, so that both sides of a direct conversation derive the same
// bytes: kind u8 (1 direct, 2 group); direct: the two userIds, ascending by bytes; group: creator, 32 random bytes, time u64 ms.
import { type ConvId, compareIds, convIdOfGenesis, ID_BYTES, type UserId, userIdBytes, userIdOf } from './ids.ts'
import { ParleyError } from './refusals.ts'

const DIRECT = 1
const GROUP = 2
const DIRECT_BYTES = 1 + 2 * ID_BYTES
const GROUP_BYTES = 1 + 2 * ID_BYTES + 8

export type Genesis =
  | { readonly kind: 'direct'; readonly members: readonly [UserId, UserId] }
  | { readonly kind: 'group'; readonly creator: UserId; readonly nonce: Uint8Array; readonly timeMs: number }

export function directGenesis(a: UserId, b: UserId): Uint8Array {
  if (a === b) throw new ParleyError('bad_argument', 'a direct conversation needs two people')
  const [smaller, larger] = compareIds(a, b) < 0 ? [a, b] : [b, a]
  const out = new Uint8Array(DIRECT_BYTES)
  out[0] = DIRECT
  out.set(userIdBytes(smaller), 1)
  out.set(userIdBytes(larger), 1 + ID_BYTES)
  return out
}

export function directConvId(a: UserId, b: UserId): ConvId {
  return convIdOfGenesis(directGenesis(a, b))
}

export function readGenesis(bytes: Uint8Array): Genesis {
  if (bytes[0] === DIRECT && bytes.length === DIRECT_BYTES) {
    const smaller = bytes.subarray(1, 1 + ID_BYTES)
    const larger = bytes.subarray(1 + ID_BYTES)
    if (Buffer.compare(smaller, larger) >= 0) throw new ParleyError('malformed', 'genesis: the ids are not ascending')
    return { kind: 'direct', members: [userIdOf(smaller), userIdOf(larger)] }
  }
  if (bytes[0] === GROUP && bytes.length === GROUP_BYTES) {
    const timeMs = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(1 + 2 * ID_BYTES)
    if (timeMs > BigInt(Number.MAX_SAFE_INTEGER)) throw new ParleyError('malformed', 'genesis: time beyond the limit')
    return {
      kind: 'group',
      creator: userIdOf(bytes.subarray(1, 1 + ID_BYTES)),
      nonce: bytes.slice(1 + ID_BYTES, 1 + 2 * ID_BYTES),
      timeMs: Number(timeMs),
    }
  }
  throw new ParleyError('malformed', `genesis: unknown kind ${bytes[0]} or wrong length ${bytes.length}`)
}
