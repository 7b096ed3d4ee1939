// The bytes of a journal record and of a row's value. Both carry a checksum, so that a flipped bit or a missing end
// is found and refused instead of being believed.
//
// record = crc32 of the rest u32 · version u8 = 1 · flags u8 · number f64 · finished f64 · count of notes, notes ·
//          changes until the end
// note   = length, bytes            change = kind u8, [partition], then
//          PUT, CREATE: key, value; DELETE: key; of a log APPEND: before f64, first place f64, count, entries;
//          TRIM: low f64, last f64; CUT: after f64, last f64. Strings, values and entries with their length
// Lengths and counts are varints. A change with SAME_PARTITION lies in the partition of the one before it.
// row    = crc32(partition, 0, key, 0, value) u32 · value
import { crc32 } from 'node:zlib'
import { copyEntry, ParleyError } from '#protocol'
import type { Cut, LogChanges } from './hot-log.ts'

const VERSION = 1
const BEGUN = 1
const NOTES_AT = 4 + 1 + 1 + 8 + 8
export const RECORD_HEADER_BYTES = NOTES_AT + 5
/** Upper bound of what a change takes beside its strings and its value. */
export const CHANGE_OVERHEAD_BYTES = 1 + 5 + 5 + 5
/** The same for a change of a log, and for each entry. */
export const LOG_CHANGE_BYTES = 1 + 5 + 8 + 8 + 5
export const ENTRY_OVERHEAD_BYTES = 5

export const PUT = 0
export const CREATE = 1
export const DELETE = 2
const APPEND = 3
const TRIM = 4
const CUT = 5
const SAME_PARTITION = 0x80
export type ChangeKind = typeof PUT | typeof CREATE | typeof DELETE

export type Fold = {
  change(kind: ChangeKind, partition: string, key: string, value: Uint8Array | undefined): void
  append(log: string, before: number, at: number, entry: Uint8Array): void
  trim(log: string, low: number, last: number): void
  cut(log: string, cut: Cut): void
}

export type Record = {
  readonly number: number
  /** A checkpoint of everything up to and with this record began with it. */
  readonly begun: boolean
  /** Rows hold everything up to and with this record: a checkpoint had finished when the commit was closed. */
  readonly finished: number
  readonly annotations: readonly Uint8Array[]
}

function damaged(what: string, facts: { [name: string]: string }): ParleyError {
  return new ParleyError('store_damaged', `the store is damaged: ${what}`, facts)
}

export class RecordWriter {
  readonly #bytes: Buffer
  #at = 0
  #partition: string | undefined

  /** `bytes` must have room for everything that will be written. */
  constructor(bytes: Buffer, { number, begun, finished, annotations }: Record) {
    this.#bytes = bytes
    bytes[4] = VERSION
    bytes[5] = begun ? BEGUN : 0
    bytes.writeDoubleBE(number, 6)
    bytes.writeDoubleBE(finished, 14)
    this.#at = NOTES_AT
    this.#number(annotations.length)
    for (const annotation of annotations) this.#value(annotation)
  }

  #begin(kind: number, partition: string): void {
    if (partition === this.#partition) this.#bytes[this.#at++] = kind | SAME_PARTITION
    else {
      this.#bytes[this.#at++] = kind
      this.#string(partition)
      this.#partition = partition
    }
  }

  change(kind: ChangeKind, partition: string, key: string, value: Uint8Array | undefined): void {
    this.#begin(kind, partition)
    this.#string(key)
    if (value) this.#value(value)
  }

  /** Entries that were there before something was cut stand before the cut. */
  log(name: string, changes: LogChanges): void {
    const { cuts, places, low, last } = changes
    let from = 0
    for (const cut of cuts) {
      let to = from
      while (to < places.length && places[to]! <= cut.after) to++
      this.#entries(name, changes, from, to)
      from = to
      this.#logChange(CUT, name, cut.after, cut.last)
    }
    this.#entries(name, changes, from, places.length)
    if (low !== undefined) this.#logChange(TRIM, name, low, last)
  }

  #entries(name: string, { before, places, entries }: LogChanges, first: number, end: number): void {
    for (let from = first; from < end; ) {
      let to = from + 1
      while (to < end && places[to] === places[to - 1]! + 1) to++
      this.#logChange(APPEND, name, from === 0 ? before : places[from - 1]!, places[from]!)
      this.#number(to - from)
      for (; from < to; from++) this.#value(entries[from]!)
    }
  }

  #logChange(kind: number, name: string, a: number, b: number): void {
    this.#begin(kind, name)
    this.#bytes.writeDoubleBE(a, this.#at)
    this.#bytes.writeDoubleBE(b, this.#at + 8)
    this.#at += 16
  }

  finish(): Buffer {
    const record = this.#bytes.subarray(0, this.#at)
    record.writeUInt32BE(crc32(record.subarray(4)), 0)
    return record
  }

  #number(value: number): void {
    const bytes = this.#bytes
    let rest = value
    while (rest > 127) {
      bytes[this.#at++] = (rest & 127) | 128
      rest >>>= 7
    }
    bytes[this.#at++] = rest
  }

  #string(text: string): void {
    const length = text.length
    this.#number(length)
    if (length > 48) this.#bytes.write(text, this.#at, 'latin1')
    else for (let i = 0; i < length; i++) this.#bytes[this.#at + i] = text.charCodeAt(i)
    this.#at += length
  }

  #value(value: Uint8Array): void {
    this.#number(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }
}

