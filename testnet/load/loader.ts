// The other end of a load process: asked by messages, ended with us.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { type Clock, ParleyError } from '#protocol'
import { ANSWER_MAX_MS } from './limits.ts'
import type { Answer, Order } from './orders.ts'

const PROGRAM = join(import.meta.dirname, '..', 'bench', 'worker.ts')

export type Loader = AsyncDisposable & {
  readonly pid: number
  /** Rejects with what the process said, or when it has gone or says nothing for too long. */
  ask<T = undefined>(order: Order): Promise<T>
}

type Waiting = { resolve(value: unknown): void; reject(error: Error): void }

/** `ca`: the file of a certificate that it trusts beside those of the system. */
export async function startLoader(clock: Clock, ca: string | undefined): Promise<Loader> {
  const env = { ...process.env, ...(ca && { NODE_EXTRA_CA_CERTS: ca }) }
  const child: ChildProcess = fork(PROGRAM, [], { serialization: 'advanced', env })
  const waiting = new Map<number, Waiting>()
  const ready = Promise.withResolvers<void>()
  child.on('message', (told: Answer | { readonly ready: true }) => {
    if ('ready' in told) return ready.resolve()
    const asked = waiting.get(told.id)
    waiting.delete(told.id)
    if ('error' in told) asked?.reject(new ParleyError('unreachable', `a load process: ${told.error}`))
    else asked?.resolve(told.value)
  })
  let gone: ParleyError | undefined
  const lost = (why: string): void => {
    gone ??= new ParleyError('unreachable', `a load process ${why}`)
    ready.reject(gone)
    for (const { reject } of waiting.values()) reject(gone)
  }
  child.on('exit', (code, signal) => lost(`ended (${signal ?? `code ${code}`})`))
  // Also when an order cannot be handed to it, shortly before it is known that it ended.
  child.on('error', (error) => lost(`cannot be reached: ${error.message}`))
  await ready.promise
  let ids = 0
  return {
    pid: child.pid ?? 0,
    async ask<T>(order: Order): Promise<T> {
      if (gone) throw gone
      const id = ++ids
      const { promise, resolve, reject } = Promise.withResolvers<unknown>()
      waiting.set(id, { resolve, reject })
      const late = clock.after(ANSWER_MAX_MS, () =>
        reject(new ParleyError('timeout', `a load process has not done "${order.do}" after ${ANSWER_MAX_MS} ms`)),
      )
      child.send({ id, order })
      try {
        return (await promise) as T
      } finally {
        late.cancel()
        waiting.delete(id)
      }
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.disconnect()
      await once(child, 'exit')
    },
  }
}
