// The tables of schema.ts in SQL. Statements are made from the description once and kept.
import type Database from '@signalapp/sqlcipher'
import type { Statement } from '@signalapp/sqlcipher'
import {
  type ColumnType,
  type DbReader,
  type DbTransaction,
  type DeviceDb,
  type KeyValue,
  type ScanOptions,
  schema,
  type TableName,
  type TableShape,
  type Tables,
} from '../rules/schema.ts'
import { type ConversationNumbers, conversationNumbers } from './conversation-numbers.ts'

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

function toSql(value: unknown, type: ColumnType, numbers: ConversationNumbers): Value {
  if (value === undefined) return null
  if (type === 'boolean') return value ? 1 : 0
  if (type === 'conversation') return numbers.ensure(value as string)
  return value as Value
}

function fromSql(value: unknown, type: ColumnType, numbers: ConversationNumbers): unknown {
  if (value === null || value === undefined) return undefined
  if (type === 'boolean') return value === 1
  if (type === 'conversation') return numbers.convOf(value as number)
  if (type === 'blob') return new Uint8Array(value as Uint8Array)
  return value
}

/** What a table's statements are made of, worked out once. */
type Prepared = {
  readonly names: readonly string[]
  readonly types: readonly ColumnType[]
  readonly get: Statement
  readonly put: Statement
  readonly delete: Statement
  /** By which columns they write, a bit for each. */
  readonly updates: Map<number, Statement>
}

function putSql(table: TableName, places: readonly string[]): string {
  const names = Object.keys(shapeOf(table).columns).map(quoted)
  return `INSERT OR REPLACE INTO ${quoted(table)} (${names.join(', ')}) VALUES (${places.join(', ')})`
}

function updateSql(table: TableName, changed: number): string {
  const { columns, key } = shapeOf(table)
  const set = Object.keys(columns).filter((_, i) => changed & (1 << i))
  const assign = (names: readonly string[], by: string): string => names.map((name) => `${quoted(name)} = ?`).join(by)
  return `UPDATE ${quoted(table)} SET ${assign(set, ', ')} WHERE ${assign(key, ' AND ')}`
}

/** Values of the first columns of a key or index as SQL has them; undefined: no row can have them. */
function keyValues(
  table: TableName,
  columns: readonly string[],
  values: readonly KeyValue[],
  numbers: ConversationNumbers,
): KeyValue[] | undefined {
  const out = [...values]
  for (let i = 0; i < out.length; i++) {
    if (shapeOf(table).columns[columns[i]!] !== 'conversation') continue
    const number = numbers.numberOf(out[i] as string)
    if (number === undefined) return undefined
    out[i] = number
  }
  return out
}

