// What a turn is going to write. Reads by key see it, so that two things about one message in a turn do not overwrite
// each other; scans see what is committed. It is applied in one transaction at the end of the turn.
import { keyed } from './keyed.ts'
import type { Change, Rows } from './rows.ts'
import {
  type DbReader,
  type DbTransaction,
  type DbWriter,
  type KeyValue,
  type ScanOptions,
  schema,
  type TableName,
  type Tables,
} from './schema.ts'

export type Draft = DbWriter & {
  apply(tx: DbTransaction): void
  /** What was applied is durable. */
  committed(): void
}

function keyOf(table: TableName, row: Tables[TableName]): KeyValue[] {
  const columns: readonly string[] = schema[table].key
  const key: KeyValue[] = []
  for (let i = 0; i < columns.length; i++) key.push((row as unknown as Record<string, KeyValue>)[columns[i]!]!)
  return key
}

/** What is safe goes in the order of its k, many at once. */
type Going = { readonly table: 'outbox' | 'sealed'; readonly conv: KeyValue; readonly from: number; to: number }

function deletions(tx: DbTransaction) {
  const going: Partial<Record<TableName, Going>> = {}
  const pass = ({ table, conv, from, to }: Going): void => {
    if (from === to) tx.delete(table, [conv, from])
    else tx.deleteRun(table, [conv], from, to)
  }
  return {
    delete(table: TableName, key: readonly KeyValue[]): void {
      if (table !== 'outbox' && table !== 'sealed') {
        tx.delete(table, key)
        return
      }
      const [conv, k] = key as [KeyValue, number]
      const run = going[table]
      if (run && run.conv === conv && run.to + 1 === k) {
        run.to = k
        return
      }
      if (run) pass(run)
      going[table] = { table, conv, from: k, to: k }
    },
    end(): void {
      for (const run of Object.values(going)) pass(run)
    },
  }
}

export function newDraft(db: DbReader, rows: Rows): Draft {
  const changes: Change[] = []
  const byKey = keyed<Change>()
  const change = (table: TableName, key: readonly KeyValue[], row: Tables[TableName] | undefined): void => {
    const of = byKey.of(table, key)
    const last = key[key.length - 1]!
    const known = of.get(last)
    if (known) {
      known.row = row
      return
    }
    const made = { table, key, was: rows.known(table, key), row }
    of.set(last, made)
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
      const deleted = deletions(tx)
      for (let i = 0; i < changes.length; i++) {
        const { table, key, was, row } = changes[i]!
        if (row && was) tx.replace(table, was, row)
        else if (row) tx.put(table, row)
        else deleted.delete(table, key)
      }
      deleted.end()
    },
    committed() {
      for (let i = 0; i < changes.length; i++) rows.committed(changes[i]!)
    },
  }
}
