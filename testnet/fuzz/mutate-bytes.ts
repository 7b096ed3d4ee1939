// Changes that know nothing of a format but that it may have numbers and lengths in it.
import type { Chance } from './chance.ts'

export type Change = (bytes: Uint8Array, chance: Chance, others: readonly Uint8Array[]) => Uint8Array

const BYTES = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x0a, 0x12, 0x20, 0x22, 0x7b, 0x2e]
const NUMBERS = [0, 1, 2, 0x7f, 0x80, 0xff, 0xffff, 0x1f_ffff, 0x20_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]
const SNIPPETS = [
  'null',
  '1e999',
  '-1',
  '{"a":',
  '[[',
  '__proto__',
  '\u0000',
  '\ud800',
  '%00',
  '\\u0000',
  '"',
  '::',
  '//',
  '@',
  '\t',
]

const joined = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts))

/** [from, to) of at most `max` bytes. */
function span(bytes: Uint8Array, chance: Chance, max: number): [number, number] {
  const from = chance.below(bytes.length + 1)
  return [from, Math.min(bytes.length, from + chance.below(max) + 1)]
}

function withByte(bytes: Uint8Array, at: number, change: (byte: number) => number): Uint8Array {
  const out = bytes.slice()
  if (out.length > 0) out[at] = change(out[at]!)
  return out
}

/** Overwrites a big-endian number of 1, 2, 4 or 8 bytes: the lengths and counts of fixed layouts. */
function number(bytes: Uint8Array, chance: Chance): Uint8Array {
  const width = chance.pick([1, 2, 4, 8])
  const out = bytes.slice()
  if (out.length < width) return out
  const view = Buffer.from(out.buffer)
  const at = chance.below(out.length - width + 1)
  const value = chance.oneIn(3) ? chance.below(2 ** 32) : chance.pick(NUMBERS)
  if (width === 8) view.writeBigUInt64BE(BigInt(value) << BigInt(chance.pick([0, 21, 32])), at)
  else view.writeUIntBE(value % 2 ** (8 * width), at, width)
  return out
}

export const BYTE_CHANGES: readonly Change[] = [
  (bytes, chance) => withByte(bytes, chance.below(bytes.length), (byte) => byte ^ (1 << chance.below(8))),
  (bytes, chance) => withByte(bytes, chance.below(bytes.length), () => chance.pick(BYTES)),
  (bytes, chance) => withByte(bytes, chance.below(bytes.length), (byte) => byte + chance.pick([-1, 1])),
  number,
  (bytes, chance) => bytes.slice(0, chance.below(bytes.length + 1)),
  (bytes, chance) => bytes.slice(chance.below(bytes.length + 1)),
  (bytes, chance) => {
    const [from, to] = span(bytes, chance, 64)
    return joined(bytes.subarray(0, from), bytes.subarray(to))
  },
  (bytes, chance) => {
    const [from, to] = span(bytes, chance, 64)
    return joined(bytes.subarray(0, to), bytes.subarray(from, to), bytes.subarray(to))
  },
  (bytes, chance) => {
    const at = chance.below(bytes.length + 1)
    return joined(bytes.subarray(0, at), chance.bytes(chance.below(16) + 1), bytes.subarray(at))
  },
  (bytes, chance) => {
    const at = chance.below(bytes.length + 1)
    return joined(bytes.subarray(0, at), Buffer.from(chance.pick(SNIPPETS)), bytes.subarray(at))
  },
  (bytes, chance, others) => {
    const other = chance.pick(others)
    return joined(bytes.subarray(0, chance.below(bytes.length + 1)), other.subarray(chance.below(other.length + 1)))
  },
  (_bytes, chance) => chance.bytes(chance.below(128)),
]

/** Towards `maxBytes`: a piece over and over, or one byte. */
export function blowUp(bytes: Uint8Array, chance: Chance, maxBytes: number): Uint8Array {
  const size = chance.pick([maxBytes, maxBytes + 1, Math.ceil(maxBytes * 0.6), Math.ceil(maxBytes / 16)])
  const [from, to] = span(bytes, chance, chance.pick([1, 2, 8, 64, 1_024]))
  const piece = to > from ? bytes.subarray(from, to) : Uint8Array.of(chance.pick(BYTES))
  const room = Math.max(0, size - bytes.length)
  return joined(bytes.subarray(0, from), Buffer.alloc(room, piece), bytes.subarray(from))
}
