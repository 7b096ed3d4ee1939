// Lengths of ciphertexts are seen by every relay on the way. Plaintexts are therefore filled up to size classes:
// multiples of 128 bytes up to 4 KiB, above that 16 classes for each doubling (so at most a sixteenth is added).
// The filling is a byte 0x80 and zeros (ISO/IEC 7816-4), inside the encryption.
import { ParleyError } from '#protocol'
import { PADDING_CLASSES, PADDING_STEP_BYTES } from './limits.ts'

const MARK = 0x80

/** The smallest size class that holds `length` bytes. */
export function sizeClass(length: number): number {
  const doubling = 2 ** Math.floor(Math.log2(Math.max(1, length)))
  const step = Math.max(PADDING_STEP_BYTES, doubling / PADDING_CLASSES)
  return Math.max(1, Math.ceil(length / step)) * step
}

export function pad(bytes: Uint8Array): Uint8Array {
  const size = sizeClass(bytes.length + 1)
  // Small ones out of node's pool: an array of its own costs ten times as much.
  const { buffer, byteOffset } = Buffer.allocUnsafe(size)
  const out = new Uint8Array(buffer, byteOffset, size)
  out.set(bytes)
  out[bytes.length] = MARK
  return out.fill(0, bytes.length + 1)
}

export function unpad(padded: Uint8Array): Uint8Array {
  let end = padded.length - 1
  while (end >= 0 && padded[end] === 0) end--
  if (end < 0 || padded[end] !== MARK) throw new ParleyError('malformed', 'content without its padding')
  return padded.subarray(0, end)
}
