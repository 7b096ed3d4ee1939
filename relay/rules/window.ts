// The last IN_FLIGHT_MAX of an author's k -> (place, tag), by which the host knows what it has numbered already. Blocks of
// 16 ks, in memory as numbers (arrays of bytes would each be an allocation outside of the heap), in rows as, for each k,
// epoch u32, n u32, tag 8; a k without a place is all zero.
import { epochOf, limits, nOf, type Position, positionOf, putU32, slabAllocator, TAG_BYTES, u32At } from '#protocol'

const BLOCK_KS = 16
const PLACE_BYTES = 8 + TAG_BYTES
const BLOCK_BYTES = BLOCK_KS * PLACE_BYTES
const SLAB_BYTES = 16 * 1024
const allocate = slabAllocator(SLAB_BYTES, BLOCK_BYTES)
/** Place, first and second half of the tag. */
const NUMBERS = 3
/** Begun with fractions: an array of small integers would be made anew for the first place. */
const EMPTY: readonly number[] = Array.from({ length: BLOCK_KS * NUMBERS }, () => 0.5).fill(0)

/** Where a k of an author ended up. */
export type Placed = { readonly at: Position; readonly tag: Uint8Array }

const blockOf = (k: number): number => Math.floor(k / BLOCK_KS)
const indexOf = (k: number): number => (k % BLOCK_KS) * NUMBERS

export class Window {
  readonly #blocks = new Map<number, number[]>()
  /** Blocks that changed since the last commit was closed. */
  readonly dirty = new Set<number>()
  #last = 0

  /** The highest k that has a place. */
  get last(): number {
    return this.#last
  }

  /** The next k. */
  add(k: number, epoch: number, n: number, tag: Uint8Array): void {
    const number = blockOf(k)
    let block = this.#blocks.get(number)
    if (!block) {
      block = EMPTY.slice()
      this.#blocks.set(number, block)
    }
    const i = indexOf(k)
    block[i] = positionOf(epoch, n)
    block[i + 1] = u32At(tag, 0)
    block[i + 2] = u32At(tag, 4)
    this.dirty.add(number)
    this.#last = k
    const oldest = blockOf(k - limits.IN_FLIGHT_MAX + 1) - 1
    if (oldest >= 0 && this.#blocks.delete(oldest)) this.dirty.add(oldest)
  }

  /** What comes after `last` never was. */
  cut(last: number): void {
    for (let k = last + 1; k <= this.#last; k++) {
      const block = this.#blocks.get(blockOf(k))
      if (!block) continue
      block.fill(0, indexOf(k), indexOf(k) + NUMBERS)
      this.dirty.add(blockOf(k))
    }
    this.#last = Math.min(this.#last, last)
  }

  /** 0 if this k has no place, or one that is forgotten. */
  placeOf(k: number): Position {
    if (k > this.#last || k <= this.#last - limits.IN_FLIGHT_MAX) return 0 as Position
    return (this.#blocks.get(blockOf(k))?.[indexOf(k)] ?? 0) as Position
  }

  get(k: number): Placed | undefined {
    const at = this.placeOf(k)
    if (at === 0) return undefined
    const block = this.#blocks.get(blockOf(k))!
    const tag = new Uint8Array(TAG_BYTES)
    putU32(tag, 0, block[indexOf(k) + 1]!)
    putU32(tag, 4, block[indexOf(k) + 2]!)
    return { at, tag }
  }

  /** Bytes of a block as a row has them; undefined when nothing is in it. */
  write(number: number): Uint8Array | undefined {
    const block = this.#blocks.get(number)
    if (!block) return undefined
    const row = allocate(BLOCK_BYTES)
    for (let i = 0, to = 0; i < block.length; i += NUMBERS, to += PLACE_BYTES) {
      const at = block[i] as Position
      putU32(row, to, epochOf(at))
      putU32(row, to + 4, nOf(at))
      putU32(row, to + 8, block[i + 1]!)
      putU32(row, to + 12, block[i + 2]!)
    }
    return row
  }

  read(number: number, row: Uint8Array): void {
    const block = EMPTY.slice()
    this.#blocks.set(number, block)
    for (let i = 0, from = 0; i < block.length; i += NUMBERS, from += PLACE_BYTES) {
      if (u32At(row, from) === 0) continue
      block[i] = positionOf(u32At(row, from), u32At(row, from + 4))
      block[i + 1] = u32At(row, from + 8)
      block[i + 2] = u32At(row, from + 12)
      this.#last = Math.max(this.#last, number * BLOCK_KS + i / NUMBERS)
    }
  }
}
