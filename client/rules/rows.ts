// What an engine remembers of its database, whose only writer it is, so that a turn asks it little: rows that are needed
// again soon, and how far the keys of a table go, since nothing can be beyond. What is remembered is what is committed.
import { ROWS_KEPT_BYTES } from '../limits.ts'
import { type Keyed, keyed } from './keyed.ts'
import type { DbReader, KeyValue, TableName, Tables } from './schema.ts'

type AnyRow = Tables[TableName]

export type Change = {
  readonly table: TableName
  readonly key: readonly KeyValue[]
  /** As it stands in the database, if that is remembered. */
  readonly was: AnyRow | undefined
  row: AnyRow | undefined
}

export type Rows = {
  get<T extends TableName>(table: T, key: readonly KeyValue[]): Tables[T] | undefined
  /** A row that is remembered; nothing is asked for. */
  known<T extends TableName>(table: T, key: readonly KeyValue[]): Tables[T] | undefined
  /** After the commit. */
  committed(change: Change): void
}

const ROW_BYTES = 256

/** Tables of which rows are kept: what was said, what is encrypted, whom this device talks to. How many bytes a row takes. */
const KEPT: { readonly [T in TableName]?: (row: Tables[T]) => number } = {
  messages: ({ body }) => ROW_BYTES + body.length,
  sealed: ({ submission }) => ROW_BYTES + submission.length,
  contacts: ({ home, manifest }) => ROW_BYTES + (home?.length ?? 0) + (manifest?.length ?? 0),
}
const bytesOf = (table: TableName, row: AnyRow): number => KEPT[table]?.(row as never) ?? 0

/** What has its number is read by people, not by the engine. */
const isNeededAgain = (table: TableName, row: AnyRow): boolean =>
  table !== 'messages' || (row as Tables['messages']).status !== 'sequenced'

type Kept = { readonly table: TableName; readonly key: readonly KeyValue[]; row: AnyRow; bytes: number }

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
    /** A row that is known stays known as what it becomes. */
    put(table: TableName, key: readonly KeyValue[], row: AnyRow, known: Kept | undefined): void {
      const size = bytesOf(table, row)
      if (known) {
        bytes += size - known.bytes
        known.row = row
        known.bytes = size
      } else if (isNeededAgain(table, row)) {
        const kept = { table, key, row, bytes: size }
        bytes += size
        rows.set(table, key, kept)
        order.add(kept)
      }
      if (bytes <= ROWS_KEPT_BYTES) return
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
      const known = table in KEPT ? kept.get(table, key) : undefined
      if (known) return known.row as Tables[T]
      if (isGrowing(table) && ends.isBeyond(table, key)) return undefined
      const row = db.get(table, key)
      if (row && table in KEPT) kept.put(table, key, row, undefined)
      return row
    },
    known: <T extends TableName>(table: T, key: readonly KeyValue[]) =>
      table in KEPT ? (kept.get(table, key)?.row as Tables[T] | undefined) : undefined,
    committed({ table, key, row }) {
      if (table in KEPT) {
        const known = kept.get(table, key)
        if (row) kept.put(table, key, row, known)
        else if (known) kept.forget(known)
      }
      if (row && isGrowing(table)) ends.grew(table, key)
    },
  }
}
