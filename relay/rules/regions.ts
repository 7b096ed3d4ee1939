// What other regions may say over a link. Every item is bound to the region that the link authenticated, and checked to
// be one that this region may send.
import {
  type ConvId,
  copyEntry,
  decodeItem,
  earlier,
  encodeItem,
  epochOf,
  type Intro,
  ItemKind,
  type LogState,
  nOf,
  ParleyError,
  type Position,
  type RefusalCode,
  type RegionId,
  type RelayItem,
  readHeader,
  type StreamKey,
  type UserId,
} from '#protocol'
import {
  type Author,
  authorOf,
  authorOrNew,
  type Conversation,
  checkHash,
  findHeld,
  hashWith,
  isClosed,
  knownAuthor,
  nextPlace,
  saidPlace,
  wantsSafe,
} from './conversation.ts'
import { LOG_STREAM, registerName, registerStream } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { ensureLocal, foundingBudget, foundingOf, learnHomes, newsFor } from './founding.ts'
import { introduce } from './introductions.ts'
import type { JournalNotes } from './journal-notes.ts'
import type { LagServer } from './lag-server.ts'
import type { Log } from './log.ts'
import {
  isDeposed,
  isMoving,
  isOfPerson,
  type MovingItem,
  type MovingParts,
  type PersonItem,
  takeMoving,
  takeOfPerson,
} from './moving-items.ts'
import type { Item } from './ports.ts'
import type { Registers } from './registers.ts'
import { livesHere } from './residence.ts'
import type { Resuming } from './resuming.ts'
import type { Senders } from './senders.ts'
import type { Submissions } from './submissions.ts'
import { Unverified } from './unverified.ts'

/** Items of one region that may be refused between two sweeps before its link is cut. */
const REFUSED_MAX = 1_000
/** No honest node says this, whatever it believes. */
const CUTTING: ReadonlySet<RefusalCode> = new Set(['malformed', 'too_large', 'too_many', 'bad_id'])

/** Conversations whose entries were not taken for want of room: the others come again when their host loses patience. */
const UNTAKEN_MAX = 4_096
/** Of these in one sweep. */
const ASKED_AGAIN_MAX = 512

type AboutItem = Exclude<
  RelayItem,
  MovingItem | PersonItem | { kind: typeof ItemKind.INTRO | typeof ItemKind.JOURNAL_POSITION }
>

export type RegionParts = {
  readonly log: Log
  readonly submissions: Submissions
  readonly senders: Senders
  readonly registers: Registers
  readonly lag: LagServer
  readonly resuming: Resuming
  readonly notes: JournalNotes
  readonly moving: MovingParts
  /** People of whom newer home records came. */
  readonly moved: (users: readonly UserId[]) => void
}

export class Regions {
  readonly #core: Core
  readonly #log: Log
  readonly #submissions: Submissions
  readonly #senders: Senders
  readonly #registers: Registers
  readonly #lag: LagServer
  readonly #resuming: Resuming
  readonly #notes: JournalNotes
  readonly #moving: MovingParts
  readonly #moved: (users: readonly UserId[]) => void
  readonly #unverified: Unverified
  readonly #hasRoomToFound: () => boolean
  /** Replicas that owe their host an acknowledgement of what they had already. */
  readonly #again = new Set<Conversation>()
  /** What came in this turn for somebody who lives elsewhere. */
  readonly #missent = new Map<Conversation, RegionId>()
  /** Items of a region refused since the last sweep. */
  readonly #refused = new Map<RegionId, number>()
  readonly #untaken = new Set<ConvId>()

  constructor(core: Core, parts: RegionParts) {
    this.#core = core
    this.#log = parts.log
    this.#submissions = parts.submissions
    this.#unverified = new Unverified(core, parts.submissions)
    this.#hasRoomToFound = foundingBudget(core.store)
    this.#senders = parts.senders
    this.#registers = parts.registers
    this.#lag = parts.lag
    this.#resuming = parts.resuming
    this.#notes = parts.notes
    this.#moving = parts.moving
    this.#moved = parts.moved
  }

