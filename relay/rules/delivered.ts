// How far a person has everything that others wrote, for the register `delivered`. It is told a little later than the
// cursor moves, so what is still to be told must be found again after a restart: until then the conversation counts as kept.
import { NOWHERE, nOf, type Position } from '#protocol'
import type { Conversation } from './conversation.ts'
import type { Inboxes } from './inboxes.ts'

export const REGISTER_DELIVERED = 1

function newestOfOthers(conv: Conversation, member: number): Position {
  let newest = NOWHERE
  for (const author of conv.authors.values()) {
    const placed = author.member === member ? NOWHERE : author.window.placeOf(author.last)
    if (placed > newest) newest = placed
  }
  return newest
}

/** What is to be told; undefined when the others know enough: nobody waits to hear that people have their own messages. */
export function deliveredOf(conv: Conversation, member: number, inboxes: Inboxes): Position | undefined {
  const version = inboxes.highest(conv, conv.members[member]!)
  let known = 0
  for (const r of conv.registers.values())
    if (r.kind === REGISTER_DELIVERED && r.member === member) known = Math.max(known, r.version)
  // A cursor may stand before the first entry of an epoch: nothing was delivered there.
  return nOf(version) > 0 && version > known && known < newestOfOthers(conv, member) ? version : undefined
}

export function owesDelivered(conv: Conversation, inboxes: Inboxes): boolean {
  return conv.members.some((member, m) => member.local && deliveredOf(conv, m, inboxes) !== undefined)
}
