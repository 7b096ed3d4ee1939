// The journal: files of fixed size, written through to the disk (O_DSYNC) where zeros or records of old lie already, so
// that an append is one write of data and no change of a file's size. What was let go of is written over again.
// Format: segment.ts. Why not in level: decisions/016-the-journal-has-files-of-its-own.md.
//
// A segment may be written over when a mark above its records is durable: else a crash would find a gap. After a crash the newest segment may end in half a frame, which nobody was told of; a frame behind it means damage, as does a
// number that is missing between others. Every boot begins a segment of its own.
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, readdir, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ParleyError, systemClock } from '#protocol'
import { STORE_SEGMENT_MAX_BYTES, STORE_SEGMENT_MIN_BYTES, STORE_SLICE_BYTES, STORE_SPARE_BYTES } from '../limits.ts'
import { readInto } from './read-into.ts'
import { Rests } from './rests.ts'
import {
  BLOCK_BYTES,
  FRAME_HEAD_BYTES,
  FRAMES_AT,
  type Frame,
  frameBytes,
  frameHead,
  MARKS_AT,
  readSegment,
  type SegmentHead,
  segmentHead,
  segmentMark,
} from './segment.ts'
import type { Journal } from './types.ts'

const FILE = /^journal-(\d+)$/
const NONCE_BYTES = 8
const ZEROS = Buffer.alloc(STORE_SLICE_BYTES)
/** Where the platform lacks O_DSYNC, every write is followed by a call of its own. */
const WRITE_THROUGH = constants.O_DSYNC ?? 0

type Space = { readonly path: string; readonly bytes: number }
/** `last`: the newest record in it. */
type Segment = Space & { readonly frames: readonly Frame[]; last: number }
type Current = {
  readonly segment: Segment
  readonly head: SegmentHead
  readonly file: FileHandle
  at: number
  markAt: number
}

export type Segments = AsyncDisposable & {
  readonly journal: Journal
  /** The number of the newest record that was found, 0 if there was none. */
  readonly last: number
}

function damaged(what: string, facts: { [name: string]: string }): ParleyError {
  return new ParleyError('store_damaged', `the store is damaged: ${what}`, facts)
}

/** Throws ParleyError `store_damaged`. `firstBytes`: the size of the first segment; each next one is twice as large. */
export async function openSegments(options: {
  directory: string
  bootId: Uint8Array
  firstBytes?: number | undefined
}): Promise<Segments> {
  const { directory, bootId, firstBytes = STORE_SEGMENT_MIN_BYTES } = options
  const found = await findSegments(directory, bootId)
  const journal = new SegmentJournal({ directory, bootId, firstBytes, found })
  return { journal, last: found.last, [Symbol.asyncDispose]: () => journal.close() }
}

type Found = {
  readonly segments: Segment[]
  /** Path of a segment -> what it holds. */
  readonly contents: Map<string, Buffer>
  readonly spare: Space[]
  readonly low: number
  readonly last: number
  /** The highest numbers given so far, of a segment, a boot and a file. */
  readonly newest: { readonly segment: number; readonly boot: number; readonly file: number }
}

async function findSegments(directory: string, bootId: Uint8Array): Promise<Found> {
  const spare: Space[] = []
  const used: (Segment & { readonly segment: number })[] = []
  const contents = new Map<string, Buffer>()
  const newest = { segment: 0, boot: 0, file: 0 }
  const strays: { file: string; number: number }[] = []
  let low = 1
  let room: Buffer = Buffer.alloc(0)
  for (const name of await readdir(directory)) {
    const file = FILE.exec(name)?.[1]
    if (!file) continue
    newest.file = Math.max(newest.file, Number(file))
    const path = join(directory, name)
    const bytes = await readInto(path, room)
    room = Buffer.from(bytes.buffer)
    const space = { path, bytes: bytes.length }
    const read = readSegment(bytes)
    if (!read) {
      spare.push(space)
      continue
    }
    const { head, frames } = read
    strays.push({ file: name, number: read.stray })
    if (Buffer.from(bootId).equals(head.bootId)) throw new Error('a boot id is never used again')
    low = Math.max(low, read.low)
    newest.boot = Math.max(newest.boot, head.boot)
    newest.segment = Math.max(newest.segment, head.segment)
    const last = frames.at(-1)?.number ?? 0
    used.push({ ...space, frames, last, segment: head.segment })
    if (last < low) continue
    contents.set(path, bytes)
    room = Buffer.alloc(0)
  }
  const stray = strays.find(({ number }) => number >= low)
  if (stray) throw damaged('a journal record is damaged', { file: stray.file, before: `${stray.number}` })
  used.sort((a, b) => a.segment - b.segment)
  const segments = used.filter(({ last }) => last >= low)
  for (const old of used.filter(({ last }) => last < low)) {
    spare.push(old)
    contents.delete(old.path)
  }
  const last = ensureDense(segments, low)
  await settle(segments.at(-1))
  return { segments, contents, spare, low, last, newest }
}

