// The host needs the author's manifest before it can take anything of theirs; what comes meanwhile waits.
import { ParleyError, type RegionId, type Submission, sizeOfSubmission } from '#protocol'
import { type Author, authorOrNew, type Conversation } from './conversation.ts'
import type { Core } from './core.ts'
import { isDeviceOf } from './host.ts'
import type { Submissions } from './submissions.ts'

/** Batches of submissions of one device that wait for its manifest; what comes beyond it is to come again. */
const UNVERIFIED_MAX = 16
/** The same of all devices of one region, bytes. */
const UNVERIFIED_MAX_BYTES = 4 * 1024 * 1024

/** What one costs beside its parts; roughly. */
const ITEM_BYTES = 500

const sizeOf = (items: readonly Submission[]): number =>
  items.reduce((sum, item) => sum + ITEM_BYTES + sizeOfSubmission(item), 0)

export class Unverified {
  readonly #core: Core
  readonly #submissions: Submissions
  readonly #waiting = new Map<string, Submission[][]>()
  readonly #bytes = new Map<RegionId, number>()

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
    const home = directory.knownHome(user)
    if (!home) throw new ParleyError('unknown_user', 'submissions of somebody whose home is not known here')
    const name = `${region} ${conv.id}${author.key}`
    const waiting = this.#waiting.get(name)
    const bytes = sizeOf(items)
    if (this.#bytesOf(region) + bytes > UNVERIFIED_MAX_BYTES || waiting?.length === UNVERIFIED_MAX) {
      this.#submissions.putOff(conv, author, region, items[0])
      return
    }
    this.#count(region, bytes)
    if (waiting) {
      waiting.push(items)
      return
    }
    this.#waiting.set(name, [items])
    this.#core.load(
      directory.findManifest(user, home).catch(() => undefined),
      () => {
        const batches = this.#waiting.get(name) ?? []
        this.#waiting.delete(name)
        this.#count(region, -sizeOf(batches.flat()))
        if (!directory.knownManifest(user)) return
        this.#core.convs.with(conv.id, (now) => {
          for (const batch of batches)
            if (now?.hostedHere && now.feeds.has(region))
              this.#submissions.fromRegion(now, authorOrNew(now, author.member, author), region, batch)
        })
      },
    )
  }

  #bytesOf(region: RegionId): number {
    return this.#bytes.get(region) ?? 0
  }

  #count(region: RegionId, bytes: number): void {
    const now = this.#bytesOf(region) + bytes
    if (now > 0) this.#bytes.set(region, now)
    else this.#bytes.delete(region)
  }
}
