// Texts as they are kept, in UTF-8.
import { slabAllocator } from '#protocol'

const SLAB_BYTES = 64 * 1024
const SLAB_TEXT_MAX_BYTES = 4 * 1024
const encoder = new TextEncoder()
const allocate = slabAllocator(SLAB_BYTES, SLAB_TEXT_MAX_BYTES)

export function bytesOfText(text: string): Uint8Array {
  const out = allocate(Buffer.byteLength(text))
  encoder.encodeInto(text, out)
  return out
}

export const textOfBytes = ({ buffer, byteOffset, length }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, length).toString()
