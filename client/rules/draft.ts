// What a turn is going to write. Reads by key see it, so that two things about one message in a turn do not overwrite
// each other; scans see what is committed. It is applied in one transaction at the end of the turn.
import { type Change, nameOf, type Rows } from './rows.ts'
import {
  type DbReader,
  type DbWriter,
  type KeyValue,
  type ScanOptions,
  schema,
  type TableName,
  type Tables,
} from './schema.ts'

export type Draft = DbWriter & {
  apply(tx: DbWriter): void
  /** What was applied is durable. */
  committed(): void
}

export function newDraft(db: DbReader, rows: Rows): Draft {
  const changes = new Map<string, Change>()
  return {
    get<T extends TableName>(table: T, key: readonly KeyValue[]) {
      const change = changes.get(nameOf(table, key))
      return change ? (change.row as Tables[T] | undefined) : rows.get(table, key)
    },
    scan: <T extends TableName>(table: T, options: ScanOptions) => db.scan(table, options),
    put(table, row) {
      const values = row as unknown as Record<string, KeyValue>
      const key = schema[table].key.map((column) => values[column]!)
      changes.set(nameOf(table, key), { table, key, row })
    },
    delete(table, key) {
      changes.set(nameOf(table, key), { table, key, row: undefined })
    },
    apply(tx) {
      for (const { table, key, row } of changes.values()) {
        if (row) tx.put(table, row)
        else tx.delete(table, key)
      }
    },
    committed() {
      for (const [name, change] of changes) rows.committed(name, change)
    },
  }
}