  item(region: RegionId, item: Item): void {
    this.#core.feeds.heard(region)
    const said = decodeItem(item.kind, item.body)
    if (said.kind === ItemKind.INTRO) {
      this.#intro(region, item.conv, said.value)
      return
    }
    if (said.kind === ItemKind.JOURNAL_POSITION) {
      this.#notes.item(region, item.conv, said.value)
      return
    }
    if (isOfPerson(said)) {
      takeOfPerson(this.#moving, region, item.conv, said)
      return
    }
    if (isMoving(said)) {
      this.#with(region, item.conv, (conv) => {
        takeMoving(this.#moving, region, item.conv, conv, said)
        if (said.kind === ItemKind.HOST_REGISTERS_STATE && conv?.hostedHere) this.#logTo(conv, region)
      })
      return
    }
    this.#with(region, item.conv, (conv) => {
      // Perhaps there was no room for what introduced it, which comes again with the link or a lag row.
      if (!conv && !this.#core.store.hasRoom()) return
      if (!conv) throw new ParleyError('unknown_conversation', 'an item of a conversation that was not introduced')
      if (!conv.feeds.has(region) && this.#moving.moves.tell(conv, region) > 0) return
      if (!conv.feeds.has(region)) {
        this.#missent.set(conv, region)
        throw new ParleyError('not_member', 'no member of this conversation lives there')
      }
      this.#about(region, conv, said)
    })
  }

