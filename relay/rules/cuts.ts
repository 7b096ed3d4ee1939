// What a forced cut does to a region that had more: log head, hash and k tables go back to the cut, as if what lies beyond
// had never come. The entries themselves are cut off by the caller, in the same commit.
import { type EntryHeader, earlier, type HostRegister, isVoid } from '#protocol'
import { type Author, type Conversation, isSameDevice } from './conversation.ts'

/** `kept`: of the entries that this region still has up to the cut. */
export function rolledBack(conv: Conversation, register: HostRegister, kept: readonly EntryHeader[]): void {
  for (const author of conv.authors.values()) {
    author.last = lastWithin(author, register, kept)
    author.window.cut(author.last)
  }
  const { cut, cutHash } = register
  conv.head = cut
  conv.hash = cutHash
  conv.low = earlier(conv.low, cut)
  conv.safe = earlier(conv.safe, cut)
  conv.settled = earlier(conv.settled, cut)
}

/** The highest k of the author that the cut keeps: by the window, or where that was wholly cut off, by the entries. */
function lastWithin(author: Author, register: HostRegister, kept: readonly EntryHeader[]): number {
  for (let k = author.last; k > 0; k--) {
    const at = author.window.placeOf(k)
    if (at === 0) break
    if (!isVoid(at, [register])) return k
  }
  const last = kept.findLast(({ member, ...header }) => member === author.member && isSameDevice(header, author))
  return last?.k ?? 0
}
