// The host needs the author's manifest before it can take anything of theirs; what comes meanwhile waits.
import { ParleyError, type RegionId, type Submission } from '#protocol'
import { type Author, authorOf, type Conversation } from './conversation.ts'
import type { Core } from './core.ts'
import { isDeviceOf } from './host.ts'
import type { Submissions } from './submissions.ts'

/** Batches of submissions of one device that wait for its manifest; beyond it they are asked for again. */
const UNVERIFIED_MAX = 16

export class Unverified {
  readonly #core: Core
  readonly #submissions: Submissions
  readonly #waiting = new Map<string, Submission[][]>()

  constructor(core: Core, submissions: Submissions) {
    this.#core = core
    this.#submissions = submissions
  }

  /** Taken at once when its author's device is known. */
  take(region: RegionId, conv: Conversation, author: Author, items: Submission[]): void {
    const { directory } = this.#core.ports
    const user = conv.members[author.member]!.userId
    const manifest = directory.knownManifest(user)
    if (manifest && isDeviceOf(manifest, author)) {
      this.#submissions.fromRegion(conv, author, region, items)
      return
    }
    const name = `${conv.id}${author.key}`
    const waiting = this.#waiting.get(name)
    if (waiting) {
      if (waiting.length < UNVERIFIED_MAX) waiting.push(items)
      return
    }
    const home = directory.knownHome(user)
    if (!home) throw new ParleyError('unknown_user', 'submissions of somebody whose home is not known here')
    this.#waiting.set(name, [items])
    this.#core.load(
      directory.findManifest(user, home).catch(() => undefined),
      () => {
        const batches = this.#waiting.get(name) ?? []
        this.#waiting.delete(name)
        if (!directory.knownManifest(user)) return
        this.#core.convs.with(conv.id, (now) => {
          for (const batch of batches)
            if (now?.hostedHere && now.feeds.has(region))
              this.#submissions.fromRegion(now, authorOf(now, author.member, author), region, batch)
        })
      },
    )
  }
}
