// What every backend must make of logs.
import assert from 'node:assert/strict'
import { ALL, bytes, type Check, crash, list, type Opened, opened, reopenCold, text } from './contract-bench.ts'

export const LOG_CHECKS: readonly Check[] = [
  {
    what: 'a log: what is appended is read in order, trimmed and cut, from memory and from rows, and after a restart',
    body: async (bench) => {
      const first = await opened(bench)
      const entry = (at: number): Uint8Array => bytes(`entry ${at}`)
      const read = async ({ store }: Opened, after = 0, to = 1_000, maxBytes = 1_000_000): Promise<string> =>
        (await bench.run(store.entries('l', after, to, maxBytes))).map((found) => text(found)!.slice(6)).join()
      for (let at = 1; at <= 20; at++) first.store.append('l', at - 1, at, entry(at))
      first.store.trim('l', 3, 20)
      assert.equal(await read(first, 5, 9), '6,7,8,9')
      await bench.run(first.store.checkpoint())
      assert.equal(first.store.peekEntries('l', 3, 20, 1_000), undefined, 'memory has let go of it')
      first.store.append('l', 20, 21, entry(21))
      first.store.cut('l', 18, 21, 3)
      first.store.append('l', 21, 40, entry(40))
      assert.equal(await read(first, 16), '17,18,40')
      assert.equal(await read(first, 16, 1_000, 1), '17')
      await bench.run(first.store.flushed())
      await crash(bench, first)
      const second = await opened(bench)
      assert.equal(await read(second, 15), '16,17,18,40')
      const third = await reopenCold(bench, second)
      assert.equal(await read(third), '4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,40')
      third.store.trim('l', 40, 40)
      await bench.run(third.store.checkpoint())
      assert.equal(list(await bench.run(third.store.range('l', ALL))), '', 'no row is left')
      await crash(bench, third)
    },
  },
]
