// Addresses of clients: what is limited by address is limited by what one household has.
import { isIPv4, isIPv6, SocketAddress } from 'node:net'

const GROUPS = 8
const HOUSEHOLD_GROUPS = 4
const MAPPED = '::ffff:'
const LOOPBACK = '::1'

/**
 * A household has one IPv4 address, but 2^64 of IPv6: there it goes by its network. What is no address, and loopback, is
 * left as it is.
 */
export function householdOf(address: string): string {
  if (!isIPv6(address)) return address
  // In one form: small letters, no leading zeros, no zone, `::` for what is zero.
  const plain = new SocketAddress({ address, family: 'ipv6' }).address
  const mapped = plain.startsWith(MAPPED) ? plain.slice(MAPPED.length) : ''
  if (isIPv4(mapped)) return mapped
  if (plain === LOOPBACK) return plain
  const [before = '', after] = plain.split('::')
  const groups = before === '' ? [] : before.split(':')
  if (after !== undefined) {
    // An IPv4 address at the end stands for two groups.
    const behind = after === '' ? 0 : after.split(':').length + (after.includes('.') ? 1 : 0)
    const zeros = GROUPS - groups.length - behind
    groups.push(...Array.from({ length: zeros }, () => '0'), ...after.split(':'))
  }
  return `${groups.slice(0, HOUSEHOLD_GROUPS).join(':')}::/64`
}
