// level drops what it cannot read in its newest log, and says nothing: a flipped bit or a missing end there looks like
// a write that was never finished. Journal records are numbered densely, so a hole in the middle shows; so are the
// batches of rows here, by a stamp in each. The end is witnessed by a small file beside: the numbers of the newest
// commit and the newest batch that level called durable. It is written a moment afterwards and not synced: a store that
// is closed leaves it right; a process that dies, that moment too low at worst; a power failure, by any amount. Where it is
// higher than what level finds, something was lost.
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { ParleyError, systemClock, type Timer } from '#protocol'
import { STORE_WITNESS_MS } from '../limits.ts'

const FILE_BYTES = 8 + 8 + 4
const FILE_NAME = 'WITNESS'

export type Witness = {
  /** What was durable when the last process that had the store closed it, or a moment before it died. */
  readonly found: { readonly commit: number; readonly batch: number }
  committed(commit: number): void
  applied(batch: number): void
  close(): Promise<void>
}

export async function openWitness(directory: string): Promise<Witness> {
  const path = join(directory, FILE_NAME)
  const file = await open(path, 'r+').catch(() => open(path, 'w+', 0o600))
  const bytes = Buffer.alloc(FILE_BYTES)
  const { bytesRead } = await file.read(bytes, 0, FILE_BYTES, 0)
  // Bytes that are not whole witness nothing.
  const whole = bytesRead === FILE_BYTES && bytes.readUInt32BE(16) === crc32(bytes.subarray(0, 16))
  const found = whole ? { commit: bytes.readDoubleBE(0), batch: bytes.readDoubleBE(8) } : { commit: 0, batch: 0 }
  return { found, ...writer(file, found) }
}

function writer(file: FileHandle, found: { commit: number; batch: number }): Omit<Witness, 'found'> {
  const newest = { ...found }
  let waiting: Timer | undefined
  let writing = Promise.resolve()
  const write = async (): Promise<void> => {
    waiting = undefined
    const bytes = Buffer.alloc(FILE_BYTES)
    bytes.writeDoubleBE(newest.commit, 0)
    bytes.writeDoubleBE(newest.batch, 8)
    bytes.writeUInt32BE(crc32(bytes.subarray(0, 16)), 16)
    // On a full disk or a broken one the witness stays behind, which is always allowed.
    await file.write(bytes, 0, FILE_BYTES, 0).catch(() => {})
  }
  const later = (): void => {
    waiting ??= systemClock.after(STORE_WITNESS_MS, () => {
      writing = writing.then(write)
    })
  }
  return {
    committed(commit) {
      newest.commit = commit
      later()
    },
    applied(batch) {
      newest.batch = batch
      later()
    },
    async close() {
      waiting?.cancel()
      await writing
      if (waiting) await write()
      await file.close()
    },
  }
}

/** Throws ParleyError `store_damaged` when less was found than was durable. */
export function ensureWitnessed(what: 'commit' | 'batch', found: number, witnessed: number, directory: string): void {
  if (found >= witnessed) return
  const facts = { directory, found: String(found), durable: String(witnessed) }
  const message = `the store in ${directory} ends at ${what} ${found}, but ${what} ${witnessed} was durable`
  throw new ParleyError('store_damaged', `${message}: its files were damaged, or replaced by older ones`, facts)
}
