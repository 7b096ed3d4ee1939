// A conversation comes to a region: somebody lives here now. What they had elsewhere is asked for, taken page by page and
// built up; if this region is to host it, the epoch before is ended first. Until then nobody who came is served here.
import {
  type Ballot,
  type ConvId,
  NOWHERE,
  openClosed,
  openHostRegister,
  ParleyError,
  positionOf,
  type Range,
  type RegionId,
  readHostRegister,
  signHostRegister,
  type TakeoverState,
  type UserId,
} from '#protocol'
import { isIncomplete, mayComeFromElsewhere, onAnswer, planOf, requiring, unanswered } from './arrivals.ts'
import { type Builder, type Building, newBuilding } from './building.ts'
import { Asking, answerOf, type Coming, comingAnew, conversationOf, newComing, startOf } from './coming.ts'
import { ComingList } from './coming-list.ts'
import { type Conversation, pin, unpin } from './conversation.ts'
import { readNumber } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { Election, ROUNDS } from './forcing.ts'
import { membersOf } from './founding.ts'
import type { Leaving } from './leaving.ts'
import type { RuleLimits } from './limits.ts'
import type { Moves } from './moves.ts'
import { livesHere, stayed } from './residence.ts'
import type { Submissions } from './submissions.ts'
import { Unread } from './unread.ts'

export type ArrivingParts = {
  readonly core: Core
  readonly moves: Moves
  readonly leaving: Leaving
  readonly builder: Builder
  readonly submissions: Submissions
  readonly limits: Pick<
    RuleLimits,
    'takeoverAgainMs' | 'takeoverPatienceMs' | 'lookUpAgainMs' | 'comingSteps' | 'comingSpokenOf'
  >
  /** Those who came are served from now on. */
  readonly arrived: (conv: Conversation, users: readonly UserId[]) => void
  /** It is looked at whether something else has to come, or to go. */
  readonly check: (conv: Conversation) => void
}

/** Patience after which what only a region speaks of may make room. */
const IN_VAIN = 2

export class Arriving {
  readonly #parts: ArrivingParts
  readonly #coming = new ComingList()
  readonly #unread: Unread
  readonly #asking: Asking
  readonly #election: Election

