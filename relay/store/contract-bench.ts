// What the contract's checks share: a bench to open stores on, and short forms of what they do all the time.
import type { Clock } from '#protocol'
import { openStore } from './store.ts'
import type { Backend, RangeOptions, Replayed, Store, StoreHooks, StoreLimits } from './types.ts'

/** One disk, on which a backend can be opened again and again. */
export type Bench = AsyncDisposable & {
  readonly clock: Clock
  /** A new boot. */
  open(): Promise<Backend>
  /** Ends the owner of `backend` without letting it finish anything. */
  crash(backend: Backend): Promise<void>
  /** Lets time pass until the promise has settled. */
  run<T>(work: Promise<T>): Promise<T>
  /** Changes stored bytes behind the store's back, while nobody has it open. */
  damage(kind: 'record' | 'row', change: (bytes: Uint8Array) => Uint8Array): Promise<void>
}

export type Opened = {
  readonly store: Store
  readonly backend: Backend
  readonly replayed: Replayed[]
  readonly reported: number[]
  readonly failures: Error[]
}

/** One thing that every backend must do right. */
export type Check = { readonly what: string; readonly body: (bench: Bench) => Promise<void> }

export const ALL: RangeOptions = { from: undefined, to: undefined, limit: 1_000, reverse: false }

export async function opened(
  bench: Bench,
  options: { hooks?: Partial<StoreHooks>; limits?: Partial<StoreLimits>; backend?: Backend } = {},
): Promise<Opened> {
  const backend = options.backend ?? (await bench.run(bench.open()))
  const reported: number[] = []
  const failures: Error[] = []
  const { store, replayed } = await bench.run(
    openStore({
      backend,
      clock: bench.clock,
      limits: options.limits,
      hooks: {
        closing: () => {},
        committed: (commit) => void reported.push(commit),
        trimBelow: () => Number.POSITIVE_INFINITY,
        failed: (error) => void failures.push(error),
        ...options.hooks,
      },
    }),
  )
  return { store, backend, replayed, reported, failures }
}

export async function crash(bench: Bench, { store, backend }: Opened): Promise<void> {
  store.abandon()
  await bench.crash(backend)
}

export const bytes = (text: string): Uint8Array => Buffer.from(text)
export const text = (value: Uint8Array | undefined): string | undefined => value && Buffer.from(value).toString()
export const list = (pairs: readonly [string, Uint8Array][]): string =>
  pairs.map(([key, value]) => `${key}=${text(value)}`).join()
export const macrotask = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A backend whose appends wait until they are let go. */
export function heldBack(backend: Backend): { backend: Backend; held: PromiseWithResolvers<void>[] } {
  const held: PromiseWithResolvers<void>[] = []
  const append = async (number: number, record: Uint8Array): Promise<void> => {
    const gate = Promise.withResolvers<void>()
    held.push(gate)
    const copy = new Uint8Array(record)
    await gate.promise
    await backend.journal.append(number, copy)
  }
  return { held, backend: { ...backend, journal: { ...backend.journal, append } } }
}

/** Restarts after a clean end, with the journal holding only the filler. */
export async function reopenCold(bench: Bench, { store }: Opened): Promise<Opened> {
  await bench.run(store.checkpoint())
  store.put('zz', 'filler', bytes('x'))
  await bench.run(Promise.resolve(store[Symbol.asyncDispose]()))
  return opened(bench)
}
