// Serves streams that lag: one row per (destination, stream), from the tables, round robin, bounded in flight. A region
// that was gone for a day is caught up without growing memory and without slowing anybody else.
import type { Clock, RegionId } from '#protocol'
import { type Conversation, feedOf, pin, unpin } from './conversation.ts'
import { feedPartition, lagKey, POSITION_KEY, readLagKey } from './conversation-rows.ts'
import type { Core } from './core.ts'
import type { CatchUpPace } from './resuming.ts'
import type { Sent } from './senders.ts'

export type LagLimits = {
  /** Streams of one destination that are served at the same time. */
  readonly streams: number
  /** Bytes of one stream before it is the next one's turn. */
  readonly turnBytes: number
  /** What was sent and not acknowledged for this long is sent again, ms. */
  readonly againMs: number
}

type Serving = { conv: Conversation; stream: string; upTo: number; sinceMs: number }

type Queue = {
  /** Where the walk over the lag rows goes on; undefined when it has been round once with nothing left. */
  cursor: string | undefined
  walking: boolean
  /** By name, whose turn it is first; each is pinned. */
  readonly waiting: Map<string, { conv: Conversation; stream: string }>
  /** When the walk began, monotonic. */
  begunMs: number
  readonly serving: Map<string, Serving>
}

export type LagHooks = {
  /** Sends up to `maxBytes` of a stream and tells the point reached. */
  readonly send: (conv: Conversation, region: RegionId, stream: string, maxBytes: number, done: Sent) => void
  /** It is looked at whether those for whom it is kept still live there. */
  readonly check: (conv: Conversation) => void
  /** What was sent is not acknowledged: perhaps that region does not know what it is about. */
  readonly unheard: (conv: Conversation, region: RegionId) => void
}

export class LagServer {
  readonly #core: Core
  readonly #clock: Clock
  readonly #limits: LagLimits
  readonly #hooks: LagHooks
  readonly #pace: CatchUpPace
  /** The one whose turn is next first. */
  readonly #queues = new Map<RegionId, Queue>()

  constructor(core: Core, limits: LagLimits, pace: CatchUpPace, hooks: LagHooks) {
    this.#core = core
    this.#clock = core.ports.clock
    this.#limits = limits
    this.#pace = pace
    this.#hooks = hooks
  }

  #queue(region: RegionId): Queue {
    let queue = this.#queues.get(region)
    if (!queue) {
      queue = { cursor: '', begunMs: this.#clock.monotonic(), walking: false, waiting: new Map(), serving: new Map() }
      this.#queues.set(region, queue)
    }
    return queue
  }

  /** A link came up, or went: start over. */
  reset(region: RegionId): void {
    const queue = this.#queues.get(region)
    if (!queue) return
    for (const { conv } of [...queue.waiting.values(), ...queue.serving.values()]) unpin(conv)
    this.#queues.delete(region)
    // Somebody may still be reading for it.
    queue.waiting.clear()
    queue.serving.clear()
  }

  /** The conversation moved: nothing of it is served to this region until it is owed again. */
  forget(conv: Conversation, region: RegionId): void {
    const queue = this.#queues.get(region)
    if (!queue) return
    for (const streams of [queue.waiting, queue.serving]) {
      for (const [name, item] of streams) {
        if (item.conv !== conv) continue
        streams.delete(name)
        unpin(conv)
      }
    }
  }

  /** A stream got a lag row. */
  lagged(region: RegionId): void {
    this.#queue(region).cursor ??= ''
  }

