// What a turn is going to write. Reads by key see it, so that two things about one message in a turn do not overwrite
// each other; scans see what is committed. It is applied in one transaction at the end of the turn.
import {
  type DbReader,
  type DbWriter,
  type DeviceDb,
  type KeyValue,
  type ScanOptions,
  schema,
  type TableName,
  type Tables,
} from './schema.ts'

type Change = {
  readonly table: TableName
  readonly key: readonly KeyValue[]
  readonly row: Tables[TableName] | undefined
}

export type Draft = DbWriter & {
  readonly isEmpty: () => boolean
  apply(tx: DbWriter): void
}

const nameOf = (table: TableName, key: readonly KeyValue[]): string => `${table}\0${key.join('\0')}`

export function newDraft(db: DeviceDb): Draft {
  const changes = new Map<string, Change>()
  const reader: DbReader = {
    get<T extends TableName>(table: T, key: readonly KeyValue[]) {
      const change = changes.get(nameOf(table, key))
      return change ? (change.row as Tables[T] | undefined) : db.get(table, key)
    },
    scan: <T extends TableName>(table: T, options: ScanOptions) => db.scan(table, options),
  }
  return {
    ...reader,
    put(table, row) {
      const values = row as unknown as Record<string, KeyValue>
      const key = schema[table].key.map((column) => values[column]!)
      changes.set(nameOf(table, key), { table, key, row })
    },
    delete(table, key) {
      changes.set(nameOf(table, key), { table, key, row: undefined })
    },
    isEmpty: () => changes.size === 0,
    apply(tx) {
      for (const { table, key, row } of changes.values()) {
        if (row) tx.put(table, row)
        else tx.delete(table, key)
      }
    },
  }
}
