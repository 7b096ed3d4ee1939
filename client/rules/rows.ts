// What an engine remembers of its database, whose only writer it is, so that a turn asks it little: rows that are needed
// again soon, and how far the keys of a table go, since nothing can be beyond. What is remembered is what is committed.
import { ROWS_KEPT_BYTES } from '../limits.ts'
import { type Keyed, keyed } from './keyed.ts'
import type { DbReader, KeyValue, TableName, Tables } from './schema.ts'

type AnyRow = Tables[TableName]

export type Change = {
  readonly table: TableName
  readonly key: readonly KeyValue[]
  row: AnyRow | undefined
}

export type Rows = {
  get<T extends TableName>(table: T, key: readonly KeyValue[]): Tables[T] | undefined
  /** After the commit. */
  committed(change: Change): void
}

/** Said and not numbered yet, encrypted and not sent yet, and everybody whom this device talks to. */
function isNeededAgain(table: TableName, row: AnyRow): boolean {
  if (table === 'messages') return (row as Tables['messages']).status !== 'sequenced'
  return table === 'contacts' || table === 'sealed'
}

const ROW_BYTES = 256

function bytesOf(row: AnyRow): number {
  let sum = ROW_BYTES
  for (const value of Object.values(row)) if (value instanceof Uint8Array) sum += value.length
  return sum
}

type Kept = Change & { row: AnyRow; bytes: number }

/** The rows, the longest known first to go. */
function keptRows() {
  const rows: Keyed<Kept> = keyed()
  const order = new Set<Kept>()
  let bytes = 0
  const forget = (kept: Kept): void => {
    bytes -= kept.bytes
    order.delete(kept)
    rows.delete(kept.table, kept.key)
  }
  return {
    get: rows.get,
    forget,
    put(table: TableName, key: readonly KeyValue[], row: AnyRow): void {
      const known = rows.get(table, key)
      const size = bytesOf(row)
      bytes += size - (known?.bytes ?? 0)
      if (known) {
        known.row = row
        known.bytes = size
      } else {
        const kept = { table, key, row, bytes: size }
        rows.set(table, key, kept)
        order.add(kept)
      }
      for (const oldest of order) {
        if (bytes <= ROWS_KEPT_BYTES) return
        forget(oldest)
      }
    },
  }
}

/** Tables whose rows come in the order of the last column of their key: `messages` by k, `unread` by place. */
type Growing = 'messages' | 'unread'
const isGrowing = (table: TableName): table is Growing => table === 'messages' || table === 'unread'

/** The highest last column of each prefix of a growing table that was asked for. */
function keyEnds(db: DbReader) {
  const ends: Keyed<number> = keyed()
  const read = (table: Growing, prefix: readonly KeyValue[]): number => {
    const [last] = db.scan(table, { index: undefined, prefix, from: undefined, reverse: true, limit: 1 })
    if (!last) return Number.NEGATIVE_INFINITY
    return table === 'messages' ? (last as Tables['messages']).k : last.at
  }
  return {
    isBeyond(table: Growing, key: readonly KeyValue[]): boolean {
      const prefix = key.slice(0, -1)
      let end = ends.get(table, prefix)
      if (end === undefined) {
        end = read(table, prefix)
        ends.set(table, prefix, end)
      }
      return (key[key.length - 1] as number) > end
    },
    grew(table: Growing, key: readonly KeyValue[]): void {
      const prefix = key.slice(0, -1)
      const end = ends.get(table, prefix)
      const last = key[key.length - 1] as number
      if (end !== undefined && last > end) ends.set(table, prefix, last)
    },
  }
}

export function openRows(db: DbReader): Rows {
  const kept = keptRows()
  const ends = keyEnds(db)
  return {
    get<T extends TableName>(table: T, key: readonly KeyValue[]) {
      const known = kept.get(table, key)
      if (known) return known.row as Tables[T]
      if (isGrowing(table) && ends.isBeyond(table, key)) return undefined
      const row = db.get(table, key)
      if (row && isNeededAgain(table, row)) kept.put(table, key, row)
      return row
    },
    committed({ table, key, row }) {
      const known = kept.get(table, key)
      if (row && (known || isNeededAgain(table, row))) kept.put(table, key, row)
      else if (known) kept.forget(known)
      if (row && isGrowing(table)) ends.grew(table, key)
    },
  }
}
