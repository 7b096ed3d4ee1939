// Rows in a level database, the journal in files beside it (segments.ts). The directory's lock is the fence: it ends with
// the process that holds it.
//
// Keys: stamps   's' · batch u64 -> the lowest batch whose stamp is kept, u64
//       rows     'r' · partition with 00 written as 00 ff · 00 01 · key -> row
// No partition's prefix is the beginning of another's, and within one the order is that of the keys.
import { mkdir, statfs } from 'node:fs/promises'
import { Level } from 'level'
import { ParleyError } from '#protocol'
import { BOOT_ID_BYTES, STORE_RESERVE_BYTES } from '../limits.ts'
import { tablesIn, verifyTables } from './level-tables.ts'
import { openSegments } from './segments.ts'
import type { Backend, Journal, RangeOptions, Rows } from './types.ts'
import { ensureWitnessed, openWitness, type Witness } from './witness.ts'

const STAMP = 0x73
/** What level hands over at a time when many rows are read: each time is a turn of a thread. */
const READ_AT_ONCE_BYTES = 256 * 1024
const WRITE_BUFFER_BYTES = 4 * 1024 * 1024
/** What level may still have in a log only: two write buffers. Stamps of batches within this are kept. */
const STAMPED_BYTES = 2 * WRITE_BUFFER_BYTES
/** What a batch counts for at least, so that the number of stamps is bounded too. */
const STAMP_LEAST_BYTES = 4 * 1024

type Database = Level<Buffer, Buffer>

/**
 * Opens, or makes, the store in `directory` for the boot named by 16 random bytes.
 * Throws ParleyError `store_in_use` when another process has it, `store_damaged` when level cannot read it.
 */
export async function openLevel(options: {
  directory: string
  bootId: Uint8Array
  reserveBytes?: number | undefined
  /** Of the journal's first file. */
  segmentBytes?: number | undefined
}): Promise<Backend> {
  const { directory, bootId, reserveBytes = STORE_RESERVE_BYTES, segmentBytes } = options
  if (bootId.length !== BOOT_ID_BYTES) throw new Error(`a boot id has ${BOOT_ID_BYTES} bytes`)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const encoding = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const
  const database: Database = new Level(directory, {
    ...encoding,
    compression: false,
    writeBufferSize: WRITE_BUFFER_BYTES,
  })
  let witness: Witness | undefined
  try {
    const tables = await tablesIn(directory)
    await database.open()
    await verifyTables(directory, tables)
    const opened = await openWitness(directory)
    witness = opened
    const segments = await openSegments({ directory, bootId, firstBytes: segmentBytes })
    ensureWitnessed('commit', segments.last, opened.found.commit, directory)
    const stamps = await openStamps(database)
    ensureWitnessed('batch', stamps.last, opened.found.batch, directory)
    return {
      journal: witnessed(segments.journal, opened),
      rows: rowsOf(database, stamps, opened),
      async freeBytes() {
        const { bavail, bsize } = await statfs(directory)
        return bavail * bsize - reserveBytes
      },
      async [Symbol.asyncDispose]() {
        await segments[Symbol.asyncDispose]()
        await database.close()
        await opened.close()
      },
    }
  } catch (error) {
    await database.close()
    await witness?.close()
    throw translated(error, directory)
  }
}

function translated(error: unknown, directory: string): unknown {
  const codes = new Set<unknown>()
  for (let at = error; at instanceof Error; at = at.cause) codes.add((at as { code?: unknown }).code)
  if (codes.has('LEVEL_LOCKED')) {
    return new ParleyError('store_in_use', `another process has the store in ${directory} open`, { directory })
  }
  if (codes.has('LEVEL_CORRUPTION')) {
    return new ParleyError('store_damaged', `the store in ${directory} is damaged`, { directory })
  }
  return error
}

function witnessed(journal: Journal, witness: Witness): Journal {
  return {
    async append(number, record) {
      await journal.append(number, record)
      witness.committed(number)
    },
    replay: (from) => journal.replay(from),
    trim: (below) => journal.trim(below),
  }
}

