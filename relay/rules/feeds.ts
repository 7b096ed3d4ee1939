// Feeds: the journal is the outbox (PROTOCOL, section 5).
//
// Every commit may concern (destination, stream) pairs. Writing a row per message and destination would cost more than
// the message itself; instead a destination has a position in the journal, and only what lags too far behind leaves the
// journal for a **lag row** ("from here on"), is served from the tables, and returns when it has caught up. A stream
// with a lag row is served only from the tables, one without only from the window of commits behind the position.
import type { Clock, RegionId } from '#protocol'
import type { Replayed, Store } from '../store/types.ts'
import { type Conversation, feedOf, type Gathered, pin, unpin, type WindowItem } from './conversation.ts'
import {
  feedPartition,
  HOST_STREAM,
  LOG_STREAM,
  lagKey,
  POSITION_KEY,
  readNumber,
  rowsOf,
  writeNumber,
} from './conversation-rows.ts'
import { type Destination, newDestination, type Stream, waitingFor } from './destination.ts'
import { feedNote, notedBeyond } from './feed-notes.ts'

export type FeedLimits = {
  /** Commits × streams of one destination that wait in the journal. */
  readonly windowItems: number
  /** How long a destination may be silent before what waits for it moves to lag rows, ms. */
  readonly patienceMs: number
  /** How long a stream may wait for an acknowledgement while others are acknowledged, ms: it keeps the journal. */
  readonly stuckMs: number
  /** Streams that one commit moves to lag rows because somebody is silent or stuck; the others follow in the next. */
  readonly demoted: number
}

export type FeedHooks = {
  /** The highest point of a stream, pending changes included. */
  streamHead(conv: Conversation, stream: string): number
  /** A stream got a lag row: it is served from the tables from now on. */
  lagged(region: RegionId, conv: Conversation, stream: string): void
  demoted(region: RegionId, streams: number): void
}

const REGIONS = 'f'

export class Feeds {
  readonly #store: Store
  readonly #clock: Clock
  readonly #limits: FeedLimits
  readonly #hooks: FeedHooks
  readonly #destinations = new Map<RegionId, Destination>()
  /** Destinations that ever were, in the store: whose lag rows to serve after a restart. */
  readonly #registered = new Set<string>()
  #takenOver = false
  /** Registers in commits that are under way: they are sent when these count. */
  readonly #registers: { item: WindowItem; region: RegionId }[] = []

  constructor(store: Store, clock: Clock, limits: FeedLimits, hooks: FeedHooks) {
    this.#store = store
    this.#clock = clock
    this.#limits = limits
    this.#hooks = hooks
  }

  #to(region: RegionId): Destination {
    let d = this.#destinations.get(region)
    if (!d) {
      d = newDestination(region, this.#clock.monotonic())
      this.#destinations.set(region, d)
      if (!this.#registered.has(region)) {
        this.#registered.add(region)
        this.#store.put(REGIONS, region, new Uint8Array(0))
      }
    }
    return d
  }

  /** This commit gives the destination something: from..to of a stream. */
  concern(conv: Conversation, region: RegionId, stream: string, from: number, to: number): void {
    const feed = feedOf(conv, region)
    const known = feed.gathered.get(stream)
    if (known) {
      if (to > known.to) known.to = to
      return
    }
    if (feed.lag.has(stream)) return
    const gathered = { conv, stream, from, to }
    feed.gathered.set(stream, gathered)
    this.#to(region).gathered.push(gathered)
  }

  /** Before a commit is closed: promote what has caught up, join the window, demote what has waited too long. */
  closing(commit: number): void {
    let room = this.#limits.demoted
    for (const d of this.#destinations.values()) {
      this.#prune(d)
      this.#promote(d)
      const joined = this.#join(d, commit)
      room -= this.#demote(d, room, joined)
      d.position = d.window.length > 0 ? d.window[0]!.commit - 1 : commit
      // Before everything is taken over what was noted earlier is owed as well; to whom nothing was noted, nothing.
      if (!this.#takenOver || d.writtenPosition >= d.notedAt || d.position === d.writtenPosition) continue
      d.writtenPosition = d.position
      this.#store.put(feedPartition(d.region), POSITION_KEY, writeNumber(d.position))
    }
  }

  /** Registers whose commits count now. */
  registersDue(commit: number): { conv: Conversation; region: RegionId; stream: string }[] {
    const due: { conv: Conversation; region: RegionId; stream: string }[] = []
    while (this.#registers.length > 0 && this.#registers[0]!.item.commit <= commit) {
      const { item, region } = this.#registers.shift()!
      if (!item.done) due.push({ conv: item.conv, region, stream: item.stream })
    }
    return due
  }

  /** After a commit counts: positions hold, but for those behind which lag rows of a later commit lie. */
  committed(commit: number): void {
    for (const d of this.#destinations.values())
      if (d.position <= commit && d.demotedAt <= commit) d.settled = Math.max(d.settled, d.position)
  }

  #prune(d: Destination): void {
    let done = 0
    while (done < d.window.length && d.window[done]!.done) done++
    if (done > 0) d.window.splice(0, done)
  }

  #promote(d: Destination): void {
    for (const [name, { conv, stream }] of d.promotable) {
      unpin(conv)
      const feed = feedOf(conv, d.region)
      if (!feed.lag.has(stream) || (feed.acked.get(stream) ?? 0) < this.#hooks.streamHead(conv, stream)) continue
      feed.lag.delete(stream)
      this.#store.delete(feedPartition(d.region), name)
    }
    d.promotable.clear()
  }

  /** Since something waits for it: of a region that is owed nothing nothing may be heard for long. */
  #isSilent({ window, heardMs }: Destination): boolean {
    const first = window[0]
    return !!first && this.#clock.monotonic() - Math.max(heardMs, first.sinceMs) > this.#limits.patienceMs
  }

