// A file of the journal under faults: its writes are slow, fail, or are the last one. What has been written and not synced
// stands in a file beside the store, so that whoever kills the process can take away what a power failure would.
import { constants } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { scheduler } from 'node:timers/promises'
import { systemRandom } from '#protocol'
import { current } from './current-faults.ts'
import { openNotes, readUnsynced, type Unsynced, unsyncedFile, writeNotes } from './power.ts'

type Writev = FileHandle['writev']

const noted = new Map<string, { readonly descriptor: number; unsynced: Unsynced }>()

/** Remembers, or forgets, that a part of a file may not be on the disk. */
function note(path: string, part: readonly [from: number, to: number] | undefined): void {
  const store = dirname(path)
  let notes = noted.get(store)
  if (!notes) {
    notes = { descriptor: openNotes(unsyncedFile(store)), unsynced: readUnsynced(store) }
    noted.set(store, notes)
  }
  const { [basename(path)]: before, ...others } = notes.unsynced
  notes.unsynced = part
    ? { ...others, [basename(path)]: before ? [Math.min(before[0], part[0]), Math.max(before[1], part[1])] : part }
    : others
  writeNotes(notes.descriptor, notes.unsynced)
}

const die = (): void => void process.kill(process.pid, 'SIGKILL')

/** Files that are being made are written without being looked at: nothing in them counts yet. */
export function withFaults(file: FileHandle, path: string, flags: string | number | undefined): FileHandle {
  if (flags === 'wx' || flags === 'r') return file
  const isWrittenThrough = typeof flags === 'number' && (flags & constants.O_DSYNC) !== 0
  const writev: Writev = file.writev.bind(file)
  const datasync = file.datasync.bind(file)
  const faulty: Writev = async (buffers, position) => {
    const { disk, fsyncMs, dies } = current()
    if (disk === 'failing') {
      // Whether it was written all the same is not known to who gets the error.
      if (systemRandom.fraction() < 0.5) await writev(buffers, position)
      throw new Error('ENOSPC: no space left on device, write')
    }
    if (dies === 'before') die()
    let bytes = 0
    for (const { byteLength } of buffers) bytes += byteLength
    note(path, [position ?? 0, (position ?? 0) + bytes])
    const written = await writev(buffers, position)
    if (dies === 'unsynced') die()
    if (isWrittenThrough) {
      if (fsyncMs > 0) await scheduler.wait(fsyncMs)
      note(path, undefined)
    }
    if (dies === 'synced') die()
    return written
  }
  return Object.assign(file, {
    writev: faulty,
    async datasync() {
      await datasync()
      note(path, undefined)
    },
  })
}