/** The number of the last record. */
function ensureDense(segments: readonly Segment[], low: number): number {
  let next = low
  for (const { frames } of segments) {
    for (const { number } of frames) {
      if (number < low) continue
      if (number !== next) throw damaged('a journal record is missing', { missing: `${next}`, found: `${number}` })
      next++
    }
  }
  return next - 1
}

/** A write that was under way when its process died may still be on its way to the disk. */
async function settle(segment: Segment | undefined): Promise<void> {
  if (!segment) return
  await using file = await open(segment.path, 'r+')
  await file.datasync()
}

class SegmentJournal implements Journal {
  readonly #directory: string
  readonly #boot: { readonly boot: number; readonly bootId: Uint8Array }
  readonly #segments: Segment[]
  /** What was read when it was opened, until it is asked for: nothing is read twice at a start. */
  readonly #contents: Map<string, Buffer>
  readonly #spare: Space[]
  /** Files that are of no use any more. */
  #waste: Space[]
  #newestSegment: number
  #newestFile: number
  /** What the next new file will hold. */
  #nextBytes: number
  #low: number
  #current: Current | undefined
  #appending: Promise<void> | undefined
  #preparing: Promise<void> | undefined
  /** While the next file is made. */
  readonly #rests = new Rests(systemClock)

  constructor(options: { directory: string; bootId: Uint8Array; firstBytes: number; found: Found }) {
    const { directory, bootId, firstBytes, found } = options
    const fits = ({ bytes }: Space): boolean => bytes >= firstBytes && bytes % BLOCK_BYTES === 0
    this.#directory = directory
    this.#boot = { boot: found.newest.boot + 1, bootId }
    this.#segments = found.segments
    this.#contents = found.contents
    this.#spare = found.spare.filter(fits)
    this.#waste = found.spare.filter((space) => !fits(space))
    this.#newestSegment = found.newest.segment
    this.#newestFile = found.newest.file
    const sizes = [...found.segments, ...found.spare].map(({ bytes }) => bytes)
    this.#nextBytes = Math.min(Math.max(firstBytes, ...sizes), STORE_SEGMENT_MAX_BYTES)
    this.#low = found.low
  }

  append(number: number, record: Uint8Array): Promise<void> {
    this.#appending = this.#append(number, record)
    return this.#appending
  }

