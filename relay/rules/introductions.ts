// On a link, the first thing said about a conversation is what it is and where its members live.
import { type ConvId, encodeIntro, type HomeRecord, ItemKind, type RegionId } from '#protocol'
import type { Conversation } from './conversation.ts'
import type { LinkPort, RelayPorts } from './ports.ts'

/** Conversations of which it is remembered that a region was introduced to them; of others it hears once more. */
const REMEMBERED_MAX = 65_536

export type Introduced = {
  readonly id: ConvId
  readonly genesis: Uint8Array
  readonly homeRecords: readonly HomeRecord[]
}

export function introduce(links: Pick<LinkPort, 'send'>, to: RegionId, { id, genesis, homeRecords }: Introduced): void {
  links.send(to, { conv: id, kind: ItemKind.INTRO, body: encodeIntro(genesis, homeRecords) })
}

export class Introductions {
  readonly #links: LinkPort
  readonly #recordsOf: (conv: Conversation) => HomeRecord[]
  readonly #done = new Map<RegionId, Set<ConvId>>()

  constructor(links: LinkPort, recordsOf: (conv: Conversation) => HomeRecord[]) {
    this.#links = links
    this.#recordsOf = recordsOf
  }

  before(region: RegionId, conv: Conversation): void {
    let done = this.#done.get(region)
    if (!done) {
      done = new Set()
      this.#done.set(region, done)
    }
    if (done.has(conv.id)) return
    if (done.size >= REMEMBERED_MAX) done.delete(done.values().next().value!)
    done.add(conv.id)
    this.again(region, conv)
  }

  /** Whatever was said before: who lives there now says in return what became of it. */
  again(region: RegionId, conv: Conversation): void {
    introduce(this.#links, region, {
      id: conv.id,
      genesis: conv.genesisBytes,
      homeRecords: this.#recordsOf(conv),
    })
  }

  /** Somebody lives there since: what was said before was said to a region that had no use for it. */
  anew(region: RegionId, conv: Conversation): void {
    this.#done.get(region)?.delete(conv.id)
  }

  /** A new link knows nothing. */
  reset(region: RegionId): void {
    this.#done.delete(region)
  }
}

export function recordsOfMembers({ directory }: RelayPorts, conv: Conversation): HomeRecord[] {
  return conv.members.flatMap((m) => directory.knownHome(m.userId)?.record ?? [])
}
