// Which addresses are used, and when one that does not answer is tried again.
import { BlockList, isIP } from 'node:net'
import { peerIdFromString } from '@libp2p/peer-id'
import { CODE_P2P, multiaddr } from '@multiformats/multiaddr'
import type { Clock } from '#protocol'
import { BOOTSTRAP_AGAIN_MAX_MS, BOOTSTRAP_CHECK_MS, BOOTSTRAP_QUICK_MS } from './limits.ts'

const privateRanges = new BlockList()
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const) {
  privateRanges.addSubnet(net, bits, 'ipv4')
}
for (const [net, bits] of [
  ['::', 96],
  ['::ffff:0:0', 96],
  ['64:ff9b::', 96],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  privateRanges.addSubnet(net, bits, 'ipv6')
}

/** Whether a multiaddr begins with an address that is not of the public internet. Names count as public. */
export function isPrivateAddress(address: string): boolean {
  const [, , host = ''] = address.split('/')
  const family = isIP(host)
  if (family === 0) return host === 'localhost' || host.endsWith('.localhost')
  return privateRanges.check(host, family === 4 ? 'ipv4' : 'ipv6')
}

/** Whether libp2p can parse a multiaddr, peer ids included. Records hold whatever strangers wrote into them. */
export function usableAddress(text: string): boolean {
  try {
    const address = multiaddr(text)
    // Its values are encoded no sooner than somebody needs the bytes.
    void address.bytes
    const parts = address.getComponents()
    for (const { code, value } of parts) if (code === CODE_P2P) peerIdFromString(value ?? '')
    return parts.length > 0
  } catch {
    return false
  }
}

/** Pauses between dials of one address: none while it has not been away for long, then longer and longer ones. */
export type DialPauses = {
  due(address: string): boolean
  failed(address: string): void
  /** It is there: the next time it goes away it is dialled without pauses again. */
  connected(address: string): void
}

export function createDialPauses(clock: Pick<Clock, 'monotonic'>): DialPauses {
  const away = new Map<string, { readonly sinceMs: number; readonly pauseMs: number; readonly dueMs: number }>()
  return {
    due: (address) => clock.monotonic() >= (away.get(address)?.dueMs ?? Number.NEGATIVE_INFINITY),
    failed(address) {
      const now = clock.monotonic()
      const { sinceMs, pauseMs } = away.get(address) ?? { sinceMs: now, pauseMs: BOOTSTRAP_CHECK_MS }
      if (now - sinceMs < BOOTSTRAP_QUICK_MS) {
        away.set(address, { sinceMs, pauseMs, dueMs: now })
        return
      }
      const longer = Math.min(2 * pauseMs, BOOTSTRAP_AGAIN_MAX_MS)
      away.set(address, { sinceMs, pauseMs: longer, dueMs: now + longer })
    },
    connected: (address) => void away.delete(address),
  }
}
