// Half-open sockets must not keep a node out. libp2p refuses newcomers when ten sockets sit idle before their
// handshake, so its limit is raised out of the way and this one acts: each socket has a short time to become an
// authenticated connection, and when an address (or all together) has too many that have not, the **oldest** of them
// goes. An honest handshake takes milliseconds; an idle socket is what gets old.
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

export function createSocketGuard(clock: Clock): SocketGuard {
  /** In the order of arrival. */
  const pending = new Map<string, Guarded>()
  const perAddress = new Map<string, number>()
  const pendingOf = new Map<string, Set<Guarded>>()
  let timer: Timer | undefined

  const settle = (guarded: Guarded): void => {
    if (!pending.delete(guarded.name)) return
    const others = pendingOf.get(guarded.address)
    others?.delete(guarded)
    if (others?.size === 0) pendingOf.delete(guarded.address)
  }
  const drop = (guarded: Guarded | undefined): void => {
    if (!guarded) return
    settle(guarded)
    guarded.socket.destroy()
  }

  const accept = (socket: Socket): void => {
    const address = socket.remoteAddress ?? 'unknown'
    const open = (perAddress.get(address) ?? 0) + 1
    if (open > SOCKETS_PER_ADDRESS_MAX) {
      socket.destroy()
      return
    }
    perAddress.set(address, open)
    const guarded = { socket, address, name: `${address} ${socket.remotePort}`, since: clock.monotonic() }
    pending.set(guarded.name, guarded)
    const mine = pendingOf.get(address) ?? new Set()
    pendingOf.set(address, mine.add(guarded))
    socket.once('close', () => {
      settle(guarded)
      const left = (perAddress.get(address) ?? 1) - 1
      if (left === 0) perAddress.delete(address)
      else perAddress.set(address, left)
    })
    socket.on('error', () => socket.destroy())
    if (mine.size > PENDING_PER_ADDRESS_MAX) drop(mine.values().next().value)
    if (pending.size > PENDING_MAX) drop(pending.values().next().value)
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
