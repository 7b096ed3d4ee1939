// What a relay takes for node:fs/promises: a disk that can be full.
import { type BigIntStatsFs, type PathLike, statfs as real, type StatsFs } from 'node:fs'
import { promisify } from 'node:util'
import { current } from './current-faults.ts'

export * from 'node:fs/promises'

const look: (path: PathLike) => Promise<StatsFs | BigIntStatsFs> = promisify(real)

export async function statfs(path: PathLike): Promise<StatsFs | BigIntStatsFs> {
  const found = await look(path)
  return current().disk === 'full' ? ({ ...found, bavail: 0 } as StatsFs) : found
}
