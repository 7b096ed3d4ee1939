// On a link, the first thing said about a conversation is what it is and where its members live.
import { type Clock, type ConvId, encodeIntro, type HomeRecord, ItemKind, type RegionId } from '#protocol'
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

/** When it was last said of itself, and the sum of the generations of its members' homes then. */
type Said = { readonly homes: number; readonly ms: number }

/** Only as the first thing said about it, from which nothing follows for when it is said again. */
const SAID_FIRST: Said = { homes: 0, ms: Number.NEGATIVE_INFINITY }

export class Introductions {
  readonly #links: LinkPort
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #againMs: number
  readonly #recordsOf: (conv: Conversation) => HomeRecord[]
  readonly #done = new Map<RegionId, Map<ConvId, Said>>()

  constructor(
    { links, clock }: Pick<RelayPorts, 'links'> & { clock: Pick<Clock, 'monotonic'> },
    againMs: number,
    recordsOf: (conv: Conversation) => HomeRecord[],
  ) {
    this.#links = links
    this.#clock = clock
    this.#againMs = againMs
    this.#recordsOf = recordsOf
  }

  before(region: RegionId, conv: Conversation): void {
    if (this.#done.get(region)?.has(conv.id)) return
    this.#remember(region, conv, SAID_FIRST)
    this.again(region, conv)
  }

  /**
   * Once for the homes that its members have, and every `againMs` at most: it is looked at each time that it is opened,
   * and of many of them few stay in memory.
   */
  atTimes(region: RegionId, conv: Conversation, homes: number): void {
    const ms = this.#clock.monotonic()
    const said = this.#done.get(region)?.get(conv.id)
    if (said?.homes === homes && ms - said.ms < this.#againMs) return
    this.#remember(region, conv, { homes, ms })
    this.again(region, conv)
  }

  #remember(region: RegionId, conv: Conversation, said: Said): void {
    const done = this.#done.get(region) ?? new Map<ConvId, Said>()
    this.#done.set(region, done)
    if (!done.has(conv.id) && done.size >= REMEMBERED_MAX) done.delete(done.keys().next().value!)
    done.set(conv.id, said)
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
