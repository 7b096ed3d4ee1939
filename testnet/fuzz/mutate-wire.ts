// Changes that know protobuf's wire format: fields are taken apart (nested ones too, where bytes look like a message),
// changed, and put together again with lengths that fit, or just do not.
import type { Chance } from './chance.ts'

/** `bytes` is what stands behind the tag: a number's bytes as they are, four or eight bytes, or what the length counts. */
type Field = { number: number; wire: number; bytes: Uint8Array; inner: Field[] | undefined }

const DEPTH_MAX = 6
const COPIES_MAX_BYTES = 2 * 1024 * 1024
const FIELDS_MAX = 4_096
const VARINTS = [
  '00',
  '01',
  '02',
  '7f',
  '8001',
  '80808001',
  '8080808008',
  'ffffffff0f',
  '8080808010',
  '8080808080808010',
  '80808080808080808001',
  'ffffffffffffffffff01',
].map((text) => new Uint8Array(Buffer.from(text, 'hex')))
const EMPTY: Uint8Array = new Uint8Array(0)

let input = EMPTY
let at = 0

/** Moves beyond it; NaN when it is cut off or too long. */
function readVarint(end: number): number {
  let value = 0
  let scale = 1
  for (let i = 0; i < 10 && at < end; i++) {
    const byte = input[at++]!
    value += (byte & 0x7f) * scale
    if (byte < 0x80) return value
    scale *= 128
  }
  return Number.NaN
}

function readOne(end: number, depth: number): Field | undefined {
  const tag = readVarint(end)
  const wire = tag % 8
  if (!(tag >= 8 && tag < 2 ** 32)) return undefined
  const from = at
  const field: Field = { number: Math.floor(tag / 8), wire, bytes: EMPTY, inner: undefined }
  if (wire === 0) {
    if (Number.isNaN(readVarint(end))) return undefined
    field.bytes = input.subarray(from, at)
    return field
  }
  const length = wire === 1 ? 8 : wire === 5 ? 4 : wire === 2 ? readVarint(end) : Number.NaN
  if (!(length <= end - at)) return undefined
  const body = at
  field.bytes = input.subarray(body, body + length)
  if (wire === 2 && length > 1) field.inner = readList(body + length, depth + 1)
  at = body + length
  return field
}

function readList(end: number, depth: number): Field[] | undefined {
  if (depth > DEPTH_MAX) return undefined
  const out: Field[] = []
  while (at < end) {
    const field = readOne(end, depth)
    if (!field || out.length >= FIELDS_MAX) return undefined
    out.push(field)
  }
  return out
}

/** Undefined when the bytes are no message. */
function readFields(bytes: Uint8Array): Field[] | undefined {
  input = bytes
  at = 0
  return readList(bytes.length, 0)
}

/** A field whose length is off, or written with more bytes than it needs. */
type Broken = { readonly field: Field | undefined; readonly lengthOff: number; readonly extra: number }
const WHOLE: Broken = { field: undefined, lengthOff: 0, extra: 0 }

// Written from the end to the beginning, so that a length is known when it is its turn.
const OUT_MAX_BYTES = 8 * 1024 * 1024
const out = new Uint8Array(OUT_MAX_BYTES)
let to = OUT_MAX_BYTES

function writeVarint(value: number, extra: number): void {
  let size = 1
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++
  to -= size + extra
  let rest = value
  for (let i = 0; i < size + extra; i++) {
    out[to + i] = (rest % 128) | (i < size + extra - 1 ? 0x80 : 0)
    rest = Math.floor(rest / 128)
  }
}

function writeList(fields: readonly Field[], broken: Broken): void {
  for (let i = fields.length - 1; i >= 0; i--) {
    const field = fields[i]!
    const { lengthOff, extra } = broken.field === field ? broken : WHOLE
    const end = to
    if (field.inner) writeList(field.inner, broken)
    else {
      to -= field.bytes.length
      if (to < 64) throw new RangeError('larger than anything that is decoded')
      out.set(field.bytes, to)
    }
    if (field.wire === 2) writeVarint(Math.max(0, end - to + lengthOff), extra)
    writeVarint(field.number * 8 + field.wire, 0)
  }
}

