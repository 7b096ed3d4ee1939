// Conversations follow their members: when somebody lives elsewhere, what is here of theirs is looked at, comes or goes.
import { type ConvId, ParleyError, type UserId } from '#protocol'
import type { Arriving } from './arriving.ts'
import type { Conversation } from './conversation.ts'
import { collect, inboxPartition, rowsOf } from './conversation-rows.ts'
import type { Core } from './core.ts'
import type { Introductions } from './introductions.ts'
import type { KeptWalk } from './kept-walk.ts'
import type { Moves } from './moves.ts'
import { inPortions } from './portions.ts'
import { isServed, livesHere } from './residence.ts'

export type FollowingParts = {
  readonly core: Core
  readonly moves: Moves
  readonly introductions: Introductions
  readonly arriving: Arriving
  readonly kept: KeptWalk
}

export class Following {
  readonly #parts: FollowingParts

  constructor(parts: FollowingParts) {
    this.#parts = parts
  }

  /** Where the members live by the newest records, and what that asks of this region. */
  check(conv: Conversation): void {
    const { core, moves, introductions, arriving } = this.#parts
    if (!livesHere(conv, core.ports.region)) return
    const { directory, links, region: here } = core.ports
    const homes = conv.members.map(({ userId }) => directory.knownHome(userId))
    const hosts = homes[0]?.homeRegion === here && homes[0].homeGeneration > conv.epoch
    if (
      hosts ||
      arriving.isComing(conv.id) ||
      homes.some((home, m) => home?.homeRegion === here && !isServed(conv.members[m]!, home))
    )
      arriving.begin(conv.id, conv.genesisBytes, undefined)
    moves.follows(conv)
    // The new home of somebody who left hears of the conversation, whether or not a device comes there; so does the one
    // that is to host it, when who was to has nothing of it.
    const generations = homes.reduce((sum, home) => sum + (home?.homeGeneration ?? 0), 0)
    for (const [m, home] of homes.entries()) {
      if (!home || home.homeRegion === here) continue
      const decides = m === 0 && home.homeRegion !== conv.host && home.homeGeneration > conv.epoch
      if (!decides && conv.members[m]!.region !== here) continue
      if (links.isUp(home.homeRegion)) introductions.atTimes(home.homeRegion, conv, generations)
      else links.want(home.homeRegion)
    }
  }

  homesChanged(users: readonly UserId[]): void {
    for (const user of users) this.homeChanged(user)
  }

  /** Somebody lives elsewhere now: what is in use, and what waits to be delivered, is looked at. */
  homeChanged(user: UserId): void {
    const { core, arriving, kept } = this.#parts
    const home = core.ports.directory.knownHome(user)
    if (!home) return
    kept.again()
    if (home.homeRegion !== core.ports.region) {
      for (const session of [...core.sessions.ofUser(user)])
        core.sessions.close(session, new ParleyError('not_home', 'this account moved', { home: home.homeRegion }))
    }
    arriving.movedOn(user)
    const check = (_: ConvId, conv: Conversation | undefined): void => conv && this.check(conv)
    inPortions(core, core.convs.loadedOf(user).values(), { step: check })
    core.load(collect(rowsOf(core.store, inboxPartition(user), '', '~')), (rows) => {
      // What is in memory has been looked at, and what is read is, on opening.
      inPortions(core, rows.map(([id]) => id as ConvId).values(), { step: () => {} })
    })
  }
}