  async #append(number: number, record: Uint8Array): Promise<void> {
    const taken = frameBytes(record.length)
    const parts: Buffer[] = []
    let current = this.#current
    if (!current || current.at + taken > current.segment.bytes) {
      this.#contents.clear()
      current = await this.#begin(FRAMES_AT + taken)
      const mark = segmentMark(current.head, this.#low)
      parts.push(segmentHead(current.head), mark, mark)
    }
    parts.push(frameHead(current.head, number, record), Buffer.from(record.buffer, record.byteOffset, record.length))
    const padding = taken - FRAME_HEAD_BYTES - record.length
    if (padding > 0) parts.push(ZEROS.subarray(0, padding))
    await writeThrough(current.file, parts, current.at)
    for (const { length } of parts) current.at += length
    current.segment.last = number
    if (this.#spare.length === 0) this.#prepare()
  }

  async *replay(from: number): AsyncIterable<{ number: number; record: Uint8Array }> {
    for (const { path, frames } of [...this.#segments]) {
      if (frames.length === 0 || frames.at(-1)!.number < Math.max(from, this.#low)) continue
      const bytes = this.#contents.get(path) ?? (await readFile(path))
      this.#contents.delete(path)
      for (const frame of frames) {
        if (frame.number < Math.max(from, this.#low)) continue
        yield { number: frame.number, record: bytes.subarray(frame.from, frame.to) }
      }
    }
  }

  async trim(below: number): Promise<void> {
    if (below <= this.#low) return
    this.#low = below
    // A segment that is just being begun says it itself, and may say less: then what is released waits for the next time.
    const current = this.#current
    if (!current || current.at === 0) return
    const [one, other] = MARKS_AT
    current.markAt = current.markAt === one ? other : one
    await writeThrough(current.file, [segmentMark(current.head, below)], current.markAt)
    this.#release(below)
  }

  async close(): Promise<void> {
    // Else it would go on, and make files, in a directory that is another's by then.
    await this.#appending?.catch(() => {})
    await this.#prepared()
    await this.#current?.file.close()
    this.#current = undefined
  }

  /** Records below `low` are not needed, and a durable mark says so. */
  #release(low: number): void {
    while (this.#segments.length > 1 && this.#segments[0]!.last < low) {
      const { path, bytes } = this.#segments.shift()!
      this.#spare.push({ path, bytes })
    }
    let kept = 0
    for (const { bytes } of this.#spare) kept += bytes
    for (; kept > STORE_SPARE_BYTES; kept -= this.#waste.at(-1)!.bytes) this.#waste.push(this.#spare.shift()!)
    for (const { path } of this.#waste) {
      // What cannot be removed is found again by the next boot.
      unlink(path).catch(() => {})
    }
    this.#waste = []
  }

  async #begin(least: number): Promise<Current> {
    const full = this.#current
    this.#current = undefined
    await full?.file.close()
    await this.#prepared()
    let fits = this.#spare.findIndex(({ bytes }) => bytes >= least)
    if (fits < 0) {
      await this.#make(least)
      fits = this.#spare.length - 1
    }
    const [space] = this.#spare.splice(fits, 1) as [Space]
    const segment: Segment = { ...space, frames: [], last: Number.POSITIVE_INFINITY }
    const file = await open(space.path, constants.O_RDWR | WRITE_THROUGH)
    const head = { ...this.#boot, segment: ++this.#newestSegment, nonce: randomBytes(NONCE_BYTES) }
    this.#segments.push(segment)
    this.#current = { segment, head, file, at: 0, markAt: 0 }
    return this.#current
  }

  /** Makes the next file while the one before is being written. What fails now fails again, and loudly, in `#begin`. */
  #prepare(): void {
    const done = (): void => {
      this.#preparing = undefined
    }
    if (this.#preparing) return
    this.#rests.leisurely()
    this.#preparing = this.#make(0).then(done, done)
  }

  async #prepared(): Promise<void> {
    this.#rests.hurry()
    await this.#preparing
  }

  /** A new file of zeros, durably there. */
  async #make(least: number): Promise<void> {
    const bytes = Math.max(this.#nextBytes, Math.ceil(least / BLOCK_BYTES) * BLOCK_BYTES)
    this.#nextBytes = Math.min(2 * this.#nextBytes, STORE_SEGMENT_MAX_BYTES)
    const path = join(this.#directory, `journal-${++this.#newestFile}`)
    try {
      await writeZeros(path, bytes, this.#rests)
    } catch (error) {
      await unlink(path).catch(() => {})
      throw error
    }
    await using directory = await open(this.#directory, 'r')
    await directory.sync()
    this.#spare.push({ path, bytes })
  }
}

/** Each piece is on the disk before the next one: many at once would keep appends waiting. */
async function writeZeros(path: string, bytes: number, rests: Rests): Promise<void> {
  await using file = await open(path, 'wx', 0o600)
  for (let at = 0; at < bytes; at += ZEROS.length) {
    const piece = ZEROS.subarray(0, Math.min(ZEROS.length, bytes - at))
    await rests.after(async () => {
      await writeAll(file, [piece], at)
      await file.datasync()
    })
  }
  await file.sync()
}

async function writeThrough(file: FileHandle, parts: readonly Buffer[], at: number): Promise<void> {
  await writeAll(file, parts, at)
  if (!WRITE_THROUGH) await file.datasync()
}

async function writeAll(file: FileHandle, parts: readonly Buffer[], at: number): Promise<void> {
  let wanted = 0
  for (const { length } of parts) wanted += length
  const { bytesWritten } = await file.writev(parts as Buffer[], at)
  if (bytesWritten !== wanted) throw new Error(`only ${bytesWritten} of ${wanted} bytes could be written`)
}
