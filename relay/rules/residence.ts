// Who lives here, and by which home record: somebody may have left and come back without this region noticing.
import type { Home, RegionId } from '#protocol'
import type { Conversation, Member } from './conversation.ts'
import type { FormerHome } from './ports.ts'

/** A member lives here, though what they had elsewhere may still be on its way. */
export const livesHere = (conv: Conversation, here: RegionId): boolean =>
  conv.members.some(({ region }) => region === here)

/** As one who lives here by this home record, and not only by an earlier one. */
export const isServed = ({ local, since }: Member, { homeGeneration }: Home): boolean =>
  local && since >= homeGeneration

/** They lived elsewhere since they came to be served here: what came to be there is not known here. */
export const wasAway = ({ since }: Member, former: FormerHome | undefined): boolean =>
  former !== undefined && former.generation >= since

/** Who is at home by a later record, as after a restore, and was not away. */
export function stayed(conv: Conversation, homes: readonly Home[], here: RegionId): void {
  for (const [m, { homeRegion, homeGeneration }] of homes.entries()) {
    const member = conv.members[m]!
    if (homeRegion === here && member.local) member.since = homeGeneration
  }
}
