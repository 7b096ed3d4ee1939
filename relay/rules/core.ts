// What the parts of a relay's rules share: the ports, the store, the conversations in use, the sessions and the feeds;
// and the outbox, in which what must not leave before its commit waits for it.
import type { ConvId, RegionId, UserId } from '#protocol'
import type { Store } from '../store/types.ts'
import type { Conversation, Member } from './conversation.ts'
import type { Conversations, Load } from './conversations.ts'
import type { Feeds } from './feeds.ts'
import type { Inboxes } from './inboxes.ts'
import type { Item, RelayPorts } from './ports.ts'
import type { Sessions } from './sessions.ts'

export type Core = {
  readonly ports: RelayPorts
  readonly store: Store
  readonly convs: Conversations
  readonly sessions: Sessions
  readonly inboxes: Inboxes
  readonly feeds: Feeds
  readonly outbox: Outbox
  readonly load: Load
  /** Somebody lives here now, and what was said before they came is still on its way. */
  readonly isAwaited: (conv: ConvId, user: UserId) => boolean
  /** What is not here may still come, from another region than this one. */
  readonly mayComeFromElsewhere: (conv: ConvId, than: RegionId) => boolean
  /** Of the store: one more after every restore. What began in an earlier one may have gone on without it. */
  readonly life: () => number
  /** It is hosted here for somebody whose account is of before the store went back, and who has not come home yet. */
  readonly isOrphaned: (
    conv: Pick<Conversation, 'host'> & { readonly members: readonly Pick<Member, 'userId'>[] },
  ) => boolean
  /** Where somebody who lives here, or lived, was at home before, as long as that region may keep something for them. */
  readonly keeping: (user: UserId) => Promise<readonly RegionId[]>
  /** What happened since it was told the last time. */
  readonly counts: { submitted: number; sequenced: number }
}

/** Link items that wait for the commit they were computed from. */
export class Outbox {
  readonly #waiting: { gate: number; region: RegionId; item: Item }[] = []
  readonly #committed: () => number
  readonly #send: (region: RegionId, item: Item) => void

  constructor(committed: () => number, send: (region: RegionId, item: Item) => void) {
    this.#committed = committed
    this.#send = send
  }

  /** Gates only rise, so the queue stays sorted. What waits for nothing leaves at once. */
  after(gate: number, region: RegionId, item: Item): void {
    if (gate <= this.#committed()) this.#send(region, item)
    else this.#waiting.push({ gate, region, item })
  }

  committed(commit: number): void {
    let ready = 0
    while (ready < this.#waiting.length && this.#waiting[ready]!.gate <= commit) ready++
    for (const { region, item } of this.#waiting.splice(0, ready)) this.#send(region, item)
  }
}