  /**
   * What a region may not say is refused, whenever it turns out, and everything else goes on: an honest region whose
   * records are a little older, or one crafted conversation, must not stop all the others. Only bytes that are no item
   * at all cut the link, and a region that says nothing else than what is refused.
   */
  #with(region: RegionId, id: ConvId, step: (conv: Conversation | undefined) => void): void {
    this.#core.convs.with(id, (conv) => this.guard(region, () => step(conv)))
  }

  guard(region: RegionId, step: () => void): void {
    try {
      step()
    } catch (error) {
      if (!(error instanceof ParleyError)) throw error
      this.#core.ports.events.refused(error.code)
      const refused = (this.#refused.get(region) ?? 0) + 1
      this.#refused.set(region, refused)
      if (CUTTING.has(error.code) || refused > REFUSED_MAX) this.#core.ports.links.close(region, error)
    }
  }

  /** A new link, or another second: refusals are counted anew. */
  forgive(): void {
    this.#refused.clear()
  }

  #intro(region: RegionId, id: ConvId, intro: Intro): void {
    const { ports, convs } = this.#core
    this.#moved(learnHomes(intro.homeRecords, ports.directory, ports.clock.now()))
    this.#with(region, id, (conv) => {
      if (conv?.members.some(({ local }) => local)) {
        this.#moving.arriving.spokeOf(id, region)
        this.#moving.leaving.remind(conv, region)
        return
      }
      if ((!conv && !this.#hasRoomToFound()) || !this.#moving.arriving.mayFound(id, intro.genesis, region)) return
      const founding = foundingOf(id, intro.genesis, (user) => ports.directory.knownHome(user))
      // Whoever believes something older of where members live hears of it here: their homes may not know who asks.
      const news = newsFor(founding, intro.homeRecords, ports.directory)
      if (news.length > 0) introduce(ports.links, region, { id, genesis: intro.genesis, homeRecords: news })
      if (conv) return
      ensureLocal(founding, ports.region)
      if (!founding.members.some((m) => m.region === region)) {
        throw new ParleyError('not_member', 'introduced by a region where no member lives')
      }
      convs.found(founding)
    })
  }

  #about(region: RegionId, conv: Conversation, item: AboutItem): void {
    if (isDeposed(conv, region)) return
    if (item.kind === ItemKind.LOG && this.#moving.moves.isLeaving(conv)) {
      this.#missent.set(conv, region)
      return
    }
    switch (item.kind) {
      case ItemKind.SUBMISSIONS:
        this.#unverified.take(region, conv, this.#author(region, conv, item.value.author), item.value.items)
        return
      case ItemKind.SUBMISSION_STATE: {
        if (conv.host !== region) throw this.#deposed(conv, region, 'a verdict of a region that is not the host')
        const author = this.#localAuthor(conv, item.value.author)
        if (!author) return
        this.#submissions.onState(conv, author, item.value)
        this.#lag.acknowledged(conv, region, author.stream)
        return
      }
      case ItemKind.LOG:
        this.#onLog(region, conv, item.value)
        return
      case ItemKind.LOG_STATE:
        this.#onLogState(region, conv, item.value)
        return
      case ItemKind.SAFE: {
        if (conv.host !== region) throw this.#deposed(conv, region, '`safe` of a region that is not the host')
        // What this replica lacks cannot be safe: it is a member region itself. Unless it had it before its store went back.
        if (conv.life < this.#core.life()) this.#afterGoingBack(conv, saidPlace(item.value))
        this.#log.safeUpTo(conv, earlier(saidPlace(item.value), conv.settled))
        return
      }
      case ItemKind.REGISTERS:
        // Not acknowledged either, so they are sent again.
        if (!this.#core.store.hasRoom()) return
        for (const update of item.value.items) this.#registers.fromRegion(conv, region, update)
        return
      case ItemKind.REGISTERS_STATE:
        for (const update of item.value.items) {
          this.#registers.onState(conv, region, update)
          this.#lag.acknowledged(conv, region, registerStream(registerName(update)))
        }
        return
    }
  }

  /** A region that believes something older hears who hosts now, and is refused. */
  #deposed(conv: Conversation, region: RegionId, why: string): ParleyError {
    this.#moving.moves.tell(conv, region)
    return new ParleyError('not_host', why)
  }

  #author(region: RegionId, conv: Conversation, key: StreamKey | undefined): Author {
    if (!key) throw new ParleyError('malformed', 'submissions of nobody')
    if (!conv.hostedHere) throw this.#deposed(conv, region, 'this region does not host the conversation')
    if (conv.members[key.member]?.region !== region)
      throw new ParleyError('not_home', 'submissions of somebody who does not live there')
    return authorOrNew(conv, key.member, key)
  }

  /** Nobody, if nothing of the device is known and it is not here. */
  #localAuthor(conv: Conversation, key: StreamKey | undefined): Author | undefined {
    const member = key && conv.members[key.member]
    if (!member) throw new ParleyError('malformed', 'a verdict about nobody')
    // Somebody who is on their way, or away again, asks once more where they live.
    if (!member.local) throw new ParleyError('not_home', 'a verdict about somebody who does not live here')
    const known = knownAuthor(conv, key.member, key)
    return known ?? (this.#core.sessions.ofDevice(member.userId, key) && authorOf(conv, key.member, key))
  }

  /** A replica takes only the next of the log; older is acknowledged again, newer is a gap. */
  #onLog(region: RegionId, conv: Conversation, log: { entry: Uint8Array[]; headHash: Uint8Array }): void {
    if (conv.host !== region)
      throw this.#deposed(conv, region, 'entries of a region that does not host the conversation')
    const hasRoom = this.#core.store.hasRoom()
    for (const bytes of log.entry) {
      const header = readHeader(bytes)
      if (header.at <= conv.head) {
        this.#again.add(conv)
        continue
      }
      if (header.at !== nextPlace(conv)) {
        this.#sendLogState(conv, conv.settled, true)
        this.#moving.arriving.misses(conv)
        return
      }
      conv.missingSinceMs = undefined
      if (header.member >= conv.members.length) throw new ParleyError('malformed', 'an entry of nobody')
      const author = authorOrNew(conv, header.member, header)
      // What is held here makes room by standing in the log; the rest of the disk is for nothing else that grows.
      if (!hasRoom && !findHeld(author, header.k)) {
        if (this.#untaken.size < UNTAKEN_MAX) this.#untaken.add(conv.id)
        return
      }
      if (header.k !== author.last + 1) throw new ParleyError('conflict', 'the host numbered a k out of order')
      const hash = hashWith(conv, bytes)
      if (bytes === log.entry[log.entry.length - 1]) checkHash(conv, hash, log.headHash)
      this.#log.take(conv, author, header, copyEntry(bytes), hash)
      if (conv.members[header.member]!.local) this.#senders.pumpSubmissions(conv, author, Number.POSITIVE_INFINITY)
    }
  }

  #sendLogState(conv: Conversation, at: Position, gap: boolean): void {
    const kind = ItemKind.LOG_STATE
    const value = { $typeName: 'parley.v1.LogState', epoch: epochOf(at), n: nOf(at), gap } as const
    this.#moving.moves.sayWhoCame(conv)
    this.#core.ports.links.send(conv.host, { conv: conv.id, kind, body: encodeItem({ kind, value }) })
  }

  /** After a commit: what a replica has now, durably. */
  acknowledge(conv: Conversation): void {
    this.#again.delete(conv)
    if (this.#mayAcknowledge(conv)) this.#sendLogState(conv, conv.settled, false)
  }

  #mayAcknowledge(conv: Conversation): boolean {
    return !isClosed(conv) && livesHere(conv, this.#core.ports.region) && !this.#moving.moves.isLeaving(conv)
  }

  /** There is room again: their hosts are asked for what was not taken. */
  askAgain(): void {
    if (this.#untaken.size === 0 || !this.#core.store.hasRoom()) return
    for (const id of [...this.#untaken].slice(0, ASKED_AGAIN_MAX)) {
      this.#untaken.delete(id)
      this.#core.convs.with(id, (conv) => {
        if (conv && !conv.hostedHere && this.#mayAcknowledge(conv)) this.#sendLogState(conv, conv.settled, true)
      })
    }
  }

  /** End of a turn. */
  flush(): void {
    for (const conv of this.#again) if (this.#mayAcknowledge(conv)) this.#sendLogState(conv, conv.settled, false)
    this.#again.clear()
    for (const [conv, region] of this.#missent) this.#moving.moves.sayWhoLeft(conv, region)
    this.#missent.clear()
    this.#core.ports.links.flush()
  }

  /** It knows who hosts: the log, which waited for that, goes on. */
  #logTo(conv: Conversation, region: RegionId): void {
    const feed = conv.feeds.get(region)
    if (!feed) return
    if (!feed.lag.has(LOG_STREAM)) this.#resuming.live(conv, region)
    else {
      this.#lag.lagged(region)
      this.#lag.run(region)
    }
  }

  #onLogState(region: RegionId, conv: Conversation, state: LogState): void {
    if (!conv.hostedHere) throw this.#deposed(conv, region, 'this region does not host the conversation')
    const at = saidPlace(state)
    if (at > conv.settled) {
      // Of what this store has forgotten that region speaks the truth.
      if (conv.life < this.#core.life())
        throw new ParleyError('not_host', 'of an epoch that went on without this store')
      throw new ParleyError('malformed', 'acknowledged more than there is')
    }
    const { feeds } = this.#core
    const news = feeds.acknowledged(conv, region, LOG_STREAM, at)
    // What was safe before somebody moved there is so for that region too, and nothing moves when it has that.
    this.#log.hostSafe(conv, news && at > conv.safe ? undefined : region)
    // It may be what was kept for a region in which somebody lives since, though it was safe before.
    if (news) this.#log.cursorMoved(conv)
    this.#lag.acknowledged(conv, region, LOG_STREAM)
    if (state.gap) {
      const feed = conv.feeds.get(region)!
      feed.sent.set(LOG_STREAM, at)
      if (!feeds.missed(conv, region, LOG_STREAM, at)) this.#lag.again(conv, region, LOG_STREAM)
    }
    if (!conv.feeds.get(region)!.lag.has(LOG_STREAM)) this.#resuming.live(conv, region)
  }

  /** The host has sent what it had not dropped: what is safe and did not come is taken anew. */
  #afterGoingBack(conv: Conversation, safe: Position): void {
    if (safe > conv.head) this.#moving.arriving.takesAnew(conv)
    else if (safe <= conv.settled) {
      conv.life = this.#core.life()
      this.#core.convs.moved(conv)
    }
  }

  /**
   * A home asks its host, by acknowledging again, how far everything is safe; and when its store went back, for what the
   * host believes it to have.
   */
  askHost(conv: Conversation): void {
    const lacks = conv.life < this.#core.life()
    if ((lacks || wantsSafe(conv)) && this.#mayAcknowledge(conv)) this.#sendLogState(conv, conv.settled, lacks)
  }
}
