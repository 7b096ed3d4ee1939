// Helper of the tests: a process that writes to a level store until it is killed. Which changes it makes is a function
// of their number alone, and how many were made stands in the same commit, so that whoever opens the store afterwards
// can say what must be there. It prints the count that each commit made durable.
import { writeSync } from 'node:fs'
import { simulatedRandom, systemClock, systemRandom } from '#protocol'
import { openLevel } from './level.ts'
import { openStore } from './store.ts'
import type { Store, StoreLimits } from './types.ts'

export const PARTITIONS = ['log', 'inbox', 'heads']
const SMALL: Partial<StoreLimits> = {
  sealBytes: 20_000,
  checkpointBytes: 60_000,
  sliceChanges: 20,
  cleanMaxBytes: 20_000,
}

export type Kill = {
  readonly partition: string
  readonly key: string
  readonly value: Buffer | undefined
  fresh: boolean
}

/** The change with this number. */
export function changeAt(number: number): Kill {
  const random = simulatedRandom(number * 7_919)
  const value = Buffer.alloc(20 + Math.floor(random.fraction() * 200), `${number} `)
  const dice = random.fraction()
  if (dice < 0.4) return { partition: 'log', key: `n${String(number).padStart(9, '0')}`, value, fresh: true }
  // What was logged a little earlier goes again, as acknowledged entries do; some of it never was.
  if (dice < 0.7) {
    const earlier = number - 1 - Math.floor(random.fraction() * 300)
    return { partition: 'log', key: `n${String(earlier).padStart(9, '0')}`, value: undefined, fresh: false }
  }
  const partition = random.fraction() < 0.5 ? 'inbox' : 'heads'
  const key = `k${Math.floor(random.fraction() * 200)}`
  return { partition, key, value: random.fraction() < 0.4 ? undefined : value, fresh: false }
}

export function change(store: Store, number: number): void {
  const { partition, key, value, fresh } = changeAt(number)
  if (!value) store.delete(partition, key)
  else if (fresh) store.create(partition, key, value)
  else store.put(partition, key, value)
}

async function main(directory: string): Promise<void> {
  const counts = new Map<number, number>()
  let count = 0
  const backend = await openLevel({
    directory,
    bootId: systemRandom.bytes(16),
    reserveBytes: 0,
    segmentBytes: 64 * 1024,
  })
  const { store } = await openStore({
    backend,
    clock: systemClock,
    limits: SMALL,
    hooks: {
      closing(commit) {
        store.put('meta', 'count', Buffer.from(String(count)))
        counts.set(commit, count)
      },
      committed(commit) {
        writeSync(1, `${counts.get(commit)}\n`)
        counts.delete(commit)
      },
      trimBelow: () => store.committed() - 5,
      failed(error) {
        throw error
      },
    },
  })
  count = Number(Buffer.from((await store.get('meta', 'count')) ?? Buffer.from('0')).toString())
  writeSync(1, `started ${count}\n`)
  for (;;) {
    for (let i = 0; i < 20; i++) change(store, ++count)
    await new Promise((resolve) => setImmediate(resolve))
    if (store.gate() - store.committed() > 2) await store.flushed()
  }
}

if (import.meta.main) await main(process.argv[2]!)
