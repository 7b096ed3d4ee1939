// What a node sends to other regions about a conversation: the log (as its host), held submissions (as a home),
// registers. Each stream has a point up to which it was sent since the link came up; the rest follows in order, as far as
// the link takes it.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  encodeItem,
  entryPosition,
  ItemKind,
  limits,
  type Position,
  type RegionId,
  RegistersSchema,
  type Submission,
  type Submissions,
  selectParts,
  unpackSubmission,
} from '#protocol'
import {
  type Author,
  type Conversation,
  type FeedState,
  feedOf,
  findHeld,
  type Held,
  type Register,
} from './conversation.ts'
import { HOST_STREAM, heldKey, LOG_STREAM, readEntries, readHeld, registerStream } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { forwardable } from './home.ts'
import type { Introductions } from './introductions.ts'

export type SenderLimits = {
  /** Bytes that a link may have queued before the rest stays in the journal. */
  readonly linkBacklogBytes: number
  /** Entries or submissions of one item. */
  readonly itemBytes: number
}

/** Hears up to where everything was sent, and how many bytes it took now. */
export type Sent = (sent: number, bytes: number) => void

/** Up to where a log was sent since the link came up. */
export const sentOf = (feed: FeedState): number => feed.sent.get(LOG_STREAM) ?? feed.acked.get(LOG_STREAM) ?? 0

/** Who hosts is heard before anything that the host says: without it that would be taken for what another one says. */
const knowsHost = ({ epoch, moves }: Conversation, { acked, lag, window, gathered }: FeedState): boolean =>
  moves.length === 0 ||
  (acked.get(HOST_STREAM) ?? 0) >= epoch ||
  !(lag.has(HOST_STREAM) || window.has(HOST_STREAM) || gathered.has(HOST_STREAM))

type SubmissionBatch = { conv: Conversation; author: Author; items: Submission[]; bytes: number }

export class Senders {
  readonly #core: Core
  readonly #limits: SenderLimits
  readonly #introductions: Introductions
  readonly #batches = new Map<string, SubmissionBatch>()

  constructor(core: Core, senderLimits: SenderLimits, introductions: Introductions) {
    this.#core = core
    this.#limits = senderLimits
    this.#introductions = introductions
  }

  /** Whether the link takes anything now. */
  hasRoom(region: RegionId): boolean {
    const { links } = this.#core.ports
    if (!links.isUp(region)) {
      links.want(region)
      return false
    }
    return links.backlog(region) < this.#limits.linkBacklogBytes
  }

