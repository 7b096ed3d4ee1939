// Taking entries: the host when it numbers one, a replica when the host's feed brings one. Either way the head moves,
// the entry is put into the store, local members' inboxes fall behind, and live devices are pushed to.
import {
  type EntryHeader,
  earlier,
  encodeItem,
  epochOf,
  ItemKind,
  keptOf,
  NOWHERE,
  nOf,
  type Position,
  type UserId,
} from '#protocol'
import { type Author, advance, type Conversation, hashWith, heldAt, pin, unpin } from './conversation.ts'
import { dropHandedOver, handedOverKey, heldKey, LOG_STREAM } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { type SessionState, setView } from './sessions.ts'

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

  /** `entry` belongs to the store from now on; `hash` is that of the log with it. */
  take(
    conv: Conversation,
    author: Author,
    header: EntryHeader,
    entry: Uint8Array,
    hash: Uint8Array = hashWith(conv, entry),
  ): void {
    const { store, convs, inboxes, feeds } = this.#core
    const before = conv.head
    advance(conv, author, header, entry, hash)
    convs.changed(conv)
    // One that was left here had this already, and who it was built up from had not.
    const isKnown = !conv.hostedHere && header.at <= store.lastOf(conv.partition)
    if (isKnown) this.#putBeside(conv, header.at, entry)
    else store.append(conv.partition, before, header.at, entry)
    const fresh = this.#fresh.get(conv)
    if (fresh) fresh.entries.push(entry)
    else this.#fresh.set(conv, { before, entries: [entry] })
    for (const member of conv.members) if (member.local) inboxes.fellBehind(conv, member, before)
    if (conv.hostedHere)
      for (const region of conv.feeds.keys()) feeds.concern(conv, region, LOG_STREAM, header.at, header.at)
    else if (conv.members[header.member]!.local) feeds.acknowledged(conv, conv.host, author.stream, author.last)
    if (conv.members[header.member]!.local) this.#tellSequenced(conv, author, entry)
    this.#core.counts.sequenced++
  }

  /** As what is handed over: a log does not go back. */
  #putBeside(conv: Conversation, at: Position, entry: Uint8Array): void {
    const { store, convs } = this.#core
    store.put(conv.partition, handedOverKey(at), entry)
    conv.handedOver = at
    convs.moved(conv)
  }

  #tellSequenced(conv: Conversation, author: Author, entry: Uint8Array): void {
    const { sessions, store } = this.#core
    const session = sessions.ofDevice(conv.members[author.member]!.userId, author)
    if (session) sessions.sequenced(session, conv.id, entry, conv.hostedHere ? store.gate() : 0)
  }

  /** Pushes what this turn brought. A host's entries wait for their commit; a replica's were committed by their host. */
  flush(): void {
    if (this.#fresh.size === 0) return
    const { sessions, inboxes, store } = this.#core
    for (const [conv, { before, entries }] of this.#fresh) {
      const gate = conv.hostedHere ? store.gate() : 0
      for (const member of conv.members) {
        if (!member.local) continue
        for (const session of sessions.ofUser(member.userId)) {
          if (session.opening) session.opening.add(conv.id)
          else if (!session.views?.has(conv.id)) {
            const at = inboxes.cursorOf(conv, member, session.device)
            if (at >= before) setView(session, conv.id, { live: true, sent: before })
            else sessions.behind(session, conv, at, gate)
          }
          sessions.push(session, conv, before, entries, gate)
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
    const session = this.#core.sessions.ofDevice(user, author)
    if (session) this.repeatSafe(conv, author, session)
  }

  /** `safe` is a signal: said again whenever a device comes back to a conversation. */
  repeatSafe(conv: Conversation, author: Author, session: SessionState): void {
    // More may have become so while the author lived elsewhere.
    author.toldSafe = Math.max(author.toldSafe, safeK(author, conv.safe))
    if (author.toldSafe > 0) this.#core.sessions.safe(session, conv.id, author.toldSafe)
  }

  /** A cursor moved: entries may have become needless. */
  cursorMoved(conv: Conversation): void {
    if (this.#trimmable.has(conv)) return
    this.#trimmable.add(conv)
    pin(conv)
  }

  hasTrimmable(): boolean {
    return this.#trimmable.size > 0
  }

  /** Deletes what nobody needs any more; rides in a commit that is being closed, or makes one. */
  trim(): void {
    for (const conv of this.#trimmable) {
      unpin(conv)
      this.#dropHeld(conv)
      this.#dropEntries(conv)
    }
    this.#trimmable.clear()
  }

  #dropHeld(conv: Conversation): void {
    for (const author of conv.authors.values()) {
      if (author.run.length === 0) continue
      const upTo = Math.min(safeK(author, conv.safe), author.last)
      const count = heldAt(author, upTo + 1)
      if (count > 0) this.#core.convs.holds(conv)
      for (const held of author.run.splice(0, count)) {
        this.#core.store.delete(conv.partition, heldKey(author, held.k))
      }
    }
  }

  /** A region keeps an entry until its members' devices have it and every member region has it. */
  #dropEntries(conv: Conversation): void {
    // Somebody who has just come to live here will read from where they were, wherever that is.
    if (conv.members.some(({ region, local }) => !local && region === this.#core.ports.region)) return
    let low = earlier(conv.safe, conv.settled)
    // The new home of a member who left has not taken over yet what was kept for them here.
    if (conv.hostedHere)
      for (const feed of conv.feeds.values()) low = earlier(low, (feed.acked.get(LOG_STREAM) ?? NOWHERE) as Position)
    for (const member of conv.members) if (member.local) low = earlier(low, this.#core.inboxes.lowest(conv, member))
    // A cursor that was void when it came stands for the cut behind which it lies.
    if (conv.moves.length > 0) low = keptOf(low, conv.moves)
    if (low <= conv.low || (conv.moves.length === 0 && epochOf(low) !== epochOf(conv.low))) return
    this.#core.store.trim(conv.partition, low, conv.head)
    dropHandedOver(this.#core.store, conv, low)
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
    const kind = ItemKind.SAFE
    const value = { $typeName: 'parley.v1.Safe', epoch: epochOf(conv.safe), n: nOf(conv.safe) } as const
    this.#core.ports.links.send(region, { conv: conv.id, kind, body: encodeItem({ kind, value }) })
  }
}

/** The highest k of the author that lies at or before `safe`. */
function safeK(author: Author, safe: Position): number {
  for (let k = author.last; k > 0; k--) {
    const at = author.window.placeOf(k)
    if (at === 0) return 0
    if (at <= safe) return k
  }
  return 0
}