  /** Goes on with what there was no time for, one region after another. */
  tick(): void {
    for (const [region, queue] of [...this.#queues]) {
      if (this.#pace.isSpent) return
      if (queue.waiting.size === 0) continue
      this.#queues.delete(region)
      this.#queues.set(region, queue)
      this.run(region)
    }
  }

  run(region: RegionId): void {
    if (!this.#core.ports.links.isUp(region)) return
    const queue = this.#queue(region)
    while (queue.serving.size < this.#limits.streams && !this.#pace.isSpent) {
      const [first] = queue.waiting
      if (!first) break
      queue.waiting.delete(first[0])
      this.#serve(region, queue, first[1].conv, first[1].stream)
    }
    // Also while others wait: those who always have more would keep the rest from ever being met.
    if (queue.waiting.size < this.#limits.streams) this.#walk(region, queue)
  }

  #walk(region: RegionId, queue: Queue): void {
    if (queue.walking || queue.cursor === undefined) return
    queue.walking = true
    const options = { from: queue.cursor, to: undefined, limit: this.#limits.streams, reverse: false }
    this.#core.load(this.#core.store.range(feedPartition(region), options), (rows) => {
      queue.walking = false
      if (this.#queues.get(region) !== queue) return
      const last = rows[rows.length - 1]
      queue.cursor = rows.length < this.#limits.streams || !last ? undefined : `${last[0]}\0`
      const met = rows.filter(([key]) => key !== POSITION_KEY && !queue.serving.has(key) && !queue.waiting.has(key))
      for (const [key] of met) this.#enqueue(region, queue, key)
      if (met.length === 0) this.run(region)
    })
  }

  #enqueue(region: RegionId, queue: Queue, key: string): void {
    const { conv: id, stream } = readLagKey(key)
    const { convs, store } = this.#core
    convs.with(id, (conv) => {
      if (this.#queues.get(region) !== queue || queue.serving.has(key) || queue.waiting.has(key)) return
      if (conv) this.#hooks.check(conv)
      // A conversation that moves is built up anew, and may owe this region nothing any more.
      if (!conv?.feeds.get(region)?.lag.has(stream)) {
        store.delete(feedPartition(region), key)
        return
      }
      pin(conv)
      queue.waiting.set(key, { conv, stream })
      this.run(region)
    })
  }

  #serve(region: RegionId, queue: Queue, conv: Conversation, stream: string): void {
    const feed = feedOf(conv, region)
    const from = feed.lag.get(stream)
    const name = lagKey(conv.id, stream)
    if (from === undefined || queue.serving.has(name)) {
      unpin(conv)
      return
    }
    const acked = Math.max(feed.acked.get(stream) ?? 0, from - 1)
    const sent = feed.sent.get(stream)
    if (sent === undefined || sent < acked) feed.sent.set(stream, acked)
    const serving: Serving = { conv, stream, upTo: Number.POSITIVE_INFINITY, sinceMs: this.#clock.monotonic() }
    queue.serving.set(name, serving)
    const pieceIs = this.#pace.piece(this.#limits.turnBytes)
    this.#hooks.send(conv, region, stream, this.#limits.turnBytes, (upTo, bytes) => {
      pieceIs(bytes)
      if (queue.serving.get(name) !== serving || conv.feeds.get(region) !== feed) return
      serving.upTo = upTo
      if (upTo <= acked || (feed.acked.get(stream) ?? 0) >= upTo) this.#turnOver(region, queue, serving, upTo > acked)
    })
  }

  /** What was served is acknowledged, or there was nothing to serve: then the next sweep looks again. */
  #turnOver(region: RegionId, queue: Queue, serving: Serving, more: boolean): void {
    const { conv, stream } = serving
    const name = lagKey(conv.id, stream)
    if (!queue.serving.delete(name)) return
    const feed = feedOf(conv, region)
    unpin(conv)
    if (!feed.lag.has(stream)) return
    if ((feed.acked.get(stream) ?? 0) >= this.#core.feeds.head(conv, stream))
      this.#core.feeds.mayPromote(conv, region, stream)
    else if (more && !queue.waiting.has(name)) {
      pin(conv)
      queue.waiting.set(name, { conv, stream })
    }
  }

  acknowledged(conv: Conversation, region: RegionId, stream: string): void {
    const queue = this.#queues.get(region)
    const serving = queue?.serving.get(lagKey(conv.id, stream))
    if (!queue || !serving || !conv.feeds.has(region) || (feedOf(conv, region).acked.get(stream) ?? 0) < serving.upTo)
      return
    this.#turnOver(region, queue, serving, true)
    this.run(region)
  }

  /** The destination misses something of a stream that is being served: from there again. */
  again(conv: Conversation, region: RegionId, stream: string): void {
    const queue = this.#queues.get(region)
    const name = lagKey(conv.id, stream)
    if (queue?.serving.delete(name)) {
      if (queue.waiting.has(name)) unpin(conv)
      else queue.waiting.set(name, { conv, stream })
    }
    this.lagged(region)
    this.run(region)
  }

  /**
   * What is not acknowledged makes room for others, or a few streams that nobody takes would stop all: its row is met again
   * when the walk begins anew. Some rows may have been left without a server.
   */
  sweep(region: RegionId): void {
    const queue = this.#queue(region)
    const now = this.#clock.monotonic()
    for (const [name, serving] of queue.serving) {
      if (now - serving.sinceMs < this.#limits.againMs) continue
      queue.serving.delete(name)
      feedOf(serving.conv, region).sent.delete(serving.stream)
      this.#hooks.unheard(serving.conv, region)
      unpin(serving.conv)
    }
    const isIdle = queue.serving.size === 0 && queue.waiting.size === 0
    if (queue.cursor === undefined && (isIdle || now - queue.begunMs >= this.#limits.againMs)) {
      queue.cursor = ''
      queue.begunMs = now
    }
    this.run(region)
  }
}
