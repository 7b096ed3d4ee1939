// Half-open sockets must not keep a node out. libp2p refuses newcomers when ten sockets sit idle before their
// handshake, so its limit is raised out of the way and this one acts: each socket has a short time to become an
// authenticated connection, and when an address (or all together) has too many that have not, one of them goes: the
// **oldest that has said nothing**, else the oldest. An honest node speaks at once and its handshake takes milliseconds;
// an idle socket is what gets old and stays silent.
import type { Server, Socket } from 'node:net'
import type { Clock, Timer } from '#protocol'
import {
  PENDING_MAX,
  PENDING_PER_ADDRESS_MAX,
  SOCKETS_PER_ADDRESS_MAX,
  UPGRADE_MAX_MS,
  UPGRADE_SWEEP_MS,
} from './limits.ts'

type Guarded = { readonly socket: Socket; readonly address: string; readonly name: string; readonly since: number }

export type SocketGuard = {
  /** Watches the server's sockets from now on. */
  attach(server: Server): void
  /** The socket from that address and port is an authenticated connection now. */
  authenticated(address: string, port: number): void
  pending(): number
  close(): void
}

/** What is limited by address is limited by other things where everybody comes from the same one. */
const isLoopback = (address: string): boolean => /^(127\.|::1$|::ffff:127\.)/.test(address)

export function createSocketGuard(clock: Clock): SocketGuard {
  /** In the order of arrival. */
  const pending = new Map<string, Guarded>()
  /** Those of them that had said nothing when they were looked at the last time. */
  const silent = new Set<Guarded>()
  const perAddress = new Map<string, number>()
  const pendingOf = new Map<string, Set<Guarded>>()
  let timer: Timer | undefined

  const settle = (guarded: Guarded): void => {
    if (!pending.delete(guarded.name)) return
    silent.delete(guarded)
    const others = pendingOf.get(guarded.address)
    others?.delete(guarded)
    if (others?.size === 0) pendingOf.delete(guarded.address)
  }
  const drop = (guarded: Guarded | undefined): void => {
    if (!guarded) return
    settle(guarded)
    guarded.socket.destroy()
  }

  /** Each socket is found to have spoken once at most: in the long run a look is all that a newcomer costs. */
  const oldestSilent = (): Guarded | undefined => {
    for (const guarded of silent) {
      if (guarded.socket.bytesRead === 0) return guarded
      silent.delete(guarded)
    }
    return undefined
  }
  const oldest = (of: Iterable<Guarded>): Guarded | undefined => {
    for (const guarded of of) return guarded
    return undefined
  }

  const accept = (socket: Socket): void => {
    const address = socket.remoteAddress ?? 'unknown'
    const open = (perAddress.get(address) ?? 0) + 1
    const local = isLoopback(address)
    if (open > SOCKETS_PER_ADDRESS_MAX && !local) {
      socket.destroy()
      return
    }
    perAddress.set(address, open)
    const mine = pendingOf.get(address) ?? new Set()
    if (mine.size >= PENDING_PER_ADDRESS_MAX && !local)
      drop([...mine].find(({ socket: { bytesRead } }) => bytesRead === 0) ?? oldest(mine))
    if (pending.size >= PENDING_MAX) drop(oldestSilent() ?? oldest(pending.values()))
    const guarded = { socket, address, name: `${address} ${socket.remotePort}`, since: clock.monotonic() }
    pending.set(guarded.name, guarded)
    silent.add(guarded)
    pendingOf.set(address, mine.add(guarded))
    socket.once('close', () => {
      settle(guarded)
      const left = (perAddress.get(address) ?? 1) - 1
      if (left === 0) perAddress.delete(address)
      else perAddress.set(address, left)
    })
    socket.on('error', () => socket.destroy())
  }

  const sweep = (): void => {
    const old = clock.monotonic() - UPGRADE_MAX_MS
    for (const guarded of pending.values()) {
      if (guarded.since > old) break
      drop(guarded)
    }
    timer = clock.after(UPGRADE_SWEEP_MS, sweep)
  }

  return {
    attach(server) {
      server.prependListener('connection', accept)
      timer ??= clock.after(UPGRADE_SWEEP_MS, sweep)
    },
    authenticated(address, port) {
      const guarded = pending.get(`${address} ${port}`) ?? pending.get(`::ffff:${address} ${port}`)
      if (guarded) settle(guarded)
    },
    pending: () => pending.size,
    close: () => timer?.cancel(),
  }
}
