// What one fsync costs where the relays keep their stores: the unit of the lone message's round trip.
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '#protocol'
import { Histogram } from '../load/histogram.ts'

const TRIES = 300
const BYTES = 1_024

/** Appends a kilobyte and syncs, again and again; microseconds. */
export async function measureFsync(dir: string): Promise<Histogram> {
  const file = join(dir, 'fsync')
  const found = new Histogram()
  const handle = await open(file, 'w')
  try {
    const bytes = Buffer.alloc(BYTES, 1)
    for (let i = 0; i < TRIES; i++) {
      const from = systemClock.monotonic()
      await handle.write(bytes)
      await handle.datasync()
      found.record((systemClock.monotonic() - from) * 1_000)
    }
  } finally {
    await handle.close()
    await rm(file, { force: true })
  }
  return found
}
