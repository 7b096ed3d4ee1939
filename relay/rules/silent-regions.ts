// A region that does not come back may be gone, and those for whom something is kept here may live elsewhere since. Their
// new home asks for conversations that they know of; of what somebody new to them has written it cannot know. So it is
// looked up where they live, a few at a time and ever more rarely.
import type { Clock, RegionId } from '#protocol'
import type { Conversation } from './conversation.ts'
import { feedPartition, POSITION_KEY, readLagKey } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { findHomes } from './founding.ts'
import { Round } from './round.ts'

/** Streams of which the readers are looked up in one go. */
const PER_SWEEP = 8

export class SilentRegions {
  readonly #core: Core
  readonly #clock: Clock
  readonly #againMs: number
  readonly #check: (conv: Conversation) => void
  readonly #rounds = new Map<RegionId, Round>()

  /** `check`: what it means for a conversation that somebody lives elsewhere. */
  constructor(core: Core, againMs: number, check: (conv: Conversation) => void) {
    this.#core = core
    this.#clock = core.ports.clock
    this.#againMs = againMs
    this.#check = check
  }

  linkUp(region: RegionId): void {
    this.#rounds.delete(region)
  }

  /** There is no link to it; asked again and again for as long as there is none. */
  look(region: RegionId): void {
    const now = this.#clock.monotonic()
    let round = this.#rounds.get(region)
    if (!round) {
      const rows = { partition: feedPartition(region), behind: POSITION_KEY, to: undefined, pageRows: PER_SWEEP }
      round = new Round({ ...rows, againMs: this.#againMs }, now + this.#againMs)
      this.#rounds.set(region, round)
    }
    if (!round.isDue(now)) return
    round.next(this.#core, (keys) => {
      for (const id of new Set(keys.map((key) => readLagKey(key).conv)))
        this.#core.convs.with(id, (conv) => conv && this.#lookUp(conv, region))
    })
  }

  #lookUp(conv: Conversation, region: RegionId): void {
    const { convs, load, ports } = this.#core
    const users = conv.members.flatMap((member) => (member.region === region ? [member.userId] : []))
    load(findHomes(ports, users, { fresh: true }), () => convs.with(conv.id, (now) => now && this.#check(now)))
  }
}
