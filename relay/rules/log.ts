// Taking entries: the host when it numbers one, a replica when the host's feed brings one. Either way the head moves,
// the entry is put into the store, local members' inboxes fall behind, and live devices are pushed to.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  EmptySchema,
  type EntryHeader,
  earlier,
  epochOf,
  ItemKind,
  nOf,
  type Position,
  PositionSchema,
  SafeSchema,
  type UserId,
} from '#protocol'
import { type Author, advance, authorOf, type Conversation, heldAt } from './conversation.ts'
import { conversationPartition, entryKey, heldKey, LOG_STREAM, submissionStream } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { deviceText } from './inbox.ts'

type Fresh = { readonly before: Position; readonly entries: Uint8Array[] }

export class Log {
  readonly #core: Core
  /** What was taken in this turn and not yet pushed. */
  readonly #fresh = new Map<Conversation, Fresh>()
  /** Conversations in which entries or held submissions may have become needless. */
  readonly #trimmable = new Set<Conversation>()

  constructor(core: Core) {
    this.#core = core
  }

  /** `entry` belongs to the store from now on. */
  take(conv: Conversation, header: EntryHeader, entry: Uint8Array): Author {
    const { store, convs, inboxes, feeds, ports } = this.#core
    const before = conv.head
    advance(conv, header, entry)
    convs.changed(conv)
    store.create(conversationPartition(conv.id), entryKey(header.at), entry)
    const fresh = this.#fresh.get(conv)
    if (fresh) fresh.entries.push(entry)
    else this.#fresh.set(conv, { before, entries: [entry] })
    for (const { userId, local } of conv.members) if (local) inboxes.fellBehind(userId, conv, before)
    const author = authorOf(conv, header.member, header)
    if (conv.hostedHere)
      for (const region of conv.feeds.keys()) feeds.concern(conv, region, LOG_STREAM, header.at, header.at)
    else if (conv.members[header.member]!.local)
      feeds.acknowledged(conv, conv.host, submissionStream(author), author.last)
    if (conv.members[header.member]!.local) this.#tellSequenced(conv, author, header)
    ports.events.sequenced(1)
    return author
  }

