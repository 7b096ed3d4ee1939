// Values by table and key, without making a text of the key: a turn looks things up many times for each message.
import type { KeyValue, TableName } from './schema.ts'

type Level<V> = Map<KeyValue, Level<V> | V>

export type Keyed<V> = {
  get(table: TableName, key: readonly KeyValue[]): V | undefined
  set(table: TableName, key: readonly KeyValue[], value: V): void
  delete(table: TableName, key: readonly KeyValue[]): void
  /** The values whose keys agree in all columns but the last, by that. */
  of(table: TableName, key: readonly KeyValue[]): Map<KeyValue, V>
}

/** Keys of one table have one length. */
export function keyed<V>(): Keyed<V> {
  const tables = new Map<TableName, Level<V>>()

  /** Where the last column of the key is looked up. */
  const levelOf = (table: TableName, key: readonly KeyValue[]): Level<V> | undefined => {
    let level = tables.get(table)
    for (let i = 0; level && i < key.length - 1; i++) level = level.get(key[i]!) as Level<V> | undefined
    return level
  }
  const openLevel = (table: TableName, key: readonly KeyValue[]): Level<V> => {
    let level = tables.get(table)
    if (!level) {
      level = new Map()
      tables.set(table, level)
    }
    for (let i = 0; i < key.length - 1; i++) {
      let next = level.get(key[i]!) as Level<V> | undefined
      if (!next) {
        next = new Map()
        level.set(key[i]!, next)
      }
      level = next
    }
    return level
  }

  return {
    get: (table, key) => levelOf(table, key)?.get(key[key.length - 1]!) as V | undefined,
    set: (table, key, value) => void openLevel(table, key).set(key[key.length - 1]!, value),
    of: (table, key) => openLevel(table, key) as Map<KeyValue, V>,
    delete: (table, key) => void levelOf(table, key)?.delete(key[key.length - 1]!),
  }
}
