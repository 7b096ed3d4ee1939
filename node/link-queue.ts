// What a link owes its peer: items that wait, cut into batches as fast as the peer's credit allows. Batches are numbered
// densely; the bytes of those the peer has not consumed are in flight.
import { limits, ParleyError } from '#protocol'
import {
  LINK_BATCH_CUT_BYTES,
  LINK_CREDIT_BYTES,
  LINK_ITEM_MAX_BYTES,
  LINK_QUEUE_MAX_BYTES,
  LINK_QUEUE_MAX_ITEMS,
} from './limits.ts'
import { encodeBatch, itemBytes, nameBytes } from './link-codec.ts'
import { LinkNames } from './link-names.ts'
import type { LinkItem } from './types.ts'

const FRAME_PREFIX_BYTES = 4
/** The array of items gives up what it has passed on beyond this. */
const COMPACT_AT = 1_024

/** Throws `too_large` for an item that no batch can hold. */
export function ensureItemFits(item: LinkItem): void {
  const bytes = itemBytes(item)
  if (bytes <= LINK_ITEM_MAX_BYTES) return
  throw new ParleyError('too_large', 'link item over the limit', { limit: `${LINK_ITEM_MAX_BYTES}`, size: `${bytes}` })
}

export class LinkQueue {
  readonly #names = new LinkNames()
  #items: LinkItem[] = []
  #head = 0
  #queuedBytes = 0
  #batches = 0
  #sentBytes = 0
  #consumedBytes = 0

  /** Something is queued. */
  get isWaiting(): boolean {
    return this.#head < this.#items.length
  }

  /** Bytes queued and in flight. */
  get backlog(): number {
    return this.#queuedBytes + this.#sentBytes - this.#consumedBytes
  }

  /** False when there is no room. */
  push(item: LinkItem): boolean {
    const bytes = itemBytes(item)
    const full =
      this.#queuedBytes + bytes > LINK_QUEUE_MAX_BYTES || this.#items.length - this.#head >= LINK_QUEUE_MAX_ITEMS
    if (full) return false
    this.#items.push(item)
    this.#queuedBytes += bytes
    return true
  }

  /** The peer has consumed this many bytes in all. Throws `malformed` when that cannot be. */
  consumed(bytes: number): void {
    if (bytes < this.#consumedBytes || bytes > this.#sentBytes)
      throw new ParleyError('malformed', 'credit for bytes that were not sent')
    this.#consumedBytes = bytes
  }

  /** A frame with what waits, up to the cut; undefined when nothing waits or the credit is used up. */
  nextBatch(): Uint8Array | undefined {
    if (this.#head === this.#items.length || this.#sentBytes - this.#consumedBytes >= LINK_CREDIT_BYTES)
      return undefined
    const names: { ref: number; id: Uint8Array }[] = []
    const items: { ref: number; kind: number; body: Uint8Array }[] = []
    let size = 0
    while (this.#head < this.#items.length && items.length + names.length + 2 <= limits.LINK_BATCH_ITEMS_MAX) {
      const item = this.#items[this.#head]!
      const bytes = itemBytes(item)
      if (size > 0 && (size + bytes + nameBytes > LINK_BATCH_CUT_BYTES || this.#names.recycles(item.id))) break
      const name = this.#names.refOf(item.id)
      if (name.isNew) {
        names.push({ ref: name.ref, id: item.id })
        size += nameBytes
      }
      items.push({ ref: name.ref, kind: item.kind, body: item.body })
      size += bytes
      this.#queuedBytes -= bytes
      this.#head++
    }
    this.#compact()
    const frame = encodeBatch({ number: ++this.#batches, names, items })
    this.#sentBytes += frame.length - FRAME_PREFIX_BYTES
    return frame
  }

  clear(): void {
    this.#items = []
    this.#head = 0
    this.#queuedBytes = 0
  }

  #compact(): void {
    const passed = this.#head
    if (passed < this.#items.length && (passed < COMPACT_AT || passed * 2 < this.#items.length)) return
    this.#items = this.#items.slice(passed)
    this.#head = 0
  }
}
