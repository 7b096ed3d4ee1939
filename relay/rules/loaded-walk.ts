// A link came up: the conversations in memory are looked at, a few at a time, so that nobody waits for all of them.
import type { RegionId } from '#protocol'
import type { Conversation } from './conversation.ts'
import type { Conversations } from './conversations.ts'

/** In one tick; about 3 µs each. */
const AT_ONCE = 256

export class LoadedWalk {
  readonly #convs: Conversations
  readonly #check: (conv: Conversation) => void
  readonly #askHost: (conv: Conversation) => void
  #left: Conversation[] = []
  #linked: ReadonlySet<RegionId> = new Set()
  /** Links that came up while a walk was under way: it goes to its end first. */
  #next = new Set<RegionId>()

  constructor(convs: Conversations, check: (conv: Conversation) => void, askHost: (conv: Conversation) => void) {
    this.#convs = convs
    this.#check = check
    this.#askHost = askHost
  }

  linkUp(region: RegionId): void {
    this.#next.add(region)
    if (this.#left.length === 0) this.next()
  }

  next(): void {
    if (this.#left.length === 0) {
      if (this.#next.size === 0) return
      this.#left = [...this.#convs.loaded()].reverse()
      this.#linked = this.#next
      this.#next = new Set()
    }
    for (const conv of this.#left.splice(-AT_ONCE).reverse()) {
      if (this.#convs.get(conv.id) !== conv) continue
      this.#check(conv)
      if (!conv.hostedHere && this.#linked.has(conv.host)) this.#askHost(conv)
    }
  }
}
