// Budgets by name: a bucket that starts full and gains one token each refillMs. Names beyond keysMax push out those
// that were used longest ago, which fills their buckets again: bounded memory is worth more than an exact count.
import { LRUCache } from 'lru-cache'
import { type Clock, ParleyError } from '#protocol'
import type { Budget } from '../limits.ts'

export type Budgets = {
  /** Takes one and returns 0, or the milliseconds until there is one when the bucket is empty. */
  take(name: string): number
  /** The same; throws `overloaded` with that time. */
  spend(name: string): void
}

export function createBudgets(budget: Budget, clock: Pick<Clock, 'monotonic'>): Budgets {
  // By size, each counting for one: with a number of entries it would make room for all of them at once.
  // The moment at which the bucket would be full again says everything about it.
  const fullAt = new LRUCache<string, number>({ maxSize: budget.keysMax, sizeCalculation: () => 1 })
  const take = (name: string): number => {
    const now = clock.monotonic()
    const next = Math.max(fullAt.get(name) ?? 0, now) + budget.refillMs
    const over = next - now - budget.burst * budget.refillMs
    if (over > 0) return Math.ceil(over)
    fullAt.set(name, next)
    return 0
  }
  return {
    take,
    spend(name) {
      const waitMs = take(name)
      if (waitMs > 0) throw new ParleyError('overloaded', 'too many requests', { limit: `${budget.burst}` }, waitMs)
    },
  }
}
