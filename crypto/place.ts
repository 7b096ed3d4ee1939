// Where a content stands: a conversation, and the author device's counter in it. Every content names the conversation
// in bytes; reading them from the id's text costs more than the rest of packing, so the last ones are remembered.
import { type ConvId, convIdBytes } from '#protocol'
import { CONVERSATIONS_KEPT } from './limits.ts'

export type Place = { readonly convId: ConvId; readonly k: number }

const known = new Map<ConvId, Uint8Array>()

/** Not to be changed by who gets them. */
export function convBytes(convId: ConvId): Uint8Array {
  let bytes = known.get(convId)
  if (!bytes) {
    bytes = convIdBytes(convId)
    if (known.size >= CONVERSATIONS_KEPT) known.clear()
    known.set(convId, bytes)
  }
  return bytes
}
