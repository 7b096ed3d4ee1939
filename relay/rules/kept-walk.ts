// What may have been left behind in the conversations of which something is kept.
import type { ConvId } from '#protocol'
import type { Conversation } from './conversation.ts'
import { KEPT } from './conversation-rows.ts'
import type { Core } from './core.ts'
import type { Owed } from './ports.ts'

/** Conversations that are looked at in one go. */
const PER_SWEEP = 32

/**
 * After a restart nobody may come back to a conversation that could be trimmed: each is looked at once, and again when a
 * link has come up over which it can be asked what is safe, or when somebody lives elsewhere, whose new home may have said
 * that it has everything before this region knew of that.
 */
export class KeptWalk {
  readonly #core: Core
  #from: string | undefined = ''
  #again = false
  #reading = false

  constructor(core: Core) {
    this.#core = core
  }

  /** From the beginning; one that is under way goes to its end first. */
  again(): void {
    if (this.#from === undefined && !this.#reading) this.#from = ''
    else this.#again = true
  }

  next(look: (conv: Conversation) => void): void {
    const from = this.#from
    if (from === undefined) return
    this.#from = undefined
    this.#reading = true
    const options = { from, to: undefined, limit: PER_SWEEP, reverse: false }
    this.#core.load(this.#core.store.range(KEPT, options), (rows) => {
      this.#reading = false
      for (const [id] of rows) this.#core.convs.with(id as ConvId, (conv) => conv && look(conv))
      const last = rows[rows.length - 1]
      if (rows.length === PER_SWEEP && last) this.#from = `${last[0]}\0`
      else if (this.#again) {
        this.#again = false
        this.#from = ''
      }
    })
  }
}

export function owedOf({ feeds, convs }: Core): Owed {
  let [lagging, inbox] = [0, 0]
  for (const conv of convs.loaded()) {
    for (const { lag } of conv.feeds.values()) lagging += lag.size
    for (const member of conv.members) if (member.inbox) inbox++
  }
  const window = feeds.destinations().reduce((sum, region) => sum + feeds.windowSize(region), 0)
  return { window, lagging, inbox }
}
