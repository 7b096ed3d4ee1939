// Journal and rows in one level database. The directory's lock is the fence: it ends with the process that holds it.
//
// Keys: journal  'j' · boot u32 · bootId 16 · number u64 -> record
//       rows     'r' · partition with 00 written as 00 ff · 00 01 · key -> row
// Every boot has a journal of its own, and boots are counted, so journal keys stand in the order of their numbers. No
// partition's prefix is the beginning of another's, and within one the order is that of the keys.
import { mkdir, statfs } from 'node:fs/promises'
import { Level } from 'level'
import { ParleyError } from '#protocol'
import { STORE_RESERVE_BYTES } from '../limits.ts'
import type { Backend, Journal, RangeOptions, Rows } from './types.ts'

const JOURNAL = 0x6a
const BOOT_ID_BYTES = 16
const BOOT_AT = 1
const BOOT_ID_AT = BOOT_AT + 4
const NUMBER_AT = BOOT_ID_AT + BOOT_ID_BYTES
const JOURNAL_KEY_BYTES = NUMBER_AT + 8
const TRIM_BATCH = 1_000
const WRITE_BUFFER_BYTES = 16 * 1024 * 1024

type Database = Level<Buffer, Buffer>

/**
 * Opens, or makes, the store in `directory` for the boot named by 16 random bytes.
 * Throws ParleyError `store_in_use` when another process has it, `store_damaged` when level cannot read it.
 */
export async function openLevel(options: {
  directory: string
  bootId: Uint8Array
  reserveBytes?: number | undefined
}): Promise<Backend> {
  const { directory, bootId, reserveBytes = STORE_RESERVE_BYTES } = options
  if (bootId.length !== BOOT_ID_BYTES) throw new Error(`a boot id has ${BOOT_ID_BYTES} bytes`)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const encoding = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const
  const database: Database = new Level(directory, {
    ...encoding,
    compression: false,
    writeBufferSize: WRITE_BUFFER_BYTES,
  })
  try {
    await database.open()
    const boot = await nextBoot(database, bootId)
    return {
      journal: journalOf(database, boot, bootId),
      rows: rowsOf(database),
      async freeBytes() {
        const { bavail, bsize } = await statfs(directory)
        return bavail * bsize - reserveBytes
      },
      [Symbol.asyncDispose]: () => database.close(),
    }
  } catch (error) {
    await database.close()
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

async function nextBoot(database: Database, bootId: Uint8Array): Promise<number> {
  let newest = 0
  for await (const key of database.keys({
    gte: Buffer.of(JOURNAL),
    lt: Buffer.of(JOURNAL + 1),
    reverse: true,
    limit: 1,
  })) {
    newest = key.readUInt32BE(BOOT_AT)
    if (key.subarray(BOOT_ID_AT, NUMBER_AT).equals(bootId)) throw new Error('a boot id is never used again')
  }
  return newest + 1
}

function journalOf(database: Database, boot: number, bootId: Uint8Array): Journal {
  const keyOf = (number: number): Buffer => {
    const key = Buffer.alloc(JOURNAL_KEY_BYTES)
    key[0] = JOURNAL
    key.writeUInt32BE(boot, BOOT_AT)
    key.set(bootId, BOOT_ID_AT)
    key.writeBigUInt64BE(BigInt(number), NUMBER_AT)
    return key
  }
  const numberOf = (key: Buffer): number => {
    if (key.length !== JOURNAL_KEY_BYTES) throw new ParleyError('store_damaged', 'a journal key is damaged')
    return Number(key.readBigUInt64BE(NUMBER_AT))
  }
  const end = Buffer.of(JOURNAL + 1)
  // Where the journal begins: looking for it from its very start would walk over everything ever trimmed.
  let first = Buffer.of(JOURNAL)
  return {
    append: (number, record) => database.put(keyOf(number), record as Buffer, { sync: true }),
    async *replay(from) {
      try {
        for await (const [key, record] of database.iterator({ gte: first, lt: end })) {
          const number = numberOf(key)
          if (number >= from) yield { number, record }
        }
      } catch (error) {
        throw translated(error, database.location)
      }
    },
    async trim(below) {
      for (;;) {
        const keys = await database.keys({ gte: first, lt: end, limit: TRIM_BATCH }).all()
        const old = keys.filter((key) => numberOf(key) < below)
        await database.batch(old.map((key) => ({ type: 'del', key })))
        if (old.length < TRIM_BATCH) return
        first = old.at(-1)!
      }
    },
  }
}

function prefixOf(partition: string): Buffer {
  return Buffer.from(`r${partition.replaceAll('\0', '\0\xff')}\0\x01`, 'latin1')
}

function keyOf(prefix: Buffer, key: string): Buffer {
  return Buffer.concat([prefix, Buffer.from(key, 'latin1')])
}

function rowsOf(database: Database): Rows {
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
      const found = await reading(database.iterator({ ...bounds(prefix, options), limit, reverse }).all())
      return found.map(([key, value]) => [key.toString('latin1', prefix.length), value])
    },
    async apply(changes) {
      const batch = database.batch()
      for (const { partition, key, value } of changes) {
        const name = keyOf(prefixOf(partition), key)
        if (value) batch.put(name, value as Buffer)
        else batch.del(name)
      }
      await batch.write({ sync: true })
    },
  }
}
