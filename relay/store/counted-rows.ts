// Rows that count how often they are asked: a device that is up to date should cost next to nothing when it comes back.
import type { Rows } from './types.ts'

export type CountedRows = Pick<Rows, 'get' | 'range'> & { asked: number }

export function countedRows(rows: Rows): CountedRows {
  const counted: CountedRows = {
    asked: 0,
    get(partition, key) {
      counted.asked++
      return rows.get(partition, key)
    },
    range(partition, options) {
      counted.asked++
      return rows.range(partition, options)
    },
  }
  return counted
}
