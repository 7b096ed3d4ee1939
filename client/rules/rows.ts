// What an engine remembers of its database, whose only writer it is, so that a turn asks it little: rows that are needed
// again soon, and how far the keys of a table go, since nothing can be beyond. What is remembered is what is committed.
import { ROWS_KEPT_BYTES } from '../limits.ts'
import type { DbReader, KeyValue, TableName, Tables } from './schema.ts'

type AnyRow = Tables[TableName]

export type Change = {
  readonly table: TableName
  readonly key: readonly KeyValue[]
  readonly row: AnyRow | undefined
}

export type Rows = {
  get<T extends TableName>(table: T, key: readonly KeyValue[]): Tables[T] | undefined
  /** After the commit. `name`: that of `nameOf`. */
  committed(name: string, change: Change): void
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

/** Tables whose rows come in the order of the last column of their key. */
const GROWS: ReadonlySet<TableName> = new Set(['messages', 'unread'])

export function nameOf(table: TableName, key: readonly KeyValue[]): string {
  let name: string = table
  for (const value of key) name += `\0${value}`
  return name
}

export function openRows(db: DbReader): Rows {
  const rows = new Map<string, { readonly row: AnyRow; readonly bytes: number }>()
  let bytes = 0
  const ends = new Map<string, number>()

  const forget = (name: string): void => {
    bytes -= rows.get(name)?.bytes ?? 0
    rows.delete(name)
  }
  const remember = (name: string, row: AnyRow): void => {
    forget(name)
    const size = bytesOf(row)
    rows.set(name, { row, bytes: size })
    bytes += size
    for (const oldest of rows.keys()) {
      if (bytes <= ROWS_KEPT_BYTES) return
      forget(oldest)
    }
  }
  const endOf = (table: TableName, prefix: readonly KeyValue[]): number => {
    const name = nameOf(table, prefix)
    let end = ends.get(name)
    if (end === undefined) {
      const [last] = db.scan(table, { index: undefined, prefix, from: undefined, reverse: true, limit: 1 })
      end = last ? lastOf(table, last) : Number.NEGATIVE_INFINITY
      ends.set(name, end)
    }
    return end
  }

  return {
    get<T extends TableName>(table: T, key: readonly KeyValue[]) {
      const name = nameOf(table, key)
      const kept = rows.get(name)
      if (kept) return kept.row as Tables[T]
      if (GROWS.has(table) && (key.at(-1) as number) > endOf(table, key.slice(0, -1))) return undefined
      const row = db.get(table, key)
      if (row && isNeededAgain(table, row)) remember(name, row)
      return row
    },
    committed(name, { table, key, row }) {
      if (!row) forget(name)
      else if (rows.has(name) || isNeededAgain(table, row)) remember(name, row)
      if (!row || !GROWS.has(table)) return
      const prefix = nameOf(table, key.slice(0, -1))
      const end = ends.get(prefix)
      if (end !== undefined) ends.set(prefix, Math.max(end, key.at(-1) as number))
    },
  }
}

function lastOf(table: TableName, row: AnyRow): number {
  return table === 'messages' ? (row as Tables['messages']).k : (row as Tables['unread']).at
}
