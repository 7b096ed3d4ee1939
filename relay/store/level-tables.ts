// level keeps what is old in table files (`.ldb`) that never change, each block of them with a checksum, and does not look
// at these checksums when it reads: a flipped bit in a key would hide a row, silently. So every table is checked once,
// before the store is opened. Format: LevelDB, doc/table_format.md; checksums are CRC-32C, masked.
import { readdir } from 'node:fs/promises'
import { endianness } from 'node:os'
import { join } from 'node:path'
import { ParleyError } from '#protocol'
import { readInto } from './read-into.ts'

const FOOTER_BYTES = 48
const TRAILER_BYTES = 5
const MAGIC = 0xdb4775248b80fb57n
const MASK_DELTA = 0xa282ead8
const POLYNOMIAL = 0x82f63b78

/** TABLES[n][b]: what byte b does to the checksum with n more bytes behind it. */
const TABLES = Array.from({ length: 8 }, () => new Uint32Array(256))
for (const [more, table] of TABLES.entries()) {
  for (let byte = 0; byte < 256; byte++) {
    let crc = more === 0 ? byte : TABLES[more - 1]![byte]!
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
    table[byte] = crc
  }
}
const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
]
const WORDS = endianness() === 'LE'
const NONE = new Uint32Array(0)

/** Eight bytes at a time: all tables are read at every start. */
export function crc32c(bytes: Uint8Array): number {
  const { length } = bytes
  const lead = WORDS && length > 8 ? -bytes.byteOffset & 3 : length
  let crc = singly(0xffffffff, bytes, 0, lead)
  const count = ((length - lead) >>> 3) * 2
  const words = count > 0 ? new Uint32Array(bytes.buffer, bytes.byteOffset + lead, count) : NONE
  for (let i = 0; i < count; i += 2) {
    const one = words[i]! ^ crc
    const two = words[i + 1]!
    crc =
      T7[one & 255]! ^
      T6[(one >>> 8) & 255]! ^
      T5[(one >>> 16) & 255]! ^
      T4[one >>> 24]! ^
      T3[two & 255]! ^
      T2[(two >>> 8) & 255]! ^
      T1[(two >>> 16) & 255]! ^
      T0[two >>> 24]!
  }
  return (singly(crc, bytes, lead + 4 * count, length) ^ 0xffffffff) >>> 0
}

function singly(crc: number, bytes: Uint8Array, from: number, to: number): number {
  for (let i = from; i < to; i++) crc = T0[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8)
  return crc
}

type Cursor = { at: number }
type Handle = { readonly offset: number; readonly size: number }

class Damaged extends Error {}

function varint(bytes: Buffer, cursor: Cursor): number {
  let value = 0
  for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
    const byte = bytes[cursor.at++]
    if (byte === undefined) break
    value += (byte & 127) * scale
    if (byte < 128) return value
  }
  throw new Damaged('a number that does not end')
}

function handle(bytes: Buffer, cursor: Cursor): Handle {
  const offset = varint(bytes, cursor)
  return { offset, size: varint(bytes, cursor) }
}

/** The contents of a block whose checksum holds. */
function block(table: Buffer, { offset, size }: Handle): Buffer {
  const end = offset + size + TRAILER_BYTES
  if (end > table.length - FOOTER_BYTES) throw new Damaged('a block beyond the end')
  const masked = table.readUInt32LE(end - 4)
  const rotated = (masked - MASK_DELTA) >>> 0
  const crc = ((rotated >>> 17) | (rotated << 15)) >>> 0
  if (crc32c(table.subarray(offset, end - 4)) !== crc) throw new Damaged('a block with another checksum')
  if (table[end - TRAILER_BYTES] !== 0) throw new Damaged('a compressed block, though compression is off')
  return table.subarray(offset, offset + size)
}

/** The handles that an index block leads to. */
function handlesIn(index: Buffer): Handle[] {
  const restarts = index.readUInt32LE(index.length - 4)
  const end = index.length - 4 * (restarts + 1)
  const out: Handle[] = []
  const cursor: Cursor = { at: 0 }
  while (cursor.at < end) {
    varint(index, cursor)
    const keyBytes = varint(index, cursor)
    const valueBytes = varint(index, cursor)
    cursor.at += keyBytes
    const value: Cursor = { at: cursor.at }
    out.push(handle(index, value))
    cursor.at += valueBytes
  }
  return out
}

/** Throws when a block of the table does not have its checksum, or the table is no table. */
export function verifyTable(table: Buffer): void {
  if (table.length < FOOTER_BYTES) throw new Damaged('no footer')
  const footer = table.subarray(table.length - FOOTER_BYTES)
  if (footer.readBigUInt64LE(FOOTER_BYTES - 8) !== MAGIC) throw new Damaged('no footer')
  const cursor: Cursor = { at: 0 }
  const roots = [handle(footer, cursor), handle(footer, cursor)]
  for (const root of roots) for (const leaf of handlesIn(block(table, root))) block(table, leaf)
}

/** The names of the tables in a directory; none if it does not exist. */
export async function tablesIn(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => /\.(ldb|sst)$/.test(name))
}

/**
 * Checks those of the tables that level still uses. `before` was listed before level was opened: opening removes what a
 * crash had left half written, and what level writes from then on is not complete yet. Throws ParleyError `store_damaged`.
 */
export async function verifyTables(directory: string, before: readonly string[]): Promise<void> {
  const now = new Set(await tablesIn(directory))
  const names = before.filter((name) => now.has(name))
  const rooms: Buffer[] = [Buffer.alloc(0), Buffer.alloc(0)]
  const read = async (i: number): Promise<Buffer | undefined> => {
    const name = names[i]
    if (name === undefined) return undefined
    const table = await readInto(join(directory, name), rooms[i % 2]!).catch(gone)
    if (table) rooms[i % 2] = Buffer.from(table.buffer)
    return table
  }
  let next = read(0)
  for (const [i, name] of names.entries()) {
    const table = await next
    // The disk reads the next one while this one is being looked at.
    next = read(i + 1)
    if (!table) continue
    try {
      verifyTable(table)
    } catch (error) {
      if (!(error instanceof Damaged) && !(error instanceof RangeError)) throw error
      const facts = { directory, file: name }
      throw new ParleyError('store_damaged', `the store is damaged: table ${name}: ${error.message}`, facts)
    }
  }
}

/** Compaction replaces tables and removes them. */
function gone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
