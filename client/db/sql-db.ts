// The tables of schema.ts in SQL. Statements are made from the description once and kept.
import type Database from '@signalapp/sqlcipher'
import type { Statement } from '@signalapp/sqlcipher'
import {
  type ColumnType,
  type DbReader,
  type DbWriter,
  type DeviceDb,
  type KeyValue,
  type ScanOptions,
  schema,
  type TableName,
  type TableShape,
  type Tables,
} from '../rules/schema.ts'

type Value = string | number | null | Uint8Array<ArrayBuffer>
type Shape = { readonly columns: Readonly<Record<string, ColumnType>>; readonly key: readonly string[] } & Pick<
  TableShape<unknown>,
  'indexes'
>

/** The driver binds an empty array as NULL, so it is written into the statement. */
const EMPTY_BLOB = "x''"
const isEmptyBlob = (value: Value): boolean => value instanceof Uint8Array && value.length === 0
const quoted = (name: string): string => `"${name}"`
const shapeOf = (table: TableName): Shape => schema[table] as unknown as Shape

function toSql(value: unknown, type: ColumnType): Value {
  if (value === undefined) return null
  if (type === 'boolean') return value ? 1 : 0
  return value as Value
}

function fromSql(value: unknown, type: ColumnType): unknown {
  if (value === null || value === undefined) return undefined
  if (type === 'boolean') return value === 1
  if (type === 'blob') return new Uint8Array(value as Uint8Array)
  return value
}

export function sqlDb(database: Database): DeviceDb {
  const statements = new Map<string, Statement>()
  const prepared = (sql: string): Statement => {
    let statement = statements.get(sql)
    if (!statement) {
      statement = database.prepare(sql, { persistent: true }) as Statement
      statements.set(sql, statement)
    }
    return statement
  }
  const rowOf = <T extends TableName>(table: T, raw: Record<string, unknown>): Tables[T] => {
    const row: Record<string, unknown> = {}
    for (const [column, type] of Object.entries(shapeOf(table).columns)) row[column] = fromSql(raw[column], type)
    return row as unknown as Tables[T]
  }
  const whereKey = (table: TableName): string =>
    shapeOf(table)
      .key.map((column) => `${quoted(column)} = ?`)
      .join(' AND ')

  const reader: DbReader = {
    get(table, key) {
      const raw = prepared(`SELECT * FROM ${quoted(table)} WHERE ${whereKey(table)}`).get([...key])
      return raw && rowOf(table, raw)
    },
    scan(table, options) {
      const { sql, values } = scanSql(table, options)
      return prepared(sql)
        .all(values)
        .map((raw) => rowOf(table, raw))
    },
  }
  const writer: DbWriter = {
    ...reader,
    put(table, row) {
      const columns = Object.entries(shapeOf(table).columns)
      const names = columns.map(([column]) => quoted(column)).join(', ')
      const all = columns.map(([column, type]) => toSql((row as unknown as Record<string, unknown>)[column], type))
      const places = all.map((value) => (isEmptyBlob(value) ? EMPTY_BLOB : '?')).join(', ')
      const values = all.filter((value) => !isEmptyBlob(value))
      prepared(`INSERT OR REPLACE INTO ${quoted(table)} (${names}) VALUES (${places})`).run(values)
    },
    delete(table, key) {
      prepared(`DELETE FROM ${quoted(table)} WHERE ${whereKey(table)}`).run([...key])
    },
  }
  return {
    ...reader,
    transaction<R>(change: (tx: DbWriter) => R): R {
      let result: R | undefined
      database.transaction(() => {
        result = change(writer)
      })()
      return result as R
    },
  }
}

function scanSql(table: TableName, options: ScanOptions): { sql: string; values: (KeyValue | number)[] } {
  const { index, prefix, from, reverse, limit } = options
  const { key, indexes } = shapeOf(table)
  const columns = index === undefined ? key : indexes[index]
  if (!columns) throw new Error(`no index ${index} of ${table}`)
  const where = prefix.map((_, i) => `${quoted(columns[i]!)} = ?`)
  const values: (KeyValue | number)[] = [...prefix]
  if (from !== undefined) {
    where.push(`${quoted(columns[prefix.length]!)} ${reverse ? '<=' : '>='} ?`)
    values.push(from)
  }
  const order = columns.map((column) => `${quoted(column)}${reverse ? ' DESC' : ''}`).join(', ')
  const condition = where.length > 0 ? ` WHERE ${where.join(' AND ')}` : ''
  return {
    sql: `SELECT * FROM ${quoted(table)}${condition} ORDER BY ${order} LIMIT ?`,
    values: [...values, Math.min(limit, Number.MAX_SAFE_INTEGER)],
  }
}
