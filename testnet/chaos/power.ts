// A power failure, for a store whose process has just been killed: what was written and not synced is gone, or comes back
// in part. What that is stands in two files beside the store: how much of each log of level was synced (faulty-level.ts),
// and which part of the journal's files was not (faulty-journal.ts).
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs'
import { open, readdir, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import type { Random } from '#protocol'

/** Name of a log -> bytes of it that were fsynced. */
export type SyncedLogs = Readonly<Record<string, number>>
/** Name of a file -> the part that was written and not synced. */
export type Unsynced = Readonly<Record<string, readonly [from: number, to: number]>>

/** Always as long as this, so that each write replaces all of the one before at once, killed or not. */
const NOTES_BYTES = 512
/** Whole or not at all. */
const SECTOR_BYTES = 512

const syncedFile = (store: string): string => `${store}.synced`
export const unsyncedFile = (store: string): string => `${store}.unsynced`

export function openNotes(file: string): number {
  if (!existsSync(file)) closeSync(openSync(file, 'wx'))
  return openSync(file, 'r+')
}

export function writeNotes(descriptor: number, notes: SyncedLogs | Unsynced): void {
  writeSync(descriptor, JSON.stringify(notes).padEnd(NOTES_BYTES), 0)
}

function readNotes(file: string): object {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
  return text === '' ? {} : JSON.parse(text)
}

export const openSynced = (store: string): number => openNotes(syncedFile(store))
/** Nothing before the first durable write of all. */
export const readSynced = (store: string): SyncedLogs => readNotes(syncedFile(store)) as SyncedLogs
export const readUnsynced = (store: string): Unsynced => readNotes(unsyncedFile(store)) as Unsynced

/** Bytes that were lost of the journal and of level's logs. */
export async function losePower(store: string, random: Random): Promise<{ journal: number; logs: number }> {
  const journal = await loseJournal(store, random)
  const logs = await loseLogs(store, random)
  // Written after each commit and never fsynced.
  if (random.fraction() < 0.5) await rm(join(store, 'WITNESS'), { force: true })
  return { journal, logs }
}

async function loseJournal(store: string, random: Random): Promise<number> {
  let lost = 0
  for (const [name, [from, to]] of Object.entries(readUnsynced(store))) {
    const kept = random.fraction() < 0.5 ? 0 : random.fraction()
    await using file = await open(join(store, name), 'r+')
    for (let at = from; at < to; at += SECTOR_BYTES) {
      if (random.fraction() < kept) continue
      const bytes = Math.min(SECTOR_BYTES, to - at)
      await file.write(Buffer.alloc(bytes), 0, bytes, at)
      lost += bytes
    }
  }
  await rm(unsyncedFile(store), { force: true })
  return lost
}

async function loseLogs(store: string, random: Random): Promise<number> {
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
  return lost
}
