// Helper of the tests: opens damaged level stores one after the other and says of each what came of it. level itself
// ends the process on some damage, so this is one of its own; whoever started it goes on with the next directory.
import { writeSync } from 'node:fs'
import { systemClock, systemRandom } from '#protocol'
import { openLevel } from './level.ts'
import { openStore } from './store.ts'

const HOOKS = { closing: () => {}, committed: () => {}, trimBelow: () => 0, failed: () => {} }

/** What stands under a key in these stores: the key, over and over. */
export function valueUnder(key: string): Buffer {
  return Buffer.alloc(100, `${key} `)
}

async function outcome(directory: string): Promise<string> {
  try {
    const backend = await openLevel({ directory, bootId: systemRandom.bytes(16), reserveBytes: 0 })
    const { store } = await openStore({ backend, hooks: HOOKS, clock: systemClock })
    try {
      const found = await store.range('p', { from: undefined, to: undefined, limit: 1_000_000, reverse: false })
      return found.every(([key, value]) => valueUnder(key).equals(value)) ? String(found.length) : 'wrong bytes'
    } finally {
      store.abandon()
      await store[Symbol.asyncDispose]()
    }
  } catch (error) {
    return `refused: ${error}`
  }
}

if (import.meta.main) for (const directory of process.argv.slice(2)) writeSync(1, `${await outcome(directory)}\n`)
