// What attacks share: when to stop, sockets without end, people made in parallel.
import { connect, type Socket } from 'node:net'
import { systemClock } from '#protocol'
import { type Person, registerPerson, targetAt } from '../load/person.ts'
import type { AttackOrder } from './orders.ts'

export type Attack = {
  readonly id: string
  readonly title: string
  /** What honest traffic's p99 may become, of what it was before. */
  readonly p99Factor: number
  /** Honest traffic within north, or from south to north. */
  readonly honest: 'within' | 'between'
  /** How long it lasts at least, whatever was asked for: what it is about takes that long. */
  readonly leastMs?: number
  /** The relay has its load before it as well, and no longer afterwards: that it is faster then says nothing. */
  readonly loaded?: true
  /** Makes ready (not measured); what it returns runs until `stopped`, and says what it did and what was wrong. */
  prepare(order: AttackOrder): Promise<(stopped: Stopped) => Promise<Attacked>>
}

export type Done = { readonly did: string; readonly faults?: readonly string[] }
/** `times`: how often it did what it does, for its rate. One that never did shows nothing, and its row has failed. */
export type Attacked = Done & { readonly times: number }
export type Stopped = { readonly now: () => boolean; readonly promise: Promise<void> }

export const pause = (ms: number): Promise<void> => new Promise((resolve) => void systemClock.after(ms, resolve))

/** Runs `task` over and over, `width` at once, until told to stop. */
export async function over(stopped: Stopped, width: number, task: (i: number) => Promise<void>): Promise<void> {
  const work = async (i: number): Promise<void> => {
    while (!stopped.now()) await task(i)
  }
  await Promise.all(Array.from({ length: width }, (_, i) => work(i)))
}

export async function people(origin: string, count: number): Promise<Person[]> {
  const target = await targetAt(origin)
  const out: Person[] = []
  const work = async (): Promise<void> => {
    while (out.length < count) out.push(await registerPerson(target))
  }
  await Promise.all(Array.from({ length: 16 }, work))
  return out.slice(0, count)
}

/** Resolves with a connected socket, or undefined. */
export function dialTcp(host: string, port: number): Promise<Socket | undefined> {
  const { promise, resolve } = Promise.withResolvers<Socket | undefined>()
  const socket = connect({ host, port, noDelay: true })
  socket.once('connect', () => resolve(socket))
  socket.on('error', () => resolve(undefined))
  socket.once('close', () => resolve(undefined))
  return promise
}

export const upgradeRequest = (host: string): string =>
  `GET /v1/session HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: parley.v1\r\n\r\n'

/** Sockets that are kept open up to `most`, dialled again when the other side drops them. */
export async function holdSockets(
  stopped: Stopped,
  at: { host: string; port: number },
  most: number,
  opened: (socket: Socket) => void,
): Promise<{ mostOpen: number; dialled: number }> {
  const open = new Set<Socket>()
  let [mostOpen, dialled] = [0, 0]
  await over(stopped, 64, async () => {
    if (open.size >= most) return pause(20)
    const socket = await dialTcp(at.host, at.port)
    if (!socket) return pause(20)
    dialled++
    open.add(socket)
    mostOpen = Math.max(mostOpen, open.size)
    socket.on('close', () => open.delete(socket))
    socket.resume()
    opened(socket)
  })
  for (const socket of open) socket.destroy()
  return { mostOpen, dialled }
}
