// The form of the vectors: language-neutral data, bytes in hex. A case with an `error` must be refused with that code.
import type { JsonValue } from '@bufbuild/protobuf'
import type { RefusalCode } from './refusals.ts'

export type VectorCase = {
  readonly name: string
  /** Hex, or for long ones pieces of [hex, how often]. */
  readonly bytes?: string | Pieces
  readonly error?: RefusalCode
  readonly [field: string]: JsonValue | undefined | Pieces
}

export type VectorFile = {
  readonly about: string
  readonly cases: readonly VectorCase[]
  readonly [field: string]: JsonValue | readonly VectorCase[]
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
export type Pieces = readonly (readonly [string, number])[]
const LONG_BYTES = 1_024
const RUN_BYTES = 64

/** Hex; long bytes in pieces, what repeats a byte often being written once. */
export function compact(bytes: Uint8Array): string | Pieces {
  if (bytes.length <= LONG_BYTES) return hex(bytes)
  const pieces: [string, number][] = []
  let plain = 0
  let at = 0
  while (at < bytes.length) {
    let end = at + 1
    while (end < bytes.length && bytes[end] === bytes[at]) end++
    if (end - at >= RUN_BYTES) {
      if (at > plain) pieces.push([hex(bytes.subarray(plain, at)), 1])
      pieces.push([hex(bytes.subarray(at, at + 1)), end - at])
      plain = end
    }
    at = end
  }
  if (plain < bytes.length) pieces.push([hex(bytes.subarray(plain)), 1])
  return pieces
}

export const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))

export function bytesOf(vector: VectorCase): Uint8Array {
  const { bytes } = vector
  if (bytes === undefined) throw new Error(`vector without bytes: ${vector.name}`)
  if (typeof bytes === 'string') return unhex(bytes)
  const pieces = bytes.map(([piece, times]) => Buffer.alloc((piece.length / 2) * times, piece, 'hex'))
  return new Uint8Array(Buffer.concat(pieces))
}