  #send(region: RegionId, conv: Conversation, kind: number, body: Uint8Array): void {
    this.#introductions.before(region, conv)
    this.#core.ports.links.send(region, { conv: conv.id, kind, body })
  }

  /** Sends what is settled of a hosted log and was not sent yet; `maxBytes` of it. */
  pumpLog(conv: Conversation, region: RegionId, maxBytes: number, done?: Sent): void {
    const feed = feedOf(conv, region)
    const from = sentOf(feed)
    if (feed.reading.has(LOG_STREAM) || from >= conv.settled || !knowsHost(conv, feed) || !this.hasRoom(region)) {
      done?.(from, 0)
      return
    }
    const known = from >= conv.handedOver
    const entries = known ? this.#core.store.peekEntries(conv.partition, from, conv.settled, maxBytes) : undefined
    const end = entries?.[entries.length - 1]
    if (end) {
      const last = entryPosition(end)
      const bytes = this.#sendEntries(conv, region, entries, last)
      done?.(last, bytes)
      return
    }
    feed.reading.add(LOG_STREAM)
    this.#core.load(readEntries(this.#core.store, conv, from as Position, conv.settled, maxBytes), (list) => {
      feed.reading.delete(LOG_STREAM)
      const end = list[list.length - 1]
      const still = sentOf(feed) === from
      const mine = conv.feeds.get(region) === feed && conv.hostedHere
      if (!end || !still || !mine || !this.#core.ports.links.isUp(region)) {
        done?.(from, 0)
        return
      }
      const last = entryPosition(end)
      const bytes = this.#sendEntries(conv, region, list, last)
      done?.(last, bytes)
    })
  }

  /** Returns the bytes that it took. */
  #sendEntries(conv: Conversation, region: RegionId, entries: readonly Uint8Array[], last: number): number {
    const feed = feedOf(conv, region)
    feed.sent.set(LOG_STREAM, last)
    let item: Uint8Array[] = []
    let [bytes, all] = [0, 0]
    const send = (final: boolean): void => {
      const headHash = final && last === conv.head ? conv.hash : new Uint8Array(0)
      const value = { $typeName: 'parley.v1.Log', entry: item, headHash } as const
      this.#send(region, conv, ItemKind.LOG, encodeItem({ kind: ItemKind.LOG, value }))
      all += bytes
      item = []
      bytes = 0
    }
    for (const entry of entries) {
      const theirs = selectParts(entry, (member) => conv.members[member]?.region === region)
      if (bytes > 0 && bytes + theirs.length > this.#limits.itemBytes) send(false)
      item.push(theirs)
      bytes += theirs.length
    }
    if (item.length > 0) send(true)
    return all
  }

  /** A submission that just came: on its way at once if everything before it is. */
  forward(conv: Conversation, author: Author, held: Held, submission: Submission): void {
    const feed = feedOf(conv, conv.host)
    const stream = author.stream
    if (feed.lag.has(stream) || feed.reading.has(stream) || !this.hasRoom(conv.host)) return
    const sent = Math.max(feed.sent.get(stream) ?? 0, author.last)
    const stopped = author.run.some((h) => h.stop && h.k > author.last && h.k < held.k)
    if (held.k > sent + 1 || stopped || held.k > author.last + limits.IN_FLIGHT_MAX) return
    feed.sent.set(stream, Math.max(sent, held.k))
    this.#gather(conv, author, submission, held.size)
  }

  #gather(conv: Conversation, author: Author, submission: Submission, size: number): void {
    const name = `${conv.id}${author.key}`
    let batch = this.#batches.get(name)
    // A k that goes again (a skip right behind its content) begins a batch of its own: submissions ascend within one.
    if (batch && batch.items.at(-1)!.k >= submission.k) {
      this.#sendBatch(batch)
      batch = undefined
    }
    if (!batch) {
      batch = { conv, author, items: [], bytes: 0 }
      this.#batches.set(name, batch)
    }
    batch.items.push(submission)
    batch.bytes += size
    if (batch.bytes >= this.#limits.itemBytes) {
      this.#batches.delete(name)
      this.#sendBatch(batch)
    }
  }

  #sendBatch({ conv, author, items }: SubmissionBatch): void {
    if (!conv.feeds.has(conv.host)) return
    const { member, device, registrationEpoch, registrationVersion } = author
    const body: Submissions = {
      $typeName: 'parley.v1.Submissions',
      author: { $typeName: 'parley.v1.StreamKey', member, device, registrationEpoch, registrationVersion },
      items,
    }
    const { SUBMISSIONS } = ItemKind
    this.#send(conv.host, conv, SUBMISSIONS, encodeItem({ kind: SUBMISSIONS, value: body }))
  }

  /** What was gathered in this turn. */
  flush(): void {
    if (this.#batches.size === 0) return
    for (const batch of this.#batches.values()) this.#sendBatch(batch)
    this.#batches.clear()
  }

  /** Sends held submissions that may be in flight and were not sent yet, ascending. */
  pumpSubmissions(conv: Conversation, author: Author, maxBytes: number, done?: Sent): void {
    const feed = conv.feeds.get(conv.host)
    if (!feed) {
      done?.(0, 0)
      return
    }
    const stream = author.stream
    const from = Math.max(feed.sent.get(stream) ?? 0, author.last)
    const newest = author.run[author.run.length - 1]?.k ?? 0
    const due =
      newest <= from || feed.reading.has(stream) || !this.hasRoom(conv.host)
        ? []
        : forwardable(author, from + 1, limits.IN_FLIGHT_MAX)
    if (due.length === 0) {
      done?.(from, 0)
      return
    }
    feed.reading.add(stream)
    this.#core.load(this.#readHeld(conv, author, due, maxBytes), (found) => {
      feed.reading.delete(stream)
      if (conv.feeds.get(conv.host) !== feed) {
        done?.(from, 0)
        return
      }
      let bytes = 0
      let sent = Math.max(feed.sent.get(stream) ?? 0, author.last)
      for (const { held, submission } of found) {
        const now = findHeld(author, held.k)
        if (held.k !== sent + 1 || now?.rev !== held.rev || now.stop || !this.#core.ports.links.isUp(conv.host)) break
        sent = held.k
        bytes += held.size
        this.#gather(conv, author, submission, held.size)
      }
      feed.sent.set(stream, sent)
      done?.(sent, bytes)
    })
  }

  async #readHeld(
    conv: Conversation,
    author: Author,
    due: readonly Held[],
    maxBytes: number,
  ): Promise<{ held: Held; submission: Submission }[]> {
    const out: { held: Held; submission: Submission }[] = []
    let bytes = 0
    for (const { k, size } of due) {
      if (bytes > 0 && bytes + size > maxBytes) break
      const row = await this.#core.store.get(conv.partition, heldKey(author, k))
      if (!row) break
      const read = readHeld(k, row)
      out.push({ held: read.held, submission: unpackSubmission(read.submission) })
      bytes += size
    }
    return out
  }

  register(conv: Conversation, region: RegionId, name: string, register: Register): void {
    if (!this.hasRoom(region)) return
    feedOf(conv, region).sent.set(registerStream(name), register.version)
    const item = { ...register, conv: 0, version: BigInt(register.version) }
    this.#send(region, conv, ItemKind.REGISTERS, toBinary(RegistersSchema, create(RegistersSchema, { items: [item] })))
  }
}