  constructor(parts: ArrivingParts) {
    this.#parts = parts
    const { core, leaving, limits } = parts
    this.#unread = new Unread(core)
    this.#asking = new Asking(core, limits)
    this.#election = new Election({
      ...{ core, leaving, asking: this.#asking },
      existing: (id) => this.#existing(id),
      chosen: (coming, payload) => this.#chosen(coming, payload),
    })
  }

  isAwaited(id: ConvId, user: UserId): boolean {
    return this.#coming.get(id)?.awaited.includes(user) === true || this.#unread.awaits(id, user)
  }

  /** Something of it is on its way, or asked for. */
  isComing(id: ConvId): boolean {
    return this.#coming.has(id)
  }

  /** Somebody moved meanwhile. */
  movedOn(user: UserId): void {
    for (const coming of this.#coming.all()) if (coming.users.includes(user)) this.#anew(coming)
  }

  /** A region that speaks of it before it has come hears what became of it. */
  spokeOf(id: ConvId, region: RegionId): void {
    this.#coming.get(id)?.spoke.add(region)
  }

  isProposing(id: ConvId): boolean {
    return this.#coming.get(id)?.forcing !== undefined
  }

  /** Two who wait for each other, and for nobody else, both have nothing; so has who asks to be made host by the others. */
  mayComeFromElsewhere(id: ConvId, than: RegionId): boolean {
    const coming = this.#coming.get(id)
    if (!coming || coming.forcing) return this.#unread.has(id)
    return coming.building !== undefined || mayComeFromElsewhere(coming.arrival, than, this.#isLate(coming))
  }

  #isLate({ arrival }: Coming, times = 1): boolean {
    return this.#parts.core.ports.clock.monotonic() - arrival.sinceMs >= times * this.#parts.limits.takeoverPatienceMs
  }

  /** In use here: one that had left is as good as none. */
  #existing(id: ConvId): Conversation | undefined {
    const conv = this.#parts.core.convs.get(id)
    return conv && livesHere(conv, this.#parts.core.ports.region) ? conv : undefined
  }

  /** True: nobody ever moved, so that it can be founded here without waiting. `hint`: a region that spoke of it. */
  mayFound(id: ConvId, genesis: Uint8Array, hint: RegionId | undefined): boolean {
    const { core } = this.#parts
    const { directory, region: here } = core.ports
    const users = membersOf(id, genesis)
    const homes = users.map((user) => directory.knownHome(user))
    const isUnread = core.life() > 1 && homes[0]?.homeRegion === here && !directory.knownManifest(users[0]!)
    if (!isUnread && !homes.some((home) => home?.homeRegion === here && home.homeGeneration > 1)) return true
    this.begin(id, genesis, hint)
    return false
  }

  /** Starts or goes on, if there is something to take over at all. */
  begin(id: ConvId, genesis: Uint8Array, hint: RegionId | undefined): void {
    const users = membersOf(id, genesis)
    this.#unread.first(id, users, this.#existing(id), () => this.#begin(id, genesis, users, hint))
  }

  /** As it was begun. */
  #anew({ id, genesis, word }: Coming): void {
    this.begin(id, genesis, word)
  }

  /** A register that came meanwhile changes whom to ask, and what can be closed here: then it is begun anew. */
  #isCurrent(coming: Coming): boolean {
    if (this.#coming.get(coming.id) !== coming) return false
    if ((this.#existing(coming.id)?.epoch ?? 0) === coming.epoch) return true
    this.#anew(this.#drop(coming))
    return false
  }

  /** What did not fit comes again, no more often than it is asked for. */
  #again(coming: Coming, failedMs: number): void {
    const { core, limits } = this.#parts
    if (core.ports.clock.monotonic() - failedMs < limits.takeoverAgainMs) return
    this.#anew(this.#drop(coming))
  }

  #drop(coming: Coming): Coming {
    this.#coming.delete(coming)
    if (coming.existing) unpin(coming.existing)
    return coming
  }

  /** `asHost`: what members had in their own former homes has been asked for. */
  #begin(id: ConvId, genesis: Uint8Array, users: readonly UserId[], hint: RegionId | undefined, asHost = false): void {
    const { core } = this.#parts
    const { directory, region: here } = core.ports
    const homes = users.flatMap((user) => directory.knownHome(user) ?? [])
    if (homes.length < users.length) return
    const before = this.#coming.get(id)
    const same = before?.homes.every((home, i) => home.homeGeneration === homes[i]!.homeGeneration)
    if (hint) this.spokeOf(id, hint)
    if (before && !hint) this.#coming.neededHere(before)
    if (before && same && !asHost) {
      this.#guarded(before, () => this.#step(before))
      return
    }
    const existing = this.#existing(id)
    if (before) this.#drop(before)
    const started = startOf({ users, homes, existing, hint, asHost, life: core.life() }, core.ports)
    if (!started) {
      if (existing) stayed(existing, homes, here)
      if (before) this.#asking.sayWhoMoved(before, homes)
      return
    }
    // Once somebody here needs it, it is looked for whoever else speaks of it.
    const word = existing || (before && !before.word) ? undefined : hint
    const coming = newComing({ id, genesis: genesis.slice(), users, homes, existing, word, ...started })
    for (const region of [...(before?.spoke ?? []), ...(hint ? [hint] : [])]) coming.spoke.add(region)
    this.#comes(coming)
    const keeping = Promise.all(coming.awaited.map(core.keeping))
    core.load(Promise.all([core.store.get(ROUNDS, id), keeping]), ([row, regions]) => {
      if (this.#coming.get(id) !== coming) return
      coming.round = row ? readNumber(row) : 0
      coming.arrival = requiring(coming.arrival, regions.flat())
      this.#step(coming)
    })
  }

  /**
   * The host sends what does not go on from here, whatever is asked of it: it believes that this region has what it lacks,
   * and keeps it no more. Then all is taken anew from there.
   */
  misses(conv: Conversation): void {
    const { core, limits } = this.#parts
    const now = core.ports.clock.monotonic()
    conv.missingSinceMs ??= now
    if (now - conv.missingSinceMs >= limits.takeoverPatienceMs) this.takesAnew(conv)
  }

  takesAnew(conv: Conversation): void {
    if (this.#coming.has(conv.id)) return
    const { core } = this.#parts
    conv.missingSinceMs = undefined
    const coming = comingAnew(conv, core.ports)
    if (!coming) return
    this.#comes(coming)
    this.#step(coming)
  }

  #comes(coming: Coming): void {
    const { existing } = coming
    this.#coming.add(coming)
    if (coming.word) this.#makeRoom(coming.word)
    if (!existing) return
    pin(existing)
    this.#parts.moves.settle(existing)
  }

  #makeRoom(region: RegionId): void {
    const { core, limits } = this.#parts
    for (;;) {
      const oldest = this.#coming.oldestBeyond(limits.comingSpokenOf, region)
      if (!oldest || !this.#isLate(oldest, IN_VAIN)) return
      this.#drop(oldest)
      core.ports.events.refused('overloaded')
    }
  }

  tick(): void {
    for (const coming of this.#coming.next(this.#parts.limits.comingSteps))
      this.#guarded(coming, () => this.#step(coming))
  }

  /** What somebody else said wrongly must not stop this node: it is asked again. */
  #guarded(coming: Coming, step: () => void): void {
    try {
      step()
    } catch (error) {
      if (!(error instanceof ParleyError)) throw error
      const { events, clock } = this.#parts.core.ports
      events.refused(error.code)
      coming.failedMs = clock.monotonic()
    }
  }

  // --- asking

  #step(coming: Coming): void {
    if (!this.#isCurrent(coming)) return
    if (coming.failedMs !== undefined) {
      this.#again(coming, coming.failedMs)
      return
    }
    if (this.#isLate(coming)) this.#asking.lookUp(coming, () => this.#anew(coming))
    if (coming.building) this.#fetch(coming, coming.building)
    else if (coming.forcing) this.#election.force(coming, coming.forcing)
    else this.#plan(coming)
  }

  #plan(coming: Coming): void {
    const { clock, directory } = this.#parts.core.ports
    const patient = isIncomplete(coming.arrival) || !this.#isLate(coming)
    const before = this.#existing(coming.id)?.host ?? directory.formerHome(coming.users[0]!)?.region
    const plan = planOf(coming.arrival, before, patient)
    switch (plan.do) {
      case 'ask':
        for (const region of plan.regions) this.#asking.ask(coming, region)
        return
      case 'take':
        if (plan.closed) coming.payload = this.#election.payloadOf(coming, [plan.closed])
        coming.building = newBuilding(coming.id, plan.from, clock.monotonic())
        this.#fetch(coming, coming.building)
        return
      case 'ballot':
        this.#election.begin(coming, plan.acceptors)
        return
      case 'own': {
        const { leaving, core } = this.#parts
        const existing = this.#existing(coming.id)
        const { opens } = coming.arrival
        const record = existing ? leaving.close(existing, opens) : leaving.closeNothing(coming.id, opens)
        coming.payload = this.#election.payloadOf(coming, [openClosed(record, core.ports.clock.now())])
        this.#finish(coming)
        return
      }
      case 'begin':
        if (coming.hostsLater) {
          this.#begin(coming.id, coming.genesis, coming.users, coming.word, true)
          return
        }
        if (plan.closed.length > 0) coming.payload = this.#election.payloadOf(coming, plan.closed)
        this.#finish(coming)
    }
  }

  onState(region: RegionId, id: ConvId, state: TakeoverState): void {
    const coming = this.#coming.get(id)
    if (!coming || coming.building || coming.forcing || !coming.arrival.candidates.includes(region)) return
    const { clock } = this.#parts.core.ports
    const answer = answerOf(coming, region, state, clock.now())
    coming.arrival = onAnswer(coming.arrival, region, answer, clock.monotonic())
    if (answer.host !== undefined) coming.asked.delete(answer.host)
    this.#guarded(coming, () => this.#step(coming))
  }

  onBallot(region: RegionId, id: ConvId, ballot: Ballot): void {
    const coming = this.#coming.get(id)
    if (!coming?.forcing || coming.building || ballot.epoch !== coming.arrival.opens) return
    this.#guarded(coming, () => this.#isCurrent(coming) && this.#election.onBallot(region, coming, ballot))
  }

  /** Decided for ever: what the cut keeps comes from who has it. */
  #chosen(coming: Coming, payload: Uint8Array): void {
    const register = readHostRegister(payload, this.#parts.core.ports.clock.now())
    if (register.host !== coming.arrival.here) throw new ParleyError('not_host', 'another region was chosen')
    coming.payload = payload
    const source = register.closed.find(({ at }) => at === register.cut)!.region
    if (source === coming.arrival.here || register.cut === NOWHERE) {
      this.#finish(coming)
      return
    }
    coming.building = newBuilding(coming.id, source, this.#parts.core.ports.clock.monotonic())
    this.#fetch(coming, coming.building)
  }

  // --- taking

  #fetch(coming: Coming, building: Building): void {
    if (this.#parts.builder.waits(building)) return
    const { after, from } = building
    const { limits, core } = this.#parts
    const isSilent = core.ports.clock.monotonic() - building.heardMs >= limits.takeoverPatienceMs
    // A crash may have taken what it spoke of, if that was only begun; what a region closed is kept, and waited for.
    if (isSilent && !coming.payload) {
      coming.arrival = unanswered(coming.arrival, from)
      coming.building = undefined
      this.#step(coming)
      return
    }
    this.#asking.fetch(coming, from, after)
  }

  onRange(region: RegionId, id: ConvId, range: Range): void {
    const coming = this.#coming.get(id)
    const building = coming?.building
    if (!coming || building?.from !== region || positionOf(range.afterEpoch, range.afterN) !== building.after) return
    const { after } = building
    this.#guarded(coming, () =>
      this.#parts.builder.page(building, range, this.#existing(id), (done) => {
        if (coming.building !== building || !this.#isCurrent(coming)) return
        this.#guarded(coming, () => {
          building.heardMs = this.#parts.core.ports.clock.monotonic()
          if (done) this.#finish(coming)
          else if (building.after > after) this.#fetch(coming, building)
        })
      }),
    )
  }

  /** What comes has gone on through epochs of which nobody told this region: it follows them first, and begins anew. */
  #followsFirst(coming: Coming): boolean {
    const existing = this.#existing(coming.id)
    if (!existing || !coming.building) return false
    const newer = this.#parts.builder.newerMoves(existing, coming.building)
    for (const register of newer) this.#parts.moves.followNext(existing, register)
    return newer.length > 0
  }

  #finish(coming: Coming): void {
    if (this.#followsFirst(coming)) return
    const { core, moves } = this.#parts
    const conv = conversationOf(coming, this.#existing(coming.id), this.#parts)
    this.#drop(coming)
    core.store.delete(ROUNDS, coming.id)
    if (!coming.payload) {
      moves.settle(conv)
      this.#served(coming, conv)
      return
    }
    const record = signHostRegister(coming.payload, core.ports.signer)
    moves.follow(conv, openHostRegister(record, core.ports.clock.now()), () => this.#served(coming, conv))
  }

  #served(coming: Coming, conv: Conversation): void {
    const { core, submissions, arrived, moves } = this.#parts
    if (core.isOrphaned(conv)) moves.wentBack(conv)
    else if (coming.building) conv.life = core.life()
    if (conv.hostedHere) submissions.numberWaiting(conv)
    for (const member of conv.members)
      if (coming.awaited.includes(member.userId)) core.inboxes.arrived(conv, member, conv.low)
    core.convs.changed(conv)
    arrived(conv, coming.awaited)
    if (coming.building) this.#parts.leaving.handedOver(conv, coming.building.from)
    for (const region of coming.spoke) this.#parts.leaving.remind(conv, region)
    if (coming.hostsLater) this.#parts.check(conv)
  }
}
