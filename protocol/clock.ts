// Time and chance are handed in wherever they decide anything, so that the same rules run in production and in
// the simulator. The simulated twins live beside the ports (simulated.ts).
import { randomBytes, randomFillSync } from 'node:crypto'

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

/** Asking the system for a few bytes costs more than everything else that is done with them. */
const POOL_BYTES = 4_096
const POOLED_MAX_BYTES = 32
const pool = new Uint8Array(POOL_BYTES)
let pooled = POOL_BYTES

/** What is handed out is not kept: a secret stays in one place. */
function fewBytes(length: number): Uint8Array {
  if (pooled + length > POOL_BYTES) {
    randomFillSync(pool)
    pooled = 0
  }
  const out = pool.slice(pooled, pooled + length)
  pool.fill(0, pooled, pooled + length)
  pooled += length
  return out
}

export const systemRandom: Random = {
  bytes: (length) => (length <= POOLED_MAX_BYTES ? fewBytes(length) : new Uint8Array(randomBytes(length))),
  fraction: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
}
