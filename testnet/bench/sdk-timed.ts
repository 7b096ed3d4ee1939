// What the row of the SDK counts and times. The stopwatch starts when nothing is under way, and everything that is counted
// comes to pass while it runs: a text that was sealed before it, or a page that was opened before it, would be work for
// nothing.
import type { Parley, ParleyEvent, Sending } from '#client'
import { systemClock, type UserId } from '#protocol'
import { SDK_STEP_MS } from './sdk-limits.ts'
import type { SdkOrder, SdkSpent } from './sdk-orders.ts'

/** What of the SDK is timed. */
export type Timed = Pick<Parley, 'connected' | 'connect'> & {
  send(to: UserId, text: string): Promise<Pick<Sending, 'until'>>
  on(name: 'event', listener: (event: ParleyEvent) => void): unknown
  off(name: 'event', listener: (event: ParleyEvent) => void): unknown
}
export type Stopwatch = (count: number) => () => SdkSpent

const NUMBER_CHARS = 10

/** From now until `done`. */
export const stopwatch: Stopwatch = (count) => {
  const began = systemClock.monotonic()
  const cpu = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(cpu)
    return { count, wallMs: systemClock.monotonic() - began, cpuMs: (user + system) / 1000 }
  }
}

/** Resolves when `hear` has said so; what goes wrong on the way rejects. */
function during(parley: Timed, hear: (event: ParleyEvent) => boolean): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const listener = (event: ParleyEvent): void => {
    if (event.type === 'broken' || event.type === 'old-copy' || event.type === 'host-lies')
      reject(new Error(JSON.stringify(event)))
    try {
      if (hear(event)) resolve()
    } catch (error) {
      reject(error)
    }
  }
  const timer = systemClock.after(SDK_STEP_MS, () => reject(new Error(`not done after ${SDK_STEP_MS} ms`)))
  parley.on('event', listener)
  return promise.finally(() => {
    timer.cancel()
    parley.off('event', listener)
  })
}

/** So many texts, each of which has its number at the end: nothing of them is under way before or after. `last`: the last. */
export async function timedSend(
  parley: Timed,
  to: UserId,
  { count, bytes, ahead }: Omit<SdkOrder & { do: 'send' }, 'do' | 'to'>,
  start: Stopwatch = stopwatch,
): Promise<{ readonly spent: SdkSpent; readonly last: Pick<Sending, 'until'> }> {
  await parley.connected(SDK_STEP_MS)
  let sent = 0
  let numbered = 0
  const line = 'x'.repeat(bytes - NUMBER_CHARS)
  let last: Promise<Pick<Sending, 'until'>> | undefined
  const fill = (): void => {
    for (; sent < count && sent - numbered < ahead; sent++)
      last = parley.send(to, line + `${sent + 1}`.padStart(NUMBER_CHARS))
  }
  const done = start(count)
  const all = during(parley, (event) => {
    if (event.type === 'state' && event.state === 'sequenced') numbered++
    fill()
    return numbered === count
  })
  fill()
  await all
  const spent = done()
  return { spent, last: await last! }
}

/**
 * Connects and takes what waits at the home, which is so many texts and no more. Time counts from the sign-in, before
 * which nothing comes.
 */
export async function timedReceive(
  parley: Timed,
  { count }: Pick<SdkOrder & { do: 'receive' }, 'count'>,
  start: Stopwatch = stopwatch,
): Promise<SdkSpent> {
  let received = 0
  let spent: (() => SdkSpent) | undefined
  const all = during(parley, (event) => {
    if (event.type === 'connection' && event.state.is === 'connected') spent ??= start(count)
    if (event.type === 'message' && !event.message.mine) {
      if (event.message.kind !== 'text') throw new Error(`a message of kind ${event.message.kind}`)
      received++
    }
    return received === count
  })
  parley.connect()
  await all
  if (!spent) throw new Error('messages came before the sign-in')
  return spent()
}
