// Of whom not even that is known where they lived before: their accounts are read first.
import type { ConvId, UserId } from '#protocol'
import type { Conversation } from './conversation.ts'
import type { Core } from './core.ts'
import { findHomes } from './founding.ts'
import { isServed } from './residence.ts'

export class Unread {
  readonly #core: Core
  readonly #reading = new Map<ConvId, readonly UserId[]>()

  constructor(core: Core) {
    this.#core = core
  }

  has(id: ConvId): boolean {
    return this.#reading.has(id)
  }

  awaits(id: ConvId, user: UserId): boolean {
    return this.#reading.get(id)?.includes(user) === true
  }

  /** At once, if there is nobody to read of. */
  first(id: ConvId, users: readonly UserId[], existing: Conversation | undefined, then: () => void): void {
    const unread = users.filter((user, m) => this.#isUnread(user, existing?.members[m]))
    if (unread.length === 0) then()
    else if (!this.#reading.has(id)) this.#read(id, unread, then)
  }

  #isUnread(user: UserId, member: Conversation['members'][number] | undefined): boolean {
    const { directory, region: here } = this.#core.ports
    const home = directory.knownHome(user)
    if (member && home ? isServed(member, home) : member?.local) return false
    return !directory.knownManifest(user) && (!home || home.homeRegion === here)
  }

  #read(id: ConvId, users: readonly UserId[], then: () => void): void {
    const { load, ports, convs } = this.#core
    this.#reading.set(id, users)
    load(findHomes(ports, users), () => {
      convs.with(id, () => {
        this.#reading.delete(id)
        then()
      })
    })
  }
}
