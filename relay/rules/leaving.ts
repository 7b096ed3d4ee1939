// A conversation leaves a region, or is asked about by one that a member moved to: what is here is closed when another
// region is to host it, said when it is asked for, and handed over page by page.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  type Ballot,
  Ballot_Phase,
  BallotSchema,
  type ConvId,
  convIdBytes,
  earlier,
  entryPosition,
  epochOf,
  type Fetch,
  ItemKind,
  NOWHERE,
  nOf,
  ParleyError,
  type Position,
  positionOf,
  RangeSchema,
  type RegionId,
  readHostRegister,
  regionIdBytes,
  regionIdOf,
  type SignedRecord,
  type Submission,
  signClosed,
  type Takeover,
  TakeoverSchema,
  type TakeoverState,
  TakeoverStateSchema,
  type UserId,
  unpackSubmission,
  userIdBytes,
  userIdOf,
} from '#protocol'
import { type AcceptorAnswer, type BallotNumber, newAcceptor, onAccept, onPrepare } from './ballots.ts'
import { type Author, type Conversation, pin, unpin } from './conversation.ts'
import { heldKey, readEntries, readHeld } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { membersOf } from './founding.ts'
import { completed, fillEntry, snapshotOf } from './handover.ts'
import type { Moves } from './moves.ts'
import { isServed, livesHere, wasAway } from './residence.ts'

/** Entries of one page. */
const PAGE_BYTES = 128 * 1024
/** Held submissions that go with a snapshot; whoever holds more says the rest again from the device. */
const HELD_BYTES = 384 * 1024

type State = Partial<Omit<TakeoverState, '$typeName'>>

export class Leaving {
  readonly #core: Core
  readonly #moves: Moves

  constructor(core: Core, moves: Moves) {
    this.#core = core
    this.#moves = moves
  }

