// What a region gets of what it missed. Whoever comes back is behind in many conversations at once; to send all of it in
// the moment in which its link stands would keep everybody else waiting. So what is older than the link goes in pieces, a
// bounded amount in each tick for all regions together, the regions in turn and within each its conversations. First comes
// what still waits in the journal (here), then what lags (lag-server.ts); what is said from now on goes at once, but for
// conversations in which something older has to go first.
import type { RegionId } from '#protocol'
import { type Conversation, type FeedState, pin, unpin } from './conversation.ts'
import { LOG_STREAM } from './conversation-rows.ts'
import { type Senders, sentOf } from './senders.ts'

/** What a piece costs at least: rows are read and items made for it. */
const PIECE_LEAST_BYTES = 512

/** What may still be sent in this tick of what regions missed. */
export class CatchUpPace {
  readonly #tickBytes: number
  #left: number

  constructor(tickBytes: number) {
    this.#tickBytes = tickBytes
    this.#left = tickBytes
  }

  get isSpent(): boolean {
    return this.#left <= 0
  }

  tick(): void {
    this.#left = Math.min(this.#tickBytes, this.#left + this.#tickBytes)
  }

  /** Until it is known how large a piece is it counts as the largest. Returns what is to be told the size. */
  piece(mostBytes: number): (bytes: number) => void {
    this.#left -= mostBytes
    return (bytes) => {
      this.#left += mostBytes - Math.max(bytes, PIECE_LEAST_BYTES)
    }
  }
}

export type ResumingLimits = {
  /** Bytes of one conversation before it is the next one's turn. */
  readonly pieceBytes: number
  /** Bytes of one conversation that go at once when something new is said. */
  readonly liveBytes: number
}

type Waiting = { readonly conv: Conversation; readonly feed: FeedState; isReading: boolean }

export class Resuming {
  readonly #senders: Senders
  readonly #pace: CatchUpPace
  readonly #limits: ResumingLimits
  /** The next one first, of the regions as of the conversations of each. */
  readonly #regions = new Map<RegionId, Map<Conversation, Waiting>>()

  constructor(senders: Senders, pace: CatchUpPace, limits: ResumingLimits) {
    this.#senders = senders
    this.#pace = pace
    this.#limits = limits
  }

  /** What waits of the conversation's log for the region and was not sent yet follows piece by piece. */
  begin(conv: Conversation, region: RegionId): void {
    const feed = conv.feeds.get(region)
    if (!feed || sentOf(feed) >= conv.settled) return
    let convs = this.#regions.get(region)
    if (!convs) {
      convs = new Map()
      this.#regions.set(region, convs)
    }
    if (convs.has(conv)) return
    pin(conv)
    convs.set(conv, { conv, feed, isReading: false })
  }

  /** Sends what is new, unless something older goes first. */
  live(conv: Conversation, region: RegionId): void {
    const waiting = this.#regions.get(region)?.get(conv)
    if (waiting && this.#isOwed(waiting, region)) return
    this.#senders.pumpLog(conv, region, this.#limits.liveBytes)
  }

  /** The link came up anew, or went. */
  reset(region: RegionId): void {
    const convs = this.#regions.get(region)
    if (!convs) return
    for (const { conv } of convs.values()) unpin(conv)
    this.#regions.delete(region)
    // Somebody may still be reading for it.
    convs.clear()
  }

  /** As much as the tick still has room for. */
  run(): void {
    let idle = 0
    while (!this.#pace.isSpent && idle < this.#regions.size) {
      const [first] = this.#regions
      if (!first) return
      const [region, convs] = first
      this.#regions.delete(region)
      if (convs.size === 0) continue
      this.#regions.set(region, convs)
      idle = this.#piece(region, convs) ? 0 : idle + 1
    }
  }

  #isOwed({ conv, feed }: Waiting, region: RegionId): boolean {
    return conv.hostedHere && conv.feeds.get(region) === feed && !feed.lag.has(LOG_STREAM)
  }

  #drop(convs: Map<Conversation, Waiting>, { conv }: Waiting): void {
    if (convs.delete(conv)) unpin(conv)
  }

  /** False when the region can be sent nothing now. */
  #piece(region: RegionId, convs: Map<Conversation, Waiting>): boolean {
    const next = convs.values().find(({ isReading }) => !isReading)
    if (!next || !this.#senders.hasRoom(region)) return false
    const { conv } = next
    if (!this.#isOwed(next, region)) {
      this.#drop(convs, next)
      return true
    }
    convs.delete(conv)
    convs.set(conv, next)
    next.isReading = true
    const pieceIs = this.#pace.piece(this.#limits.pieceBytes)
    this.#senders.pumpLog(conv, region, this.#limits.pieceBytes, (sent, bytes) => {
      next.isReading = false
      pieceIs(bytes)
      if (convs.get(conv) === next && (sent >= conv.settled || bytes === 0)) this.#drop(convs, next)
    })
    return true
  }
}
