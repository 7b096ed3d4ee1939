// Ids are sent once per link and then by a small number: refs go from 1 upwards, dense, and start again from 1 after
// NAMES_MAX, each then taking the place of the id that had it.
import { ID_BYTES, type LinkBatch, limits, ParleyError } from '#protocol'
import type { LinkItem } from './types.ts'

const textOf = (id: Uint8Array): string => Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('latin1')
const nextRef = (ref: number): number => (ref % limits.NAMES_MAX) + 1

export class LinkNames {
  readonly #refs = new Map<string, number>()
  readonly #ids: string[] = []
  #last = 0

  /** Whether this id would take another one's number: such a name begins a batch, so that items before it keep theirs. */
  recycles(id: Uint8Array): boolean {
    return this.#ids[nextRef(this.#last)] !== undefined && !this.#refs.has(textOf(id))
  }

  refOf(id: Uint8Array): { ref: number; isNew: boolean } {
    const text = textOf(id)
    const known = this.#refs.get(text)
    if (known !== undefined) return { ref: known, isNew: false }
    if (id.length !== ID_BYTES) throw new Error(`link item with an id of ${id.length} bytes`)
    const ref = nextRef(this.#last)
    this.#last = ref
    const before = this.#ids[ref]
    if (before !== undefined) this.#refs.delete(before)
    this.#ids[ref] = text
    this.#refs.set(text, ref)
    return { ref, isNew: true }
  }
}

export class LinkNamesRead {
  readonly #ids: Uint8Array[] = []
  #last = 0

  /** The items with their ids. Within one batch a number has one meaning: the sender sees to it. */
  resolve(batch: LinkBatch): LinkItem[] {
    for (const name of batch.names) {
      const ref = nextRef(this.#last)
      if (name.ref !== ref || name.id.length !== ID_BYTES)
        throw new ParleyError('bad_name', 'names out of order', { expected: `${ref}`, ref: `${name.ref}` })
      this.#last = ref
      this.#ids[ref] = name.id
    }
    return batch.items.map((item) => {
      const id = this.#ids[item.ref]
      if (!id) throw new ParleyError('bad_name', 'a number that names nothing', { ref: `${item.ref}` })
      return { id, kind: item.kind, body: item.body }
    })
  }
}
