// Pages of a conversation for somebody who asks over HTTP, read from what the store has.
import { ParleyError, type RegionId, selectParts } from '#protocol'
import type { ReadEntries } from './gateway/parts.ts'
import { loadConversation, readEntries } from './rules/conversation-rows.ts'
import type { Store } from './store/types.ts'

export function createPages(store: Store, here: RegionId): ReadEntries {
  return async (reader, id, after, maxBytes) => {
    const conv = await loadConversation(store, id, here)
    if (!conv) throw new ParleyError('unknown_conversation', 'no such conversation here')
    const member = conv.members.findIndex((m) => m.userId === reader.userId)
    if (member < 0) throw new ParleyError('not_member', 'only members read a conversation')
    const { head } = conv
    const found = await readEntries(store, conv, after, head, maxBytes)
    await store.flushed()
    const own = (m: number, device: number) => m === member && (device === reader.device.device || device === 0)
    return { entries: found.map((entry) => selectParts(entry, own)), head }
  }
}