function writeFields(fields: readonly Field[], broken: Broken = WHOLE): Uint8Array {
  to = OUT_MAX_BYTES
  writeList(fields, broken)
  return out.slice(to)
}

/** Some list of fields of the tree, any depth, with at least one field if there is one. */
function someList(fields: Field[], chance: Chance): Field[] {
  let list = fields
  for (;;) {
    const nested = list.flatMap((field) => (field.inner && field.inner.length > 0 ? [field.inner] : []))
    if (nested.length === 0 || chance.oneIn(2)) return list
    list = chance.pick(nested)
  }
}

function changeBytes(field: Field, chance: Chance): void {
  const { bytes } = field
  field.inner = undefined
  const way = chance.below(5)
  if (way === 0) field.bytes = new Uint8Array(0)
  else if (way === 1) field.bytes = bytes.slice(0, chance.below(bytes.length + 1))
  else if (way === 2) field.bytes = new Uint8Array(Buffer.concat([bytes, chance.bytes(1 + chance.below(8))]))
  else if (way === 3) field.bytes = new Uint8Array(bytes.length).fill(chance.below(256))
  else field.bytes = chance.bytes(bytes.length)
}

function nest(field: Field, chance: Chance): void {
  const depth = chance.oneIn(50) ? chance.pick([50, 1_000]) : chance.pick([1, 2, 5])
  let bytes = field.inner ? writeFields(field.inner) : field.bytes
  for (let i = 0; i < depth; i++) bytes = writeFields([{ ...field, wire: 2, bytes, inner: undefined }])
  field.wire = 2
  field.bytes = bytes
  field.inner = undefined
}

type ListChange = (list: Field[], at: number, chance: Chance, others: readonly Uint8Array[]) => void

const LIST_CHANGES: readonly ListChange[] = [
  (list, at) => void list.splice(at, 1),
  (list, at, chance) => {
    const copies = chance.oneIn(200) ? chance.pick([100, 1_000, 9_000, 20_000, 40_000]) : chance.pick([1, 1, 2, 17])
    const field = list[at]!
    const fits = Math.min(copies, Math.floor(COPIES_MAX_BYTES / (field.bytes.length + 4)))
    list.splice(at, 0, ...Array.from({ length: fits }, () => field))
  },
  (list, at, chance) => {
    const other = chance.below(list.length)
    const held = list[at]!
    list[at] = list[other]!
    list[other] = held
  },
  (list, at, chance) => {
    const field = list[at]!
    field.number = chance.pick([1, 2, 3, 15, 16, 2 ** 29 - 1, field.number + 1, Math.max(1, field.number - 1)])
  },
  (list, at, chance) => {
    const field = list[at]!
    field.wire = chance.pick([0, 1, 2, 5])
    const width = field.wire === 1 ? 8 : field.wire === 5 ? 4 : field.bytes.length
    if (field.bytes.length !== width) field.bytes = new Uint8Array(width)
  },
  (list, at, chance) => {
    const field = list[at]!
    if (field.wire === 0) field.bytes = chance.pick(VARINTS)
    else changeBytes(field, chance)
  },
  (list, at, chance) => nest(list[at]!, chance),
  (list, at, chance, others) => {
    const taken = readFields(chance.pick(others))
    if (taken && taken.length > 0) list.splice(at, 0, chance.pick(someList(taken, chance)))
  },
]

/** On a list of fields somewhere in the message; undefined when these bytes are no message. */
export function changeWire(bytes: Uint8Array, chance: Chance, others: readonly Uint8Array[]): Uint8Array | undefined {
  const fields = readFields(bytes)
  if (!fields || fields.length === 0) return undefined
  const list = someList(fields, chance)
  const at = chance.below(list.length)
  if (chance.oneIn(8)) {
    const lengthOff = chance.pick([-1, 1, -8, 300, 2 ** 31, 2 ** 32])
    return writeFields(fields, { field: list[at], lengthOff, extra: chance.pick([0, 0, 1, 8, 9, 12]) })
  }
  chance.pick(LIST_CHANGES)(list, at, chance, others)
  return writeFields(fields)
}
