// The last IN_FLIGHT_MAX of an author's k -> (place, tag), by which the host knows what it has numbered already. It lies
// in memory as it lies in rows: blocks of 16 ks, each epoch u32, n u32, tag 8; a k without a place is all zero.
import { limits, type Position, positionOf, TAG_BYTES } from '#protocol'

const BLOCK_KS = 16
const PLACE_BYTES = 8 + TAG_BYTES
const BLOCK_BYTES = BLOCK_KS * PLACE_BYTES

/** Where a k of an author ended up. */
export type Placed = { readonly at: Position; readonly tag: Uint8Array }

const u32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0

const blockOf = (k: number): number => Math.floor(k / BLOCK_KS)
const offsetOf = (k: number): number => (k % BLOCK_KS) * PLACE_BYTES

export class Window {
  readonly #blocks = new Map<number, Uint8Array>()
  /** Blocks that changed since the last commit was closed. */
  readonly dirty = new Set<number>()
  #last = 0

  /** The highest k that has a place. */
  get last(): number {
    return this.#last
  }

  /** The next k. `entry` carries its place and tag where a header does. */
  add(k: number, epoch: number, n: number, tag: Uint8Array): void {
    const number = blockOf(k)
    let block = this.#blocks.get(number)
    if (!block) {
      block = new Uint8Array(BLOCK_BYTES)
      this.#blocks.set(number, block)
    }
    const at = offsetOf(k)
    block[at] = epoch >>> 24
    block[at + 1] = epoch >>> 16
    block[at + 2] = epoch >>> 8
    block[at + 3] = epoch
    block[at + 4] = n >>> 24
    block[at + 5] = n >>> 16
    block[at + 6] = n >>> 8
    block[at + 7] = n
    for (let i = 0; i < TAG_BYTES; i++) block[at + 8 + i] = tag[i]!
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
      block.fill(0, offsetOf(k), offsetOf(k) + PLACE_BYTES)
      this.dirty.add(blockOf(k))
    }
    this.#last = Math.min(this.#last, last)
  }

  /** 0 if this k has no place, or one that is forgotten. */
  placeOf(k: number): Position {
    if (k > this.#last || k <= this.#last - limits.IN_FLIGHT_MAX) return 0 as Position
    const block = this.#blocks.get(blockOf(k))
    return block ? positionOf(u32(block, offsetOf(k)), u32(block, offsetOf(k) + 4)) : (0 as Position)
  }

  get(k: number): Placed | undefined {
    const at = this.placeOf(k)
    if (at === 0) return undefined
    const from = offsetOf(k) + 8
    return { at, tag: this.#blocks.get(blockOf(k))!.slice(from, from + TAG_BYTES) }
  }

  /** Bytes of a block as a row has them; undefined when nothing is in it. */
  write(number: number): Uint8Array | undefined {
    return this.#blocks.get(number)?.slice()
  }

  read(number: number, row: Uint8Array): void {
    this.#blocks.set(number, new Uint8Array(row))
    for (let k = number * BLOCK_KS; k < (number + 1) * BLOCK_KS; k++) {
      if (u32(row, offsetOf(k)) > 0) this.#last = Math.max(this.#last, k)
    }
  }
}
