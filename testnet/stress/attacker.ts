// A process that attacks, so that whoever measures is not slowed down by it. Ends with the process that started it.
import { ATTACKS } from './attacks.ts'
import type { AttackOrder, AttackSays } from './orders.ts'

const say = (what: AttackSays): void => void process.send?.(what)
const go = Promise.withResolvers<void>()
const stop = Promise.withResolvers<void>()
let stopped = false

async function attack(order: AttackOrder): Promise<void> {
  const found = ATTACKS.find(({ id }) => id === order.id)
  if (!found) throw new Error(`no attack ${order.id}`)
  const run = await found.prepare(order)
  say({ is: 'ready' })
  await go.promise
  const { did, times, faults = [] } = await run({ now: () => stopped, promise: stop.promise })
  say({ is: 'done', did, times, faults })
}

process.on('disconnect', () => process.exit(0))
process.on('message', (told: AttackOrder | 'go' | 'stop') => {
  if (told === 'go') go.resolve()
  else if (told === 'stop') {
    stopped = true
    stop.resolve()
  } else {
    attack(told).catch((error: unknown) =>
      say({ is: 'failed', error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    )
  }
})
