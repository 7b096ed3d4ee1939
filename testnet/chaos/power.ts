// A power failure, for a store whose process has just been killed: what level had written and not fsynced is gone, or
// comes back in part. Which part of each log was fsynced stands in a file beside the store (faulty-level.ts).
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs'
import { readdir, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import type { Random } from '#protocol'

/** Name of a log -> bytes of it that were fsynced. */
export type SyncedLogs = Readonly<Record<string, number>>

/** Always as long as this, so that each write replaces all of the one before at once, killed or not. */
const FILE_BYTES = 512

const syncedFile = (store: string): string => `${store}.synced`

export function openSynced(store: string): number {
  const file = syncedFile(store)
  if (!existsSync(file)) closeSync(openSync(file, 'wx'))
  return openSync(file, 'r+')
}

export function writeSynced(descriptor: number, synced: SyncedLogs): void {
  writeSync(descriptor, JSON.stringify(synced).padEnd(FILE_BYTES), 0)
}

/** Nothing before the first durable write of all. */
export function readSynced(store: string): SyncedLogs {
  const text = existsSync(syncedFile(store)) ? readFileSync(syncedFile(store), 'utf8') : ''
  return text === '' ? {} : JSON.parse(text)
}

/** Bytes that were lost. */
export async function losePower(store: string, random: Random): Promise<number> {
  const synced = readSynced(store)
  let lost = 0
  for (const name of (await readdir(store)).filter((it) => it.endsWith('.log'))) {
    const file = join(store, name)
    const { size } = await stat(file)
    const unsynced = size - (synced[name] ?? 0)
    const torn = random.fraction() < 0.5 ? 0 : Math.floor(random.fraction() * unsynced)
    lost += unsynced - torn
    await truncate(file, size - unsynced + torn)
  }
  // Written after each commit and never fsynced.
  if (random.fraction() < 0.5) await rm(join(store, 'WITNESS'), { force: true })
  return lost
}