  #tellSequenced(conv: Conversation, author: Author, header: EntryHeader): void {
    const { sessions, store } = this.#core
    const device = deviceText(author)
    for (const session of sessions.ofUser(conv.members[author.member]!.userId)) {
      if (session.device !== device) continue
      const outcome = {
        case: 'sequenced' as const,
        value: create(PositionSchema, { epoch: epochOf(header.at), n: nOf(header.at) }),
      }
      sessions.verdict(
        session,
        conv.id,
        { k: header.k, rev: 0, tag: header.tag, outcome },
        conv.hostedHere ? store.gate() : 0,
      )
    }
  }

  /** Pushes what this turn brought. A host's entries wait for their commit; a replica's were committed by their host. */
  flush(): void {
    if (this.#fresh.size === 0) return
    const { sessions, inboxes, store } = this.#core
    for (const [conv, { before, entries }] of this.#fresh) {
      const gate = conv.hostedHere ? store.gate() : 0
      for (const [m, member] of conv.members.entries()) {
        if (!member.local) continue
        for (const session of sessions.ofUser(member.userId)) {
          if (session.opening) session.opening.add(conv.id)
          else if (!session.views.has(conv.id)) {
            const at = inboxes.cursorOf(member.userId, conv, session.device)
            if (at >= before) session.views.set(conv.id, { live: true, sent: before })
            else sessions.behind(session, conv, at, gate)
          }
          sessions.push(session, conv, m, before, entries, gate)
        }
      }
    }
    this.#fresh.clear()
  }

  /** Everything up to `safe` is in every member region: tell the authors who live here, and forget what they held. */
  safeUpTo(conv: Conversation, safe: Position): void {
    if (safe > conv.safe) {
      conv.safe = safe
      this.cursorMoved(conv)
    }
    for (const author of conv.authors.values()) {
      if (!conv.members[author.member]?.local) continue
      const k = safeK(author, conv.safe)
      if (k <= author.toldSafe) continue
      author.toldSafe = k
      this.#tellSafe(conv, author, conv.members[author.member]!.userId)
    }
  }

  #tellSafe(conv: Conversation, author: Author, user: UserId): void {
    const device = deviceText(author)
    for (const session of this.#core.sessions.ofUser(user)) {
      if (session.device === device) this.repeatSafe(conv, author, session)
    }
  }

  /** `safe` is a signal: said again whenever a device comes back to a conversation. */
  repeatSafe(conv: Conversation, author: Author, session: Parameters<Core['sessions']['verdict']>[0]): void {
    if (author.toldSafe === 0) author.toldSafe = safeK(author, conv.safe)
    if (author.toldSafe === 0) return
    const outcome = { case: 'safe' as const, value: create(EmptySchema) }
    this.#core.sessions.verdict(session, conv.id, { k: author.toldSafe, rev: 0, outcome }, 0)
  }

  /** A cursor moved: entries may have become needless. */
  cursorMoved(conv: Conversation): void {
    if (this.#trimmable.has(conv)) return
    this.#trimmable.add(conv)
    conv.pins++
  }

  hasTrimmable(): boolean {
    return this.#trimmable.size > 0
  }

  /** Deletes what nobody needs any more; rides in a commit that is being closed, or makes one. */
  trim(): void {
    for (const conv of this.#trimmable) {
      conv.pins--
      this.#dropHeld(conv)
      this.#dropEntries(conv)
    }
    this.#trimmable.clear()
  }

  #dropHeld(conv: Conversation): void {
    for (const author of conv.authors.values()) {
      const upTo = Math.min(safeK(author, conv.safe), author.last)
      const count = heldAt(author, upTo + 1)
      for (const held of author.run.splice(0, count)) {
        this.#core.store.delete(conversationPartition(conv.id), heldKey(author, held.k))
      }
    }
  }

  /** A region keeps an entry until its members' devices have it and every member region has it. */
  #dropEntries(conv: Conversation): void {
    let low = earlier(conv.safe, conv.settled)
    for (const { userId, local } of conv.members) if (local) low = earlier(low, this.#core.inboxes.lowest(userId, conv))
    if (low <= conv.low || epochOf(low) !== epochOf(conv.low)) return
    const partition = conversationPartition(conv.id)
    for (let at = conv.low + 1; at <= low; at++) this.#core.store.delete(partition, entryKey(at as Position))
    conv.low = low
    this.#core.convs.changed(conv)
  }

  /** The host: what all other member regions have. Told to them and to local authors when it moved. */
  hostSafe(conv: Conversation, repeatTo: string | undefined): void {
    let safe = conv.settled
    for (const feed of conv.feeds.values()) {
      const acked = feed.acked.get(LOG_STREAM) ?? 0
      if (acked < safe) safe = acked as Position
    }
    const moved = safe > conv.safe
    if (moved) this.safeUpTo(conv, safe)
    if (nOf(conv.safe) === 0) return
    for (const region of conv.feeds.keys()) if (moved || region === repeatTo) this.#sendSafe(conv, region)
  }

  #sendSafe(conv: Conversation, region: Parameters<Core['ports']['links']['send']>[0]): void {
    const body = toBinary(SafeSchema, create(SafeSchema, { epoch: epochOf(conv.safe), n: nOf(conv.safe) }))
    this.#core.ports.links.send(region, { conv: conv.id, kind: ItemKind.SAFE, body })
  }
}

/** The highest k of the author that lies at or before `safe`. */
function safeK(author: Author, safe: Position): number {
  for (let k = author.last; k > 0; k--) {
    const placed = author.window.get(k)
    if (!placed) return 0
    if (placed.at <= safe) return k
  }
  return 0
}
