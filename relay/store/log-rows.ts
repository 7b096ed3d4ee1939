// How the entries of a log lie in rows: up to eight in a row, cut where the place is a multiple of eight, so that the row
// in which an entry may stand is found without knowing where rows begin.
//
// key   = 'e', place of the first entry in hex, 14 digits        value = per entry: length u32, bytes
import { ParleyError } from '#protocol'

/** Places to a row at most. */
const ROW_PLACES = 8

export type Placed = { readonly at: number; readonly entry: Uint8Array }

const LOG_KEY = 'e'

export const logKey = (at: number): string => LOG_KEY + at.toString(16).padStart(14, '0')

/** The first key of a row that may hold this place. */
export const rowKeyAt = (at: number): string => logKey(at - (at % ROW_PLACES))

export const placeOfKey = (key: string): number => Number.parseInt(key.slice(1), 16)

/** Entries of a row, in the order of their places. */
export function readLogRow(key: string, row: Uint8Array): Placed[] {
  const placed: Placed[] = []
  const view = new DataView(row.buffer, row.byteOffset, row.byteLength)
  let place = placeOfKey(key)
  for (let at = 0; at < row.length; ) {
    const end = at + 4 <= row.length ? at + 4 + view.getUint32(at) : Number.POSITIVE_INFINITY
    if (end > row.length) throw new ParleyError('store_damaged', 'the store is damaged: a row of a log is cut off')
    placed.push({ at: place++, entry: row.subarray(at + 4, end) })
    at = end
  }
  return placed
}

export function writeLogRow(entries: readonly Uint8Array[]): Uint8Array {
  let size = 0
  for (const entry of entries) size += 4 + entry.length
  const row = new Uint8Array(size)
  const view = new DataView(row.buffer)
  let at = 0
  for (const entry of entries) {
    view.setUint32(at, entry.length)
    row.set(entry, at + 4)
    at += 4 + entry.length
  }
  return row
}

/** The rows in which these entries stand; places ascend. */
export function* logRowsOf(places: readonly number[], entries: readonly Uint8Array[]): Generator<[string, Uint8Array]> {
  let from = 0
  for (let i = 1; i <= places.length; i++) {
    const follows = i < places.length && places[i] === places[i - 1]! + 1 && places[i]! % ROW_PLACES !== 0
    if (follows) continue
    yield [logKey(places[from]!), writeLogRow(entries.slice(from, i))]
    from = i
  }
}
