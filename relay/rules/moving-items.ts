// Items by which a conversation moves, handed to whom they concern. They may come from regions where no member lives any
// more, or not yet, so they stand apart from what a member region says about a conversation.
import { type ConvId, ItemKind, ParleyError, type RegionId, type RelayItem } from '#protocol'
import type { Arriving } from './arriving.ts'
import { type Conversation, isClosed } from './conversation.ts'
import type { FormerHomes } from './former-homes.ts'
import type { Leaving } from './leaving.ts'
import type { Moves } from './moves.ts'

export type MovingParts = {
  readonly moves: Moves
  readonly arriving: Arriving
  readonly leaving: Leaving
  readonly formerHomes: FormerHomes
}

/** Items about a person, not about a conversation. */
export type PersonItem = Extract<RelayItem, { kind: typeof ItemKind.MOVED | typeof ItemKind.MOVED_STATE }>

export type MovingItem = Extract<
  RelayItem,
  {
    kind:
      | typeof ItemKind.HOST_REGISTERS
      | typeof ItemKind.HOST_REGISTERS_STATE
      | typeof ItemKind.TAKEOVER
      | typeof ItemKind.TAKEOVER_STATE
      | typeof ItemKind.BALLOT
      | typeof ItemKind.FETCH
      | typeof ItemKind.RANGE
  }
>

export function isMoving(item: RelayItem): item is MovingItem {
  return item.kind >= ItemKind.HOST_REGISTERS && item.kind <= ItemKind.RANGE
}

export function isOfPerson(item: RelayItem): item is PersonItem {
  return item.kind === ItemKind.MOVED || item.kind === ItemKind.MOVED_STATE
}

export function takeOfPerson({ formerHomes }: MovingParts, region: RegionId, name: ConvId, item: PersonItem): void {
  if (item.kind === ItemKind.MOVED) formerHomes.onMoved(region, name, item.value)
  else formerHomes.onState(region, name, item.value)
}

function ensureThere(conv: Conversation | undefined): asserts conv is Conversation {
  if (!conv) throw new ParleyError('unknown_conversation', 'nothing of this conversation is here')
}

export function takeMoving(
  { moves, arriving, leaving }: MovingParts,
  region: RegionId,
  id: ConvId,
  conv: Conversation | undefined,
  item: MovingItem,
): void {
  switch (item.kind) {
    case ItemKind.TAKEOVER:
      leaving.onTakeover(region, id, conv, item.value)
      return
    case ItemKind.TAKEOVER_STATE:
      arriving.onState(region, id, item.value)
      return
    case ItemKind.RANGE:
      arriving.onRange(region, id, item.value)
      return
    case ItemKind.BALLOT:
      if (arriving.isProposing(id)) arriving.onBallot(region, id, item.value)
      else {
        ensureThere(conv)
        leaving.onBallot(region, conv, item.value)
      }
      return
    case ItemKind.FETCH:
      ensureThere(conv)
      leaving.onFetch(region, conv, item.value)
      return
    case ItemKind.HOST_REGISTERS:
      ensureThere(conv)
      moves.onRegisters(region, conv, item.value.items)
      return
    case ItemKind.HOST_REGISTERS_STATE:
      if (conv) moves.onState(region, conv, item.value.epoch)
  }
}

/** What a host says of an epoch that was closed here is worth nothing any more. */
export function isDeposed(conv: Conversation, region: RegionId): boolean {
  return conv.host === region && isClosed(conv)
}