  #isStuck({ done, sinceMs }: WindowItem): boolean {
    return !done && this.#clock.monotonic() - sinceMs > this.#limits.stuckMs
  }

  #join(d: Destination, commit: number): number {
    const sinceMs = this.#clock.monotonic()
    const before = d.window.length
    for (const gathered of d.gathered) {
      const { conv, stream, from, to } = gathered
      if (!this.#ungather(d, gathered)) continue
      const item: WindowItem = { commit, sinceMs, conv, stream, from, to, done: false }
      d.window.push(item)
      d.notedAt = commit
      const feed = feedOf(conv, d.region)
      const items = feed.window.get(stream)
      if (items) items.push(item)
      else feed.window.set(stream, [item])
      this.#store.note(feedNote(d.region, conv.id, stream, from))
      if (stream.startsWith('g') || stream === HOST_STREAM) this.#registers.push({ item, region: d.region })
    }
    d.gathered.length = 0
    return d.window.length - before
  }

  /**
   * Streams at the front of the window get lag rows: all in turn while the region is silent, those that are stuck, and as
   * many as there are too many. At most `room`, or as many as joined if there are too many.
   */
  #demote(d: Destination, room: number, joined: number): number {
    const isSilent = this.#isSilent(d)
    let [streams, done] = [0, 0]
    for (; done < d.window.length; done++) {
      const item = d.window[done]!
      if (item.done) continue
      const isFull = d.window.length - done > this.#limits.windowItems
      if (!isFull && !isSilent && !this.#isStuck(item)) break
      if (streams >= room && !(isFull && streams < joined)) break
      this.#demoteStream(d.region, item)
      streams++
    }
    if (done > 0) d.window.splice(0, done)
    if (streams > 0) this.#hooks.demoted(d.region, streams)
    return streams
  }

  #demoteStream(region: RegionId, { conv, stream, from }: WindowItem): void {
    const feed = feedOf(conv, region)
    for (const item of feed.window.get(stream) ?? []) item.done = true
    feed.window.delete(stream)
    if (!feed.lag.has(stream)) this.#putLag(region, conv, stream, Math.max(from, (feed.acked.get(stream) ?? 0) + 1))
  }

  /** False if the stream got a lag row since it was gathered. */
  #ungather(d: Destination, gathered: Gathered): boolean {
    const feed = feedOf(gathered.conv, d.region)
    if (feed.gathered.get(gathered.stream) !== gathered) return false
    return feed.gathered.delete(gathered.stream)
  }

  #putLag(region: RegionId, conv: Conversation, stream: string, from: number): void {
    feedOf(conv, region).lag.set(stream, from)
    this.#store.put(feedPartition(region), lagKey(conv.id, stream), writeNumber(from))
    this.#to(region).demotedAt = this.#store.gate()
    this.#hooks.lagged(region, conv, stream)
  }

  /** The destination has everything of the stream up to `point`, durably. True when that is news. */
  acknowledged(conv: Conversation, region: RegionId, stream: string, point: number): boolean {
    const feed = feedOf(conv, region)
    this.#to(region).heardMs = this.#clock.monotonic()
    const before = feed.acked.get(stream) ?? 0
    const acked = Math.max(before, point)
    if (acked > before) feed.acked.set(stream, acked)
    const items = feed.window.get(stream)
    if (items) {
      let done = 0
      while (done < items.length && items[done]!.to <= acked) items[done++]!.done = true
      if (done === items.length) feed.window.delete(stream)
      else if (done > 0) items.splice(0, done)
    }
    if (feed.lag.has(stream) && acked >= this.#hooks.streamHead(conv, stream)) this.mayPromote(conv, region, stream)
    return acked > before
  }

  /** The lag row goes with the next commit if the stream has caught up by then. */
  mayPromote(conv: Conversation, region: RegionId, stream: string): void {
    const { promotable } = this.#to(region)
    const name = lagKey(conv.id, stream)
    if (promotable.has(name)) return
    promotable.set(name, { conv, stream })
    pin(conv)
  }

  /**
   * The destination has up to `point` and misses what comes then. True when the window reaches back so far and may be
   * sent again; otherwise the stream gets a lag row.
   */
  missed(conv: Conversation, region: RegionId, stream: string, point: number): boolean {
    const feed = feedOf(conv, region)
    const lag = feed.lag.get(stream)
    if (lag !== undefined) {
      if (point + 1 < lag) {
        feed.lag.set(stream, point + 1)
        this.#store.put(feedPartition(region), lagKey(conv.id, stream), writeNumber(point + 1))
      }
      return false
    }
    const items = feed.window.get(stream)
    if (items && items[0]!.from <= point + 1) return true
    if (!items && !feed.gathered.has(stream) && point >= this.#hooks.streamHead(conv, stream)) return false
    for (const item of items ?? []) item.done = true
    feed.window.delete(stream)
    feed.gathered.delete(stream)
    this.#putLag(region, conv, stream, point + 1)
    return false
  }

  /** Everything of a stream from this point on is owed to the region, and served from the tables. */
  owe(conv: Conversation, region: RegionId, stream: string, from: number): void {
    if (!feedOf(conv, region).lag.has(stream)) this.#putLag(region, conv, stream, from)
  }

  /** The conversation moved: what was owed to this region had another meaning, or is owed to somebody else now. */
  forget(conv: Conversation, region: RegionId): void {
    const feed = conv.feeds.get(region)
    if (!feed) return
    const d = this.#to(region)
    for (const items of feed.window.values()) for (const item of items) item.done = true
    for (const stream of feed.lag.keys()) this.#store.delete(feedPartition(region), lagKey(conv.id, stream))
    const others = d.gathered.filter((item) => item.conv !== conv)
    d.gathered.splice(0, d.gathered.length, ...others)
    for (const [name, item] of d.promotable) {
      if (item.conv !== conv) continue
      d.promotable.delete(name)
      unpin(conv)
    }
  }

  /** The highest point of a stream, pending changes included. */
  head(conv: Conversation, stream: string): number {
    return this.#hooks.streamHead(conv, stream)
  }

  heard(region: RegionId): void {
    const d = this.#destinations.get(region)
    if (d) d.heardMs = this.#clock.monotonic()
  }

  /** Streams that wait in the window of a destination. */
  waiting(region: RegionId): readonly Stream[] {
    const d = this.#destinations.get(region)
    return d ? waitingFor(d) : []
  }

  /** Something must be committed though nothing else happens: a silent destination, a lag row that may go. */
  wantsCommit(): boolean {
    for (const d of this.#destinations.values()) {
      this.#prune(d)
      const first = d.window[0]
      if (d.promotable.size > 0 || (first && (this.#isSilent(d) || this.#isStuck(first)))) return true
    }
    return false
  }

  /** Items in all windows: a measure for tests and metrics. */
  windowSize(region: RegionId): number {
    const d = this.#destinations.get(region)
    if (!d) return 0
    this.#prune(d)
    return d.window.length + d.gathered.length
  }

  /** Nothing below this commit is needed by a feed. */
  trimBelow(): number {
    if (!this.#takenOver) return 0
    let low = Number.POSITIVE_INFINITY
    for (const d of this.#destinations.values()) {
      if (d.window.length > 0 || d.settled < d.position) low = Math.min(low, d.settled + 1)
    }
    return low
  }

  /**
   * After a restart nobody serves from another boot's journal: what it still owed becomes lag rows. Deterministic, so
   * that two who fence one journal write the same; sending again is harmless.
   */
  async takeOver(replayed: readonly Replayed[]): Promise<void> {
    for await (const [region] of rowsOf(this.#store, REGIONS, '', '~')) this.#registered.add(region)
    const positions = new Map<RegionId, number>()
    for (const region of this.#registered as Set<RegionId>) {
      const position = await this.#store.get(feedPartition(region), POSITION_KEY)
      positions.set(region, position ? readNumber(position) : 0)
    }
    const owed = notedBeyond(replayed, positions)
    const noted = new Set([...owed.values()].map(({ region }) => region))
    for (const [name, { region, key }] of owed) if (await this.#store.get(feedPartition(region), key)) owed.delete(name)
    // Positions are written after all of them: one without its lag row would forget what is owed.
    const rows = [...owed.values()]
    for (let at = 0; at < rows.length; at += this.#limits.demoted) {
      for (const { region, key, from } of rows.slice(at, at + this.#limits.demoted))
        this.#store.put(feedPartition(region), key, writeNumber(from))
      await this.#store.flushed()
    }
    const end = replayed[replayed.length - 1]?.commit ?? 0
    for (const region of noted) this.#to(region).notedAt = end
    this.#takenOver = true
  }

  /** Every region that this node ever owed something. */
  destinations(): RegionId[] {
    return [...this.#registered] as RegionId[]
  }
}

/** The highest point of a stream, pending changes included. */
export function streamHead(conv: Conversation, stream: string): number {
  if (stream === LOG_STREAM) return conv.head
  if (stream === HOST_STREAM) return conv.epoch
  if (stream.startsWith('g')) return conv.registers.get(stream.slice(1))?.version ?? 0
  const author = conv.authors.get(stream.slice(1))
  if (!author) return 0
  return Math.max(author.last, author.run[author.run.length - 1]?.k ?? 0)
}