type Stamps = {
  last: number
  /** The bytes of the batches whose stamps are kept; the last one's at the end. */
  readonly kept: number[]
  keptBytes: number
}

function stampKey(batch: number): Buffer {
  const key = Buffer.alloc(9)
  key[0] = STAMP
  key.writeBigUInt64BE(BigInt(batch), 1)
  return key
}

async function openStamps(database: Database): Promise<Stamps> {
  const stamps: Stamps = { last: 0, kept: [], keptBytes: 0 }
  let low = 0
  let first = 0
  for await (const [key, value] of database.iterator({ gte: Buffer.of(STAMP), lt: Buffer.of(STAMP + 1) })) {
    const batch = key.length === 9 ? Number(key.readBigUInt64BE(1)) : -1
    if (value.length !== 8 || (stamps.last && batch !== stamps.last + 1)) throw lostBatch(stamps.last + 1)
    first ||= batch
    stamps.last = batch
    low = Number(value.readBigUInt64BE(0))
    // How large it was is forgotten; it leaves with those of this boot.
    stamps.kept.push(STAMP_LEAST_BYTES)
    stamps.keptBytes += STAMP_LEAST_BYTES
  }
  if (low < first) throw lostBatch(low)
  return stamps
}

function lostBatch(batch: number): ParleyError {
  return new ParleyError('store_damaged', 'the store is damaged: a batch of rows is missing', { batch: String(batch) })
}

function prefixOf(partition: string): Buffer {
  return Buffer.from(`r${partition.replaceAll('\0', '\0\xff')}\0\x01`, 'latin1')
}

function keyOf(prefix: Buffer, key: string): Buffer {
  return Buffer.concat([prefix, Buffer.from(key, 'latin1')])
}

function stamp(batch: ReturnType<Database['batch']>, stamps: Stamps, bytes: number): void {
  stamps.last++
  stamps.keptBytes += stamps.kept[stamps.kept.push(Math.max(bytes, STAMP_LEAST_BYTES)) - 1]!
  while (stamps.keptBytes - stamps.kept[0]! > STAMPED_BYTES) {
    batch.del(stampKey(stamps.last - stamps.kept.length + 1))
    stamps.keptBytes -= stamps.kept.shift()!
  }
  const low = Buffer.alloc(8)
  low.writeBigUInt64BE(BigInt(stamps.last - stamps.kept.length + 1), 0)
  batch.put(stampKey(stamps.last), low)
}

function rowsOf(database: Database, stamps: Stamps, witness: Witness): Rows {
  const reading = async <T>(read: Promise<T>): Promise<T> => {
    try {
      return await read
    } catch (error) {
      throw translated(error, database.location)
    }
  }
  const bounds = (prefix: Buffer, { from, to }: RangeOptions): { gte: Buffer; lt: Buffer } => {
    const after = Buffer.from(prefix)
    after[after.length - 1]!++
    return { gte: keyOf(prefix, from ?? ''), lt: to === undefined ? after : keyOf(prefix, to) }
  }
  return {
    get: (partition, key) => reading(database.get(keyOf(prefixOf(partition), key))),
    async range(partition, options) {
      const prefix = prefixOf(partition)
      const { limit, reverse } = options
      const within = { ...bounds(prefix, options), limit, reverse, highWaterMarkBytes: READ_AT_ONCE_BYTES }
      const found = await reading(database.iterator(within).all())
      return found.map(([key, value]) => [key.toString('latin1', prefix.length), value])
    },
    async apply(changes) {
      const batch = database.batch()
      let bytes = 0
      for (const { partition, key, value } of changes) {
        const name = keyOf(prefixOf(partition), key)
        if (value) batch.put(name, value as Buffer)
        else batch.del(name)
        bytes += name.length + (value ? value.length : 0)
      }
      stamp(batch, stamps, bytes)
      const number = stamps.last
      await batch.write({ sync: true })
      witness.applied(number)
    },
  }
}
