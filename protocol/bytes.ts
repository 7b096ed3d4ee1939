// Numbers in rows and entries, and memory for small arrays.

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

export const u32At = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0

/**
 * Arrays that were made one after the other share memory, which goes when the last of them does: one of its own costs ten
 * times as much. What is larger than `sharedMaxBytes` has its own all the same.
 */
export function slabAllocator(slabBytes: number, sharedMaxBytes: number): (size: number) => Uint8Array {
  let slab = new ArrayBuffer(slabBytes)
  let used = 0
  return (size) => {
    if (size > sharedMaxBytes) return new Uint8Array(size)
    if (used + size > slabBytes) {
      slab = new ArrayBuffer(slabBytes)
      used = 0
    }
    const out = new Uint8Array(slab, used, size)
    used += size
    return out
  }
}
