// Bytes from outside become messages only here.
//
// A decoder allocates for everything that it meets, so a small frame full of tiny repeated (or unknown) fields grows into
// a hundred times its size. Therefore: a cap on the bytes, then one pass over the wire format that allocates nothing,
// follows the schema, counts what the decoder would allocate for and refuses what is cut off, then the decoder.
import { type DescField, type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf'
import { FRAME_ITEMS_MAX } from './limits.ts'
import { ParleyError } from './refusals.ts'

const VARINT = 0
const FIXED64 = 1
const LENGTH = 2
const FIXED32 = 5
/** UINT32 and the other varint scalars; what is not here has a wire type of its own. */
const WIRE_OF_SCALAR: Readonly<Record<number, number>> = {
  1: FIXED64,
  2: FIXED32,
  6: FIXED64,
  7: FIXED32,
  9: LENGTH,
  12: LENGTH,
  15: FIXED32,
  16: FIXED64,
}

type Field = {
  readonly wire: number
  readonly repeated: boolean
  readonly message: DescMessage | undefined
  /** Of a map: key and value. The generated code would read a value beyond the end of its entry. */
  readonly entry?: Fields
}
type Fields = readonly (Field | undefined)[]

const tables = new Map<DescMessage, Fields>()

const single = (scalar: number): Field => ({
  wire: WIRE_OF_SCALAR[scalar] ?? VARINT,
  repeated: false,
  message: undefined,
})

function entryOf(field: DescField & { fieldKind: 'map' }): Fields {
  if (field.mapKind === 'message')
    return [undefined, single(field.mapKey), { wire: LENGTH, repeated: false, message: field.message }]
  return [undefined, single(field.mapKey), single(field.mapKind === 'scalar' ? field.scalar : VARINT)]
}

function fieldOf(field: DescField): Field {
  switch (field.fieldKind) {
    case 'message':
      return { wire: LENGTH, repeated: false, message: field.message }
    case 'map':
      return { wire: LENGTH, repeated: true, message: undefined, entry: entryOf(field) }
    case 'list': {
      if (field.listKind === 'message') return { wire: LENGTH, repeated: true, message: field.message }
      if (field.listKind === 'scalar' && WIRE_OF_SCALAR[field.scalar] === LENGTH)
        return { wire: LENGTH, repeated: true, message: undefined }
      throw new Error(`${field.parent.typeName}.${field.name}: packed fields are not counted, so the schemas have none`)
    }
    case 'enum':
      return { wire: VARINT, repeated: false, message: undefined }
    case 'scalar':
      return single(field.scalar)
  }
}

function tableOf(schema: DescMessage): Fields {
  let table = tables.get(schema)
  if (!table) {
    const fields: (Field | undefined)[] = []
    for (const field of schema.fields) {
      if (field.number >= 32) throw new Error(`${schema.typeName}.${field.name}: field numbers stay below 32`)
      fields[field.number] = fieldOf(field)
    }
    table = fields
    tables.set(schema, table)
  }
  return table
}

// The state of the one scan that is under way: scanning is synchronous and must not allocate.
let scanned: Uint8Array = new Uint8Array(0)
let at = 0
let items = 0
let itemsMax = 0

function malformed(what: string): ParleyError {
  return new ParleyError('malformed', what)
}

/** Moves beyond a varint; its value is exact up to 32 bits and at least 2^32 above. */
function varint(end: number): number {
  let value = 0
  let scale = 1
  for (let i = 0; i < 10; i++) {
    if (at >= end) throw malformed('cut off within a number')
    const byte = scanned[at++]!
    value += (byte & 0x7f) * scale
    if (byte < 0x80) return value
    scale *= 128
  }
  throw malformed('a number of more than ten bytes')
}

function skip(bytes: number, end: number): void {
  if (bytes > end - at) throw malformed('a length reaches beyond the end')
  at += bytes
}

function count(): void {
  if (++items > itemsMax) throw new ParleyError('too_many', 'items over the limit', { limit: `${itemsMax}` })
}

function scanMessage(fields: Fields, end: number): void {
  // A single field that comes again costs each time: it counts. Numbers are below 32.
  let seen = 0
  while (at < end) {
    const tag = varint(end)
    const number = Math.floor(tag / 8)
    const wire = tag % 8
    if (number < 1 || tag >= 2 ** 32) throw malformed('no such field number')
    const field = fields[number]
    if (!field || field.repeated || seen & (1 << number)) count()
    if (field) seen |= 1 << number
    if (field && field.wire !== wire) throw malformed('a field of another type')
    if (wire === VARINT) varint(end)
    else if (wire === FIXED64) skip(8, end)
    else if (wire === FIXED32) skip(4, end)
    else if (wire === LENGTH) {
      const length = varint(end)
      if (length > end - at) throw malformed('a length reaches beyond the end')
      if (field?.message) scanMessage(tableOf(field.message), at + length)
      else if (field?.entry) scanMessage(field.entry, at + length)
      else at += length
    } else throw malformed('groups are not used')
  }
}

/**
 * How many repeated and unknown fields `bytes` has as a `schema`, nested ones and single ones that come again included.
 * Throws `malformed` when it is cut off or no such message, `too_many` above `limit`. Allocates nothing.
 */
export function countItems(schema: DescMessage, bytes: Uint8Array, limit: number): number {
  scanned = bytes
  at = 0
  items = 0
  itemsMax = limit
  try {
    scanMessage(tableOf(schema), bytes.length)
    return items
  } finally {
    scanned = new Uint8Array(0)
  }
}

export function ensureSize(what: string, bytes: Uint8Array, limitBytes: number): void {
  if (bytes.length > limitBytes) {
    throw new ParleyError('too_large', `${what} over the limit`, { limit: `${limitBytes}`, size: `${bytes.length}` })
  }
}

/**
 * Bytes -> message; anything that is no such message is `malformed`, `too_large` or `too_many`, never another exception.
 * Fields of bytes are views into `bytes`, not copies. Unknown fields are counted, then ignored.
 */
export function decode<T extends DescMessage>(
  schema: T,
  bytes: Uint8Array,
  limitBytes: number,
  limitItems: number = FRAME_ITEMS_MAX,
): MessageShape<T> {
  ensureSize(schema.typeName, bytes, limitBytes)
  countItems(schema, bytes, limitItems)
  // Sockets bring Buffers, whose `slice` is a view: whoever keeps a copy of a field would keep the whole frame alive.
  const plain = Buffer.isBuffer(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes
  try {
    return fromBinary(schema, plain, { readUnknownFields: false })
  } catch {
    throw malformed(`not a ${schema.typeName}`)
  }
}
