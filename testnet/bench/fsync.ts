// What it costs to make a lone message's commit durable where the relays keep their stores: the unit of its round trip. It
// is what their journal does (relay/store/segments.ts), no more: one frame is written through to the disk (O_DSYNC) where
// zeros lie already, so neither the file's size nor its blocks change. An append with a call of its own costs up to twice that.
import { constants } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '#protocol'
import { Histogram } from '../load/histogram.ts'

const TRIES = 300
/** Frames of the journal fill whole blocks of this size. */
const BLOCK_BYTES = 4 * 1024
const FRAME_HEAD_BYTES = 24
/** The record of a commit of the row `lone`: half of them have 1.3 to 1.9 KB, so that a frame is one block. */
const RECORD_BYTES = 1_536
/** The journal's first file, and how much of it is zeroed at a time. */
const FILE_BYTES = 1024 * 1024
const PIECE_BYTES = 256 * 1024
/** Where the platform lacks O_DSYNC, every write is followed by a call of its own. */
const WRITE_THROUGH = constants.O_DSYNC ?? 0

/** A file of zeros, durably there, like the spare one of a journal. */
async function makeSpare(path: string): Promise<void> {
  const zeros = Buffer.alloc(PIECE_BYTES)
  await using file = await open(path, 'wx', 0o600)
  for (let at = 0; at < FILE_BYTES; at += PIECE_BYTES) {
    await file.write(zeros, 0, PIECE_BYTES, at)
    await file.datasync()
  }
  await file.sync()
}

async function writeFrame(file: FileHandle, at: number): Promise<void> {
  const head = Buffer.alloc(FRAME_HEAD_BYTES, 1)
  const record = Buffer.alloc(RECORD_BYTES, 2)
  const padding = Buffer.alloc(BLOCK_BYTES - FRAME_HEAD_BYTES - RECORD_BYTES)
  await file.writev([head, record, padding], at)
  if (!WRITE_THROUGH) await file.datasync()
}

/** Writes one frame after the other, over and over the same file; microseconds. */
export async function measureFsync(dir: string, tries = TRIES): Promise<Histogram> {
  const path = join(dir, 'fsync')
  const found = new Histogram()
  await rm(path, { force: true })
  try {
    await makeSpare(path)
    await using file = await open(path, constants.O_RDWR | WRITE_THROUGH)
    for (let i = 0; i < tries; i++) {
      const from = systemClock.monotonic()
      await writeFrame(file, (i * BLOCK_BYTES) % FILE_BYTES)
      found.record((systemClock.monotonic() - from) * 1_000)
    }
  } finally {
    await rm(path, { force: true })
  }
  return found
}