export function sqlDb(database: Database): DeviceDb {
  const numbers = conversationNumbers(database)
  const statements = new Map<string, Statement>()
  const prepared = (sql: string): Statement => {
    let statement = statements.get(sql)
    if (!statement) {
      statement = database.prepare(sql, { persistent: true }) as Statement
      statements.set(sql, statement)
    }
    return statement
  }
  const tables = new Map<TableName, Prepared>()
  const tableOf = (table: TableName): Prepared => {
    let known = tables.get(table)
    if (!known) {
      const { columns } = shapeOf(table)
      const names = Object.keys(columns)
      const whereKey = shapeOf(table)
        .key.map((column) => `${quoted(column)} = ?`)
        .join(' AND ')
      known = {
        names,
        types: names.map((name) => columns[name]!),
        get: prepared(`SELECT * FROM ${quoted(table)} WHERE ${whereKey}`),
        put: prepared(
          putSql(
            table,
            names.map(() => '?'),
          ),
        ),
        delete: prepared(`DELETE FROM ${quoted(table)} WHERE ${whereKey}`),
        updates: new Map(),
      }
      tables.set(table, known)
    }
    return known
  }
  const rowOf = <T extends TableName>(table: T, raw: Record<string, unknown>): Tables[T] => {
    const row: Record<string, unknown> = {}
    const { names, types } = tableOf(table)
    for (let i = 0; i < names.length; i++) row[names[i]!] = fromSql(raw[names[i]!], types[i]!, numbers)
    return row as unknown as Tables[T]
  }

  const reader: DbReader = {
    get(table, key) {
      const values = keyValues(table, shapeOf(table).key, key, numbers)
      const raw = values && tableOf(table).get.get(values)
      return raw && rowOf(table, raw)
    },
    scan(table, options) {
      const prefix = keyValues(table, columnsOf(table, options.index), options.prefix, numbers)
      if (!prefix) return []
      const { sql, values } = scanSql(table, { ...options, prefix })
      return prepared(sql)
        .all(values)
        .map((raw) => rowOf(table, raw))
    },
  }
  const writer: DbTransaction = {
    ...reader,
    put(table, row) {
      const { names, types, put } = tableOf(table)
      const values: Value[] = []
      let holes = false
      for (let i = 0; i < names.length; i++) {
        const value = toSql((row as unknown as Record<string, unknown>)[names[i]!], types[i]!, numbers)
        if (isEmptyBlob(value)) holes = true
        values.push(value)
      }
      if (!holes) put.run(values)
      else {
        const places = values.map((value) => (isEmptyBlob(value) ? EMPTY_BLOB : '?'))
        prepared(putSql(table, places)).run(values.filter((value) => !isEmptyBlob(value)))
      }
    },
    replace(table, was, row) {
      const { names, types, updates } = tableOf(table)
      const [before, after] = [was as unknown as Record<string, unknown>, row as unknown as Record<string, unknown>]
      const values: Value[] = []
      let changed = 0
      for (let i = 0; i < names.length; i++) {
        if (before[names[i]!] === after[names[i]!]) continue
        const value = toSql(after[names[i]!], types[i]!, numbers)
        if (isEmptyBlob(value)) {
          writer.put(table, row)
          return
        }
        changed |= 1 << i
        values.push(value)
      }
      if (changed === 0) return
      let update = updates.get(changed)
      if (!update) {
        update = prepared(updateSql(table, changed))
        updates.set(changed, update)
      }
      for (const column of shapeOf(table).key) {
        values.push(toSql(after[column], shapeOf(table).columns[column]!, numbers))
      }
      if (update.run(values).changes !== 1) throw new Error(`a row of ${table} is not where it was`)
    },
    delete(table, key) {
      const values = keyValues(table, shapeOf(table).key, key, numbers)
      if (values) tableOf(table).delete.run(values)
    },
    deleteRun(table, prefix, from, to) {
      const columns = shapeOf(table).key
      const values = keyValues(table, columns, prefix, numbers)
      if (!values) return
      const where = prefix.map((_, i) => `${quoted(columns[i]!)} = ? AND `).join('')
      const next = quoted(columns[prefix.length]!)
      prepared(`DELETE FROM ${quoted(table)} WHERE ${where}${next} BETWEEN ? AND ?`).run([...values, from, to])
    },
  }
  return {
    ...reader,
    transaction<R>(change: (tx: DbTransaction) => R): R {
      let result: R | undefined
      let committed = false
      try {
        database.transaction(() => {
          result = change(writer)
        })()
        committed = true
      } finally {
        numbers.ended(committed)
      }
      return result as R
    },
  }
}

function columnsOf(table: TableName, index: string | undefined): readonly string[] {
  const { key, indexes } = shapeOf(table)
  const columns = index === undefined ? key : indexes[index]
  if (!columns) throw new Error(`no index ${index} of ${table}`)
  return columns
}

function scanSql(table: TableName, options: ScanOptions): { sql: string; values: (KeyValue | number)[] } {
  const { index, prefix, from, reverse, limit } = options
  const columns = columnsOf(table, index)
  const where = prefix.map((_, i) => `${quoted(columns[i]!)} = ?`)
  const values: (KeyValue | number)[] = [...prefix]
  if (from !== undefined) {
    if (shapeOf(table).columns[columns[prefix.length]!] === 'conversation')
      throw new Error('conversations have no order')
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