/** What a record says of checkpoints. Not checked: that is for `readRecord`, before anything is believed. */
export function readCheckpoints(record: Uint8Array): Pick<Record, 'begun' | 'finished'> {
  if (record.length < NOTES_AT) return { begun: false, finished: 0 }
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength)
  return { begun: (record[5]! & BEGUN) !== 0, finished: view.getFloat64(14) }
}

/**
 * Checks a record and hands its changes to `fold`, after `header` has seen the rest. Values are copies.
 * Throws ParleyError `store_damaged` when it is not what was written as `number`; then `fold` has not been called.
 */
export function readRecord(number: number, record: Uint8Array, fold: Fold | undefined): Record {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
  const facts = { record: String(number), bytes: String(bytes.length) }
  if (bytes.length < NOTES_AT + 1) throw damaged('a journal record is cut off', facts)
  if (bytes.readUInt32BE(0) !== crc32(bytes.subarray(4))) throw damaged('a journal record has a wrong checksum', facts)
  if (bytes[4] !== VERSION) throw damaged(`a journal record has the unknown version ${bytes[4]}`, facts)
  if (bytes.readDoubleBE(6) !== number) throw damaged('a journal record stands at another number', facts)
  const reader = { bytes, at: NOTES_AT }
  const annotations: Uint8Array[] = []
  for (let count = readNumber(reader); count > 0; count--) annotations.push(readValue(reader))
  let partition = ''
  while (fold && reader.at < bytes.length) {
    const first = bytes[reader.at++]!
    const kind = first & 127
    if (!(first & SAME_PARTITION)) partition = readString(reader)
    if (kind === PUT || kind === CREATE) fold.change(kind, partition, readString(reader), readValue(reader))
    else if (kind === DELETE) fold.change(DELETE, partition, readString(reader), undefined)
    else readLogChange(reader, kind, partition, fold)
  }
  return { number, begun: (bytes[5]! & BEGUN) !== 0, finished: bytes.readDoubleBE(14), annotations }
}

function readLogChange(reader: Reader, kind: number, name: string, fold: Fold): void {
  const a = reader.bytes.readDoubleBE(reader.at)
  const b = reader.bytes.readDoubleBE(reader.at + 8)
  reader.at += 16
  if (kind === TRIM) fold.trim(name, a, b)
  else if (kind === CUT) fold.cut(name, { after: a, last: b })
  else {
    for (let count = readNumber(reader), i = 0; i < count; i++)
      fold.append(name, i === 0 ? a : b + i - 1, b + i, copyEntry(readView(reader)))
  }
}

type Reader = { readonly bytes: Buffer; at: number }

function readNumber(reader: Reader): number {
  let value = 0
  for (let shift = 0; ; shift += 7) {
    const byte = reader.bytes[reader.at++]!
    value += (byte & 127) * 2 ** shift
    if (byte < 128) return value
  }
}

function readString(reader: Reader): string {
  const length = readNumber(reader)
  reader.at += length
  return reader.bytes.toString('latin1', reader.at - length, reader.at)
}

function readView(reader: Reader): Uint8Array {
  const { buffer, byteOffset, length: end } = reader.bytes
  const length = readNumber(reader)
  const at = reader.at
  reader.at += length
  return new Uint8Array(buffer, byteOffset + at, Math.min(length, end - at))
}

function readValue(reader: Reader): Uint8Array {
  return readView(reader).slice()
}

let names = Buffer.alloc(1_024)

/** Of partition, key and value, with a zero behind either name. */
function rowChecksum(partition: string, key: string, value: Uint8Array): number {
  const size = partition.length + key.length + 2
  if (size > names.length) names = Buffer.alloc(2 * size)
  let at = names.write(partition, 'latin1')
  names[at++] = 0
  at += names.write(key, at, 'latin1')
  names[at++] = 0
  return crc32(value, crc32(names.subarray(0, at)))
}

export function sealRow(partition: string, key: string, value: Uint8Array): Uint8Array {
  const row = Buffer.allocUnsafe(4 + value.length)
  row.writeUInt32BE(rowChecksum(partition, key, value), 0)
  row.set(value, 4)
  return row
}

/** Throws ParleyError `store_damaged` when the row is not what was written under this key. */
export function openRow(partition: string, key: string, row: Uint8Array): Uint8Array {
  const value = row.subarray(4)
  const stored = row.length < 4 ? -1 : ((row[0]! << 24) | (row[1]! << 16) | (row[2]! << 8) | row[3]!) >>> 0
  if (stored !== rowChecksum(partition, key, value)) {
    throw damaged('a row has a wrong checksum', { bytes: String(row.length) })
  }
  return value
}
