// The conversations that come here, each looked after in turn. A region that speaks of ever further ones, and has a part
// of each that it never hands over, fills no memory: beyond so many that nobody here needs, the oldest that has waited in
// vain makes room. If it is real it is spoken of again.
import type { ConvId, RegionId } from '#protocol'
import type { Coming } from './coming.ts'

export class ComingList {
  /** The one whose turn is next first. */
  readonly #all = new Map<ConvId, Coming>()
  /** Of those that are looked for on that region's word alone, the oldest first. */
  readonly #spokenOf = new Map<RegionId, Set<Coming>>()

  get(id: ConvId): Coming | undefined {
    return this.#all.get(id)
  }

  has(id: ConvId): boolean {
    return this.#all.has(id)
  }

  all(): Coming[] {
    return [...this.#all.values()]
  }

  add(coming: Coming): void {
    this.#all.set(coming.id, coming)
    const { word } = coming
    if (!word) return
    const spokenOf = this.#spokenOf.get(word) ?? new Set()
    this.#spokenOf.set(word, spokenOf.add(coming))
  }

  delete(coming: Coming): void {
    this.#all.delete(coming.id)
    this.#uncount(coming)
  }

  /** It no longer counts among those that only a region speaks of. */
  neededHere(coming: Coming): void {
    this.#uncount(coming)
    coming.word = undefined
  }

  #uncount(coming: Coming): void {
    const { word } = coming
    if (!word) return
    const spokenOf = this.#spokenOf.get(word)!
    spokenOf.delete(coming)
    if (spokenOf.size === 0) this.#spokenOf.delete(word)
  }

  /** The next ones in turn. */
  next(count: number): Coming[] {
    const due: Coming[] = []
    for (const coming of this.#all.values()) {
      if (due.length === count) break
      due.push(coming)
    }
    for (const coming of due) {
      this.#all.delete(coming.id)
      this.#all.set(coming.id, coming)
    }
    return due
  }

  /** The oldest that only this region speaks of, if those are more than `most`. */
  oldestBeyond(most: number, region: RegionId): Coming | undefined {
    const spokenOf = this.#spokenOf.get(region)
    return spokenOf && spokenOf.size > most ? spokenOf.values().next().value : undefined
  }
}
