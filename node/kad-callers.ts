// Who is at the other end while the library's DHT handles a message: it tells neither its validators nor its database.
// Peers put records and ask for them at a bounded rate, and what goes beyond is refused before anything is done for it.
import { AsyncLocalStorage } from 'node:async_hooks'
import type { kadDHT } from '@libp2p/kad-dht'
import { type Clock, ParleyError } from '#protocol'
import { KAD_GETS_BURST, KAD_GETS_PER_SECOND, KAD_PEERS_MAX, KAD_PUTS_BURST, KAD_PUTS_PER_SECOND } from './limits.ts'
import { createRateLimiter, type RateLimiter } from './rate.ts'

type Registrar = Parameters<ReturnType<typeof kadDHT>>[0]['registrar']

export type KadCallers = {
  /** What is handled through it knows its caller. */
  registrar(base: Registrar): Registrar
  /** A record is to be verified. Throws `overloaded` when its caller has put too many; who asks by itself may go on. */
  ensureMayPut(): void
  /** A record is to be read from disk. The same. */
  ensureMayGet(): void
}

export function createKadCallers(clock: Clock): KadCallers {
  const caller = new AsyncLocalStorage<string>()
  const puts = createRateLimiter(clock, KAD_PUTS_PER_SECOND, KAD_PUTS_BURST, KAD_PEERS_MAX)
  const gets = createRateLimiter(clock, KAD_GETS_PER_SECOND, KAD_GETS_BURST, KAD_PEERS_MAX)
  const ensure = (limiter: RateLimiter): void => {
    const peer = caller.getStore()
    const waitMs = peer === undefined ? 0 : limiter.take(peer)
    if (waitMs > 0) throw new ParleyError('overloaded', 'too many records for this peer', {}, waitMs)
  }
  return {
    registrar(base) {
      const handle: Registrar['handle'] = (protocol, handler, options) =>
        base.handle(
          protocol,
          (stream, connection) => caller.run(connection.remotePeer.toString(), () => handler(stream, connection)),
          options,
        )
      return new Proxy(base, {
        get(target, name) {
          if (name === 'handle') return handle
          const value: unknown = Reflect.get(target, name)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    },
    ensureMayPut: () => ensure(puts),
    ensureMayGet: () => ensure(gets),
  }
}
