// What a turn is going to write. Reads by key see it, so that two things about one message in a turn do not overwrite
// each other; scans see what is committed. It is applied in one transaction at the end of the turn.
import { type Keyed, keyed } from './keyed.ts'
import type { Change, Rows } from './rows.ts'
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

function keyOf(table: TableName, row: Tables[TableName]): KeyValue[] {
  const columns: readonly string[] = schema[table].key
  const key: KeyValue[] = []
  for (const column of columns) key.push((row as unknown as Record<string, KeyValue>)[column]!)
  return key
}

export function newDraft(db: DbReader, rows: Rows): Draft {
  const changes: Change[] = []
  const byKey: Keyed<Change> = keyed()
  const change = (table: TableName, key: readonly KeyValue[], row: Tables[TableName] | undefined): void => {
    const known = byKey.get(table, key)
    if (known) {
      known.row = row
      return
    }
    const made = { table, key, row }
    byKey.set(table, key, made)
    changes.push(made)
  }
  return {
    get<T extends TableName>(table: T, key: readonly KeyValue[]) {
      const known = byKey.get(table, key)
      return known ? (known.row as Tables[T] | undefined) : rows.get(table, key)
    },
    scan: <T extends TableName>(table: T, options: ScanOptions) => db.scan(table, options),
    put: (table, row) => change(table, keyOf(table, row), row),
    delete: (table, key) => change(table, key, undefined),
    apply(tx) {
      for (const { table, key, row } of changes) {
        if (row) tx.put(table, row)
        else tx.delete(table, key)
      }
    },
    committed() {
      for (const it of changes) rows.committed(it)
    },
  }
}
