// Who may open a socket: counts, origins and subprotocol, decided before anything is upgraded.
import { ParleyError } from '#protocol'
import { SIGN_INS_PENDING_MAX, SOCKETS_MAX, SOCKETS_PER_ADDRESS_MAX } from '../limits.ts'
import { householdOf } from './address.ts'

export const SUBPROTOCOL = 'parley.v1'
export const SESSION_PATH = '/v1/session'

/** A proxy or a local network: what is limited by address is limited by other things there. */
export const isLoopback = (address: string): boolean => /^(127\.|::1$|::ffff:127\.)/.test(address)

/** A socket, by identity. */
type Key = object

export type Doors = {
  /** Counts a socket in, or says why not. */
  enter(address: string): ParleyError | undefined
  /**
   * The next part of its sign-in is for the socket to send. When that is true of too many the one that is late longest goes
   * (`drop`): an honest device takes milliseconds, an idle socket is what gets old. Refusing newcomers would let idle
   * ones shut a node.
   */
  awaits(socket: Key, drop: () => void): void
  /** It has been sent. */
  heard(socket: Key): void
  leave(address: string, socket: Key): void
  readonly open: () => number
}

export function createDoors(): Doors {
  const perHousehold = new Map<string, number>()
  /** Those that are late longest first. */
  const pending = new Map<Key, () => void>()
  let open = 0
  return {
    enter(address) {
      if (open >= SOCKETS_MAX)
        return new ParleyError('overloaded', 'this node is full', { limit: `${SOCKETS_MAX}` }, 10_000)
      const household = householdOf(address)
      const here = perHousehold.get(household) ?? 0
      if (here >= SOCKETS_PER_ADDRESS_MAX && !isLoopback(address)) {
        return new ParleyError(
          'overloaded',
          'too many sockets from this address',
          { limit: `${SOCKETS_PER_ADDRESS_MAX}` },
          10_000,
        )
      }
      perHousehold.set(household, here + 1)
      open++
      return undefined
    },
    awaits(socket, drop) {
      pending.delete(socket)
      pending.set(socket, drop)
      const [oldest] = pending.size > SIGN_INS_PENDING_MAX ? pending : []
      if (!oldest) return
      pending.delete(oldest[0])
      oldest[1]()
    },
    heard(socket) {
      pending.delete(socket)
    },
    leave(address, socket) {
      open--
      pending.delete(socket)
      const household = householdOf(address)
      const here = perHousehold.get(household) ?? 0
      if (here <= 1) perHousehold.delete(household)
      else perHousehold.set(household, here - 1)
    },
    open: () => open,
  }
}

/** A browser sends the page's origin, other clients send none: pages must be allowed by name. */
export function checkUpgrade(
  request: { readonly path: string; readonly origin: string | undefined; readonly protocols: string | undefined },
  allowedOrigins: readonly string[],
): ParleyError | undefined {
  if (request.path !== SESSION_PATH) return new ParleyError('not_found', `sessions are at ${SESSION_PATH}`)
  if (request.origin !== undefined && !allowedOrigins.includes(request.origin)) {
    return new ParleyError('unauthorized', 'pages of this origin may not connect', {
      origin: request.origin.slice(0, 200),
    })
  }
  const offered = (request.protocols ?? '').split(',').map((name) => name.trim())
  if (!offered.includes(SUBPROTOCOL)) {
    return new ParleyError('unsupported_version', `offer the subprotocol ${SUBPROTOCOL}`, { version: SUBPROTOCOL })
  }
  return undefined
}