  /** The asker is home to one of the members, by the newest record. Returns that member's number. */
  #ensureHome(region: RegionId, users: readonly UserId[]): number {
    const { directory } = this.#core.ports
    const member = users.findIndex((user) => directory.knownHome(user)?.homeRegion === region)
    if (member < 0) throw new ParleyError('not_home', 'asked by a region where no member lives')
    return member
  }

  /** It is the region that is to host this epoch. */
  #isSuccessor(region: RegionId, users: readonly UserId[], epoch: number): boolean {
    const home = this.#core.ports.directory.knownHome(users[0]!)
    return epoch > 1 && home?.homeRegion === region && home.homeGeneration === epoch
  }

  onTakeover(region: RegionId, id: ConvId, conv: Conversation | undefined, asked: Takeover): void {
    const users = membersOf(id, asked.genesis)
    this.#ensureHome(region, users)
    if (asked.done) {
      if (conv) this.#forget(conv, region, new Set(asked.userId.map(userIdOf)))
      return
    }
    if (!conv || !livesHere(conv, this.#core.ports.region)) {
      this.#answerWithout(region, id, users, asked.epoch)
      return
    }
    this.#moves.follows(conv)
    const { convs, load, ports } = this.#core
    const lacks = new Set(asked.userId.map(userIdOf))
    load(this.#lacking(conv, lacks, region), (before) => {
      convs.with(id, (now) => {
        if (now && livesHere(now, ports.region)) this.#answerWith(region, now, users, asked.epoch, before)
        else this.#answerWithout(region, id, users, asked.epoch)
      })
    })
  }

  /**
   * A region that keeps something for one who lives over there now, and was here for too short a time to get it. The asker
   * itself, when that had not got it either.
   */
  async #lacking(
    { members, host }: Conversation,
    lacks: ReadonlySet<UserId>,
    newHome: RegionId,
  ): Promise<RegionId | undefined> {
    const { directory, region: here } = this.#core.ports
    for (const member of members) {
      const { userId, region } = member
      if (!lacks.has(userId) || directory.knownHome(userId)?.homeRegion !== newHome) continue
      const former = await directory.findFormerHome(userId)
      const neverCame = wasAway(member, former)
      if (region === here && !neverCame) continue
      const keeping = (await this.#core.keeping(userId)).find((one) => one !== newHome)
      if (keeping) return keeping
      if (!neverCame || former?.gone) continue
      if (former?.region === newHome) return newHome
      // Their home before kept nothing when it heard of this one; as host it went on.
      if (member === members[0] && host !== here && host !== newHome) return host
    }
    return undefined
  }

  #answerWith(
    region: RegionId,
    conv: Conversation,
    users: readonly UserId[],
    epoch: number,
    before: RegionId | undefined,
  ): void {
    if (conv.epoch >= epoch) this.#moves.tell(conv, region)
    const closes = conv.hostedHere && conv.epoch < epoch && this.#isSuccessor(region, users, epoch)
    this.#answer(region, conv.id, {
      hostRegion: regionIdBytes(conv.host),
      epoch: conv.epoch,
      ...(closes && { closed: this.close(conv, epoch) }),
      ...(before && { beforeRegion: regionIdBytes(before), beforeKeeps: true }),
    })
  }

  /** It is not here, any more or yet. Somebody may have lived here for so short a time that what they had never came. */
  #answerWithout(region: RegionId, id: ConvId, users: readonly UserId[], epoch: number): void {
    const { ports, load, convs } = this.#core
    const { directory, region: here } = ports
    const movedOn = users.filter((user) => directory.knownHome(user)?.homeRegion === region)
    const isElsewhere = (former: RegionId): boolean => former !== here && former !== region
    load(Promise.all(movedOn.map((user) => directory.findFormerHome(user))), (found) => {
      const before = found.find((former) => former && !former.gone && isElsewhere(former.region))?.region
      convs.with(id, (conv) => {
        if (conv && livesHere(conv, here)) return
        if (conv) {
          const instead = regionIdBytes(before ?? conv.host)
          this.#answer(region, id, { hostRegion: regionIdBytes(conv.host), epoch: conv.epoch, beforeRegion: instead })
        } else if (before) this.#answer(region, id, { beforeRegion: regionIdBytes(before) })
        else if (this.#core.mayComeFromElsewhere(id, region)) return
        // The asker itself was to bring it here: that it is not here says nothing.
        else if (found.some((former) => former && !former.gone && former.region === region))
          this.#answer(region, id, { beforeRegion: regionIdBytes(region), beforeKeeps: true })
        else if (this.#isSuccessor(region, users, epoch))
          this.#answer(region, id, { closed: this.closeNothing(id, epoch) })
        else this.#answer(region, id, {})
      })
    })
  }

  #answer(region: RegionId, conv: ConvId, state: State): void {
    const body = toBinary(TakeoverStateSchema, create(TakeoverStateSchema, state))
    this.#core.outbox.after(this.#core.store.gate(), region, { conv, kind: ItemKind.TAKEOVER_STATE, body })
  }

  /** Nothing is here, and nothing of an epoch before this one ever will be: another region is the member's home. */
  closeNothing(convId: ConvId, beforeEpoch: number): SignedRecord {
    const { signer, clock } = this.#core.ports
    return signClosed({ convId, beforeEpoch, at: NOWHERE, hash: convIdBytes(convId) }, signer, clock.now())
  }

  /** Takes nothing more from here on, and says where that is; worth something when the commit counts. */
  close(conv: Conversation, beforeEpoch: number): SignedRecord {
    const { convs, ports } = this.#core
    if (beforeEpoch > conv.closedBefore) {
      conv.closedBefore = beforeEpoch
      conv.acceptor = newAcceptor
      convs.moved(conv)
    }
    const closed = { convId: conv.id, beforeEpoch, at: conv.head, hash: conv.hash }
    return signClosed(closed, ports.signer, ports.clock.now())
  }

  /**
   * Everything was taken over by the new home of those who are served there. Whoever it does not name may live elsewhere by
   * a record that is not known here yet, and has taken nothing.
   */
  #forget(conv: Conversation, newHome: RegionId, served: ReadonlySet<UserId>): void {
    const { directory, region: here } = this.#core.ports
    // Somebody else is on their way here, and what is here is part of what they will have.
    const isExpected = conv.members.some(({ userId }) => directory.knownHome(userId)?.homeRegion === here)
    for (const member of conv.members)
      if (served.has(member.userId) && directory.knownHome(member.userId)?.homeRegion === newHome)
        member.takenBy = newHome
    if (isExpected && !conv.hostedHere) return
    this.#moves.settle(conv)
    this.#moves.retireIfLeft(conv)
  }

  /** Where somebody lived: nothing has to be kept there for them any more. */
  handedOver(conv: Conversation, from: RegionId): void {
    const { outbox, store, ports } = this.#core
    if (!ports.links.isUp(from)) return
    this.#moves.tell(conv, from)
    const { epoch, genesisBytes: genesis } = conv
    const userId = this.#served(conv).map(userIdBytes)
    const body = toBinary(TakeoverSchema, create(TakeoverSchema, { epoch, done: true, genesis, userId }))
    outbox.after(store.gate(), from, { conv: conv.id, kind: ItemKind.TAKEOVER, body })
  }

  /** Members who live here, and have what they had elsewhere. */
  #served({ members }: Conversation): UserId[] {
    const { directory, region: here } = this.#core.ports
    return members.flatMap((member) => {
      const home = directory.knownHome(member.userId)
      return home?.homeRegion === here && isServed(member, home) ? [member.userId] : []
    })
  }

  /** A region speaks of a conversation that was left there: it has not heard that it may forget what it kept. */
  remind(conv: Conversation, region: RegionId): void {
    this.#moves.follows(conv)
    const { directory, region: here } = this.#core.ports
    const homes = conv.members.map(({ userId }) => directory.knownHome(userId))
    if (conv.members.some((member, m) => homes[m]?.homeRegion === here && !isServed(member, homes[m]))) return
    const isLeft = !conv.feeds.has(region) && homes.every((home) => home?.homeRegion !== region)
    const came = homes.some((home) => home?.homeRegion === here && home.homeGeneration > 1)
    if (isLeft || came) this.handedOver(conv, region)
  }

  // --- handing over

  onFetch(region: RegionId, conv: Conversation, asked: Fetch): void {
    if (!livesHere(conv, this.#core.ports.region))
      throw new ParleyError('unknown_conversation', 'only who hosts it is known here')
    this.#ensureHome(
      region,
      conv.members.map(({ userId }) => userId),
    )
    const after = positionOf(asked.epoch, asked.n)
    // What comes while the entries are read is not part of it.
    const { head } = conv
    const snapshot = after === NOWHERE ? snapshotOf(conv) : undefined
    pin(conv)
    this.#core.load(this.#readPage(conv, after, head, region), ({ entries, held }) => {
      unpin(conv)
      const range = create(RangeSchema, {
        afterEpoch: epochOf(after),
        afterN: nOf(after),
        headEpoch: epochOf(head),
        headN: nOf(head),
        entry: entries,
        ...(snapshot && { snapshot: completed(snapshot, earlier(conv.low, head), held) }),
      })
      const item = { conv: conv.id, kind: ItemKind.RANGE, body: toBinary(RangeSchema, range) }
      this.#core.outbox.after(this.#core.store.gate(), region, item)
    })
  }

  async #readPage(
    conv: Conversation,
    after: Position,
    head: Position,
    region: RegionId,
  ): Promise<{ entries: Uint8Array[]; held: Map<Author, Submission[]> }> {
    const entries = await readEntries(this.#core.store, conv, after, head, PAGE_BYTES)
    const filled: Uint8Array[] = []
    for (const entry of entries) filled.push(await this.#fill(conv, entry))
    return { entries: filled, held: after === NOWHERE ? await this.#heldFor(conv, region) : new Map() }
  }

  /** What is not safe may lack parts that only its author's home still has. */
  async #fill(conv: Conversation, entry: Uint8Array): Promise<Uint8Array> {
    const at = entryPosition(entry)
    for (const author of conv.authors.values()) {
      const held = author.run.find(({ k }) => author.window.placeOf(k) === at)
      const row = held && (await this.#core.store.get(conv.partition, heldKey(author, held.k)))
      if (row) return fillEntry(entry, unpackSubmission(readHeld(held.k, row).submission))
    }
    return entry
  }

  /** Of members who live over there now. */
  async #heldFor(conv: Conversation, region: RegionId): Promise<Map<Author, Submission[]>> {
    const { store, ports } = this.#core
    const out = new Map<Author, Submission[]>()
    let bytes = 0
    for (const author of conv.authors.values()) {
      const user = conv.members[author.member]?.userId
      if (!user || ports.directory.knownHome(user)?.homeRegion !== region) continue
      const items: Submission[] = []
      for (const { k, size } of author.run) {
        bytes += size
        const row = bytes > HELD_BYTES ? undefined : await store.get(conv.partition, heldKey(author, k))
        if (!row) break
        items.push(unpackSubmission(readHeld(k, row).submission))
      }
      if (items.length > 0) out.set(author, items)
    }
    return out
  }

  // --- the acceptor of a ballot

  onBallot(region: RegionId, conv: Conversation, ballot: Ballot): void {
    const users = conv.members.map(({ userId }) => userId)
    const number = { round: ballot.number!.round, region: regionIdOf(ballot.number!.region) }
    if (number.region !== region || !this.#isSuccessor(region, users, ballot.epoch)) {
      throw new ParleyError('not_host', 'a ballot of a region that is not to host this epoch')
    }
    if (conv.epoch >= ballot.epoch) {
      this.#moves.tell(conv, region)
      return
    }
    const accept = ballot.phase === Ballot_Phase.ACCEPT
    const answer = this.vote(conv, ballot.epoch, number, accept ? ballot.value : undefined)
    if (answer) this.#reply(region, conv, ballot, answer)
  }

  /** `value` undefined: a promise is asked for. Undefined when a higher epoch is being decided here. */
  vote(
    conv: Conversation,
    epoch: number,
    number: BallotNumber,
    value: Uint8Array | undefined,
  ): AcceptorAnswer | undefined {
    if (epoch < conv.closedBefore) return undefined
    if (value) readHostRegister(value, this.#core.ports.clock.now())
    this.close(conv, epoch)
    const step = value ? onAccept(conv.acceptor, number, value) : onPrepare(conv.acceptor, number)
    conv.acceptor = step.acceptor
    this.#core.convs.moved(conv)
    return step.answer
  }

  #reply(region: RegionId, conv: Conversation, ballot: Ballot, answer: AcceptorAnswer): void {
    const { PROMISE, ACCEPTED, REFUSED } = Ballot_Phase
    const accepted = answer.say === 'promise' ? answer.accepted : undefined
    const wire = (number: BallotNumber) => ({ round: number.round, region: regionIdBytes(number.region) })
    const reply = create(BallotSchema, {
      phase: answer.say === 'promise' ? PROMISE : answer.say === 'accepted' ? ACCEPTED : REFUSED,
      epoch: ballot.epoch,
      number: answer.say === 'refused' ? wire(answer.promised) : ballot.number!,
      ...(answer.say === 'promise' && { closed: this.close(conv, ballot.epoch) }),
      ...(accepted && { accepted: wire(accepted.number), value: accepted.value }),
    })
    const item = { conv: conv.id, kind: ItemKind.BALLOT, body: toBinary(BallotSchema, reply) }
    this.#core.outbox.after(this.#core.store.gate(), region, item)
  }
}
