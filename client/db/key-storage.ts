// The cipher's key material in the profile's database.
import { type KeyStorage, packed } from '#crypto'
import type { DbReader, DbWriter } from '../rules/schema.ts'

/** Outside a transaction (`tx` undefined) it can only be read. */
export function keyStorage(db: DbReader, tx: DbWriter | undefined): KeyStorage {
  return {
    get: (table, key) => (tx ?? db).get('keys', [table, key])?.value,
    unpacked: () => undefined,
    set(table, key, value) {
      if (!tx) throw new Error('keys are written in the transaction of what they belong to')
      if (value) tx.put('keys', { kind: table, key, value: packed(value) })
      else tx.delete('keys', [table, key])
    },
  }
}
