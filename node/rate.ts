import { LRUCache } from 'lru-cache'
import type { Clock } from '#protocol'

/** A bucket of `burst` tokens per key, filled at `perSecond`. */
export type RateLimiter = {
  /** 0 when the request may go ahead, else the milliseconds until one may. */
  take(key: string): number
}

export function createRateLimiter(clock: Clock, perSecond: number, burst: number, keysMax: number): RateLimiter {
  const buckets = new LRUCache<string, { tokens: number; at: number }>({ maxSize: keysMax, sizeCalculation: () => 1 })
  return {
    take(key) {
      const now = clock.monotonic()
      const bucket = buckets.get(key) ?? { tokens: burst, at: now }
      const tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) * perSecond) / 1_000)
      const allowed = tokens >= 1
      buckets.set(key, { tokens: allowed ? tokens - 1 : tokens, at: now })
      return allowed ? 0 : Math.ceil(((1 - tokens) * 1_000) / perSecond)
    },
  }
}
