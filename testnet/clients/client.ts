// The other end of device.ts: one client as a process, asked and listened to by messages.
import { type ChildProcess, fork } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { ParleyError, systemClock } from '#protocol'
import type { Preload } from '../process.ts'
import { CLIENT_MS } from './limits.ts'
import type { Order, Times, Told } from './orders.ts'

const PROGRAM = join(import.meta.dirname, 'device.ts')
/** What `parley` keeps too: a client that starts again has been compiled before. */
const COMPILED = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'compiled')

export type Person = {
  readonly name: string
  readonly region: string
  readonly userId: string
  readonly profile: string
  readonly passphraseFile: string
  readonly logFile: string
  readonly preload: Preload
}

export type Client = AsyncDisposable & {
  readonly person: Person
  readonly pid: number
  ask(order: Order): Promise<unknown>
  times(): Promise<Times>
  /** Messages of others since this process began. */
  readonly received: number
  /** What it said was wrong. */
  readonly faults: readonly string[]
  /** Resolves when so many have come; rejects when none has come for so long, or the process has gone. */
  untilReceived(count: number, patienceMs: number): Promise<void>
  signal(signal: NodeJS.Signals): void
  /** Resolves when the process has ended, however. */
  readonly exited: Promise<void>
  stop(): Promise<void>
}

type Waiting = { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }

/** Answers and events of a child, kept apart. */
function listen(child: ChildProcess, name: string) {
  const waiting = new Map<number, Waiting>()
  const faults: string[] = []
  const state = {
    received: 0,
    ready: Promise.withResolvers<void>(),
    moved: Promise.withResolvers<void>(),
    gone: undefined as Error | undefined,
  }
  const move = (): void => {
    state.moved.resolve()
    state.moved = Promise.withResolvers<void>()
  }
  child.on('message', (told: Told) => {
    if ('ready' in told) state.ready.resolve()
    else if ('faults' in told) faults.push(`${name}: ${told.faults}`)
    else if ('received' in told) state.received = told.received
    else {
      const asked = waiting.get(told.id)
      waiting.delete(told.id)
      if ('error' in told) asked?.reject(new Error(`${name}: ${told.error}`))
      else asked?.resolve(told.value)
    }
    move()
  })
  const lost = (why: string): void => {
    state.gone ??= new Error(`the client of ${name} ${why}`)
    state.ready.promise.catch(() => undefined)
    state.ready.reject(state.gone)
    for (const { reject } of waiting.values()) reject(state.gone)
    move()
  }
  child.on('exit', (code, signal) => lost(`has ended (${signal ?? `code ${code}`})`))
  // Also when an order cannot be handed to it, shortly before it is known that it ended.
  child.on('error', (error) => lost(`cannot be reached: ${error.message}`))
  return { waiting, faults, state }
}

async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = systemClock.after(ms, () => late.reject(new ParleyError('timeout', `${what}: nothing for ${ms} ms`)))
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    timer.cancel()
  }
}

/** Opens the profile in a process of its own; not connected yet. It ends when we do. */
export async function startClient(person: Person): Promise<Client> {
  const errors = openSync(person.logFile, 'a')
  const child = fork(PROGRAM, [person.profile, person.passphraseFile], {
    stdio: ['ignore', errors, errors, 'ipc'],
    execArgv: [...person.preload.args],
    env: { ...process.env, NODE_COMPILE_CACHE: COMPILED, ...person.preload.env },
  })
  closeSync(errors)
  const { promise: exited, resolve: hasExited } = Promise.withResolvers<void>()
  child.once('exit', () => hasExited())
  const { waiting, faults, state } = listen(child, person.name)
  let ids = 0
  const ask = async (order: Order): Promise<unknown> => {
    if (state.gone) throw state.gone
    const id = ++ids
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    waiting.set(id, { resolve, reject })
    child.send({ id, order })
    return await promise
  }
  const stop = async (): Promise<void> => {
    // One that cannot be reached any more may still be there.
    if (state.gone) return void child.kill('SIGKILL')
    ask({ do: 'close' }).catch(() => undefined)
    await within(CLIENT_MS, `closing ${person.name}`, exited).finally(() => child.kill('SIGKILL'))
  }
  await within(CLIENT_MS, `starting ${person.name}`, state.ready.promise).catch((error: unknown) => {
    child.kill('SIGKILL')
    throw error
  })
  return {
    person,
    pid: child.pid ?? 0,
    ask,
    times: async () => (await ask({ do: 'times' })) as Times,
    get received() {
      return state.received
    },
    faults,
    async untilReceived(count, patienceMs) {
      while (state.received < count) {
        if (state.gone) throw new Error(`the client of ${person.name} has gone`)
        const what = `${person.name} has ${state.received} of ${count}`
        await within(patienceMs, what, state.moved.promise)
      }
    },
    signal: (signal) => void child.kill(signal),
    exited,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}
