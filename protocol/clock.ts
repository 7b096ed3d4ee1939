// Time and chance are handed in wherever they decide anything, so that the same rules run in production and in
// the simulator. The simulated twins live beside the ports (simulated.ts).
import { randomBytes } from 'node:crypto'

export type Timer = { cancel(): void }

export type Clock = {
  /** Wall clock, milliseconds since 1970. */
  now(): number
  /** Never goes back, milliseconds from an arbitrary start. */
  monotonic(): number
  /** Calls back once, after at least `ms`. A pending timer does not keep the process alive. */
  after(ms: number, callback: () => void): Timer
}

export type Random = {
  bytes(length: number): Uint8Array
  /** Uniform in [0, 1). */
  fraction(): number
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms).unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

export const systemRandom: Random = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
  fraction: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
}
