// What a relay takes for node:fs/promises: a disk that can be full, and a journal on it that suffers more than that.
import { type BigIntStatsFs, type Mode, type PathLike, statfs as real, type StatsFs } from 'node:fs'
import { type FileHandle, open as openReal } from 'node:fs/promises'
import { basename } from 'node:path'
import { promisify } from 'node:util'
import { current } from './current-faults.ts'
import { withFaults } from './faulty-journal.ts'

export * from 'node:fs/promises'

const look: (path: PathLike) => Promise<StatsFs | BigIntStatsFs> = promisify(real)

export async function statfs(path: PathLike): Promise<StatsFs | BigIntStatsFs> {
  const found = await look(path)
  return current().disk === 'full' ? ({ ...found, bavail: 0 } as StatsFs) : found
}

export async function open(path: PathLike, flags?: string | number, mode?: Mode): Promise<FileHandle> {
  const file = await openReal(path, flags, mode)
  return typeof path === 'string' && basename(path).startsWith('journal-') ? withFaults(file, path, flags) : file
}
