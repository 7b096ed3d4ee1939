// libsignal names people by UUID. A user's alias is the UUID, version 8 layout (RFC 9562), of the first 122 bits of the
// id. It is never compared instead of the id.
import { type UserId, userIdBytes } from '#protocol'

export function userAlias(userId: UserId): string {
  let bits = BigInt(`0x${Buffer.from(userIdBytes(userId).subarray(0, 16)).toString('hex')}`) >> 6n
  const take = (count: bigint): bigint => {
    const low = bits & ((1n << count) - 1n)
    bits >>= count
    return low
  }
  const tail = take(62n)
  const middle = take(12n)
  const value = (bits << 80n) | (8n << 76n) | (middle << 64n) | (2n << 62n) | tail
  const hex = value.toString(16).padStart(32, '0')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
