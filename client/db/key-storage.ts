// The cipher's key material in the profile's database.
import type { KeyStorage } from '#crypto'
import type { DbReader, DbWriter } from '../rules/schema.ts'

/** Outside a transaction (`tx` undefined) it can only be read. */
export function keyStorage(db: DbReader, tx: DbWriter | undefined): KeyStorage {
  return {
    get: (table, key) => (tx ?? db).get('keys', [table, key])?.value,
    set(table, key, value) {
      if (!tx) throw new Error('keys are written in the transaction of what they belong to')
      if (value) tx.put('keys', { kind: table, key, value })
      else tx.delete('keys', [table, key])
    },
  }
}
