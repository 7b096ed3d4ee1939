// A conversation follows its members: host registers are taken, told to everybody who should know, and what does not
// belong here any more is forgotten. How a conversation comes to a region stands in arriving.ts, how it leaves one in
// leaving.ts; what a cut does to the rows in cuts.ts.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  convIdBytes,
  earlier,
  epochOf,
  type HostRegister,
  HostRegistersSchema,
  HostRegistersStateSchema,
  ItemKind,
  limits,
  NOWHERE,
  nextOf,
  nextPlace,
  openHostRegister,
  type RegionId,
  readHeader,
  type SignedRecord,
} from '#protocol'
import { newAcceptor } from './ballots.ts'
import { type Conversation, isClosed, type Member, pin, unpin } from './conversation.ts'
import {
  collect,
  HOST_STREAM,
  handedOverKey,
  hostKey,
  LOG_STREAM,
  newFeedState,
  readEntries,
  registerName,
  registerStream,
  rowsOf,
} from './conversation-rows.ts'
import type { Core } from './core.ts'
import { rolledBack } from './cuts.ts'
import { type EpochView, following, writeRecord } from './epochs.ts'
import { findHomes } from './founding.ts'
import type { Introductions } from './introductions.ts'
import type { LagServer } from './lag-server.ts'
import type { Log } from './log.ts'
import { livesHere } from './residence.ts'
import type { Submissions } from './submissions.ts'

export type MoveParts = {
  readonly core: Core
  readonly log: Log
  readonly lag: LagServer
  readonly submissions: Submissions
  readonly introductions: Introductions
}

export function viewOf(conv: Conversation): EpochView {
  const { genesis } = conv
  return {
    id: conv.id,
    epoch: conv.epoch,
    host: conv.host,
    regions: conv.members.map(({ region }) => region),
    empty: conv.head === 0 && conv.moves.length === 0 && !conv.hostedHere,
    safe: conv.safe,
    decides: genesis.kind === 'direct' ? genesis.members[0] : undefined,
  }
}

export class Moves {
  readonly #parts: MoveParts
  /** Conversations that are being rolled back: rows are read first. */
  readonly #rolling = new Set<Conversation>()
  /** Hosted here since the last commit was closed. */
  readonly #opened = new Set<Conversation>()

  constructor(parts: MoveParts) {
    this.#parts = parts
  }

  // --- host registers

  /** Throws what is wrong with one; what is known already is acknowledged again. */
  onRegisters(region: RegionId, conv: Conversation, items: readonly SignedRecord[]): void {
    const now = this.#parts.core.ports.clock.now()
    for (const record of items) this.followNext(conv, openHostRegister(record, now))
    this.#acknowledge(region, conv)
  }

  /** Throws what is wrong with it; one that is known already changes nothing. */
  followNext(conv: Conversation, register: HostRegister): void {
    if (following(viewOf(conv), conv.moves, register) === 'follow') this.follow(conv, register)
  }

  #acknowledge(region: RegionId, conv: Conversation): void {
    const { core } = this.#parts
    const body = toBinary(HostRegistersStateSchema, create(HostRegistersStateSchema, { epoch: conv.epoch }))
    core.outbox.after(core.store.gate(), region, { conv: conv.id, kind: ItemKind.HOST_REGISTERS_STATE, body })
  }

  onState(region: RegionId, conv: Conversation, epoch: number): void {
    if (!conv.feeds.has(region)) return
    const { core, log } = this.#parts
    core.feeds.acknowledged(conv, region, HOST_STREAM, Math.min(epoch, conv.epoch))
    // Before it knew who hosts, it heard nothing of what is safe.
    if (conv.hostedHere) log.hostSafe(conv, region)
  }

  /** To a region that believes something older. Returns the epoch that it hears of. */
  tell(conv: Conversation, region: RegionId): number {
    const { core, introductions } = this.#parts
    if (!core.ports.links.isUp(region) || conv.moves.length === 0) return 0
    introductions.before(region, conv)
    const items = conv.moves.slice(-limits.HOST_REGISTERS_MAX).map(({ record }) => record)
    const body = toBinary(HostRegistersSchema, create(HostRegistersSchema, { items }))
    core.outbox.after(core.store.gate(), region, { conv: conv.id, kind: ItemKind.HOST_REGISTERS, body })
    conv.feeds.get(region)?.sent.set(HOST_STREAM, conv.epoch)
    return conv.epoch
  }

  /** A region sends what is for somebody who lives elsewhere by now: it has not heard of that. */
  sayWhoLeft(conv: Conversation, region: RegionId): void {
    const { core, introductions } = this.#parts
    const users = conv.members.map(({ userId }) => userId)
    core.load(findHomes(core.ports, users), () => {
      if (core.ports.links.isUp(region)) introductions.again(region, conv)
    })
  }

  /** To the host: it may not have heard of who came here lately. */
  sayWhoCame(conv: Conversation): void {
    if (conv.members.some(({ local, since }) => local && since > 1)) this.#parts.introductions.before(conv.host, conv)
  }

  /** Takes a register that may be followed; what it cuts off goes in the same commit. */
  follow(conv: Conversation, register: HostRegister, then: () => void = () => undefined): void {
    if (register.epoch <= conv.epoch) return
    const beyond = conv.head > register.cut && epochOf(conv.head) < register.epoch
    if (!beyond) {
      this.#take(conv, register)
      then()
      return
    }
    if (this.#rolling.has(conv)) return
    this.#rolling.add(conv)
    pin(conv)
    const { core } = this.#parts
    const kept = earlier(conv.low, register.cut)
    core.load(readEntries(core.store, conv, kept, register.cut, Number.POSITIVE_INFINITY), (entries) => {
      unpin(conv)
      this.#rolling.delete(conv)
      if (core.convs.get(conv.id) !== conv || conv.epoch >= register.epoch) return
      this.#cut(conv, register, entries)
      this.#take(conv, register)
      then()
    })
  }

  #cut(conv: Conversation, register: HostRegister, kept: readonly Uint8Array[]): void {
    const { store } = this.#parts.core
    store.cut(conv.partition, register.cut, conv.head, earlier(conv.low, register.cut))
    for (let at = register.cut; at < conv.handedOver; ) {
      at = at === register.cut ? nextOf(at) : nextPlace(at, conv.moves)
      store.delete(conv.partition, handedOverKey(at))
    }
    rolledBack(conv, register, kept.map(readHeader))
    conv.handedOver = earlier(conv.handedOver, register.cut)
  }

  #take(conv: Conversation, register: HostRegister): void {
    const { core, log } = this.#parts
    const { ports, store } = core
    conv.moves = [...conv.moves, register]
    store.put(conv.partition, hostKey(register.epoch), writeRecord(register.record))
    conv.movesGate = store.gate()
    conv.epoch = register.epoch
    conv.life = core.life()
    conv.host = register.host
    const hosted = conv.hostedHere
    conv.hostedHere = register.host === ports.region
    // What was acknowledged so far was so to, or as, another host.
    if (!hosted) for (const feed of conv.feeds.values()) feed.acked.delete(LOG_STREAM)
    if (!isClosed(conv)) {
      conv.closedBefore = 0
      conv.acceptor = newAcceptor
    }
    if (conv.head === 0) conv.hash = convIdBytes(conv.id)
    this.settle(conv)
    if (!livesHere(conv, ports.region)) {
      this.retire(conv)
      return
    }
    if (conv.hostedHere) this.#openEpoch(conv, register)
    this.tellDevices(conv)
    log.cursorMoved(conv)
  }

  /** The new host owes the others what they had not closed, and who hosts now. */
  #openEpoch(conv: Conversation, register: HostRegister): void {
    const { core, submissions } = this.#parts
    for (const [region, feed] of conv.feeds) {
      const closed = register.closed.find((one) => one.region === region)
      // What was safe and is gone nobody lacks, and nobody would acknowledge it again.
      const has = Math.max(Math.min(closed?.at ?? 0, register.cut), conv.low)
      feed.acked.set(LOG_STREAM, has)
      if (has < conv.head) core.feeds.owe(conv, region, LOG_STREAM, has + 1)
      core.feeds.concern(conv, region, HOST_STREAM, register.epoch, register.epoch)
    }
    submissions.numberWaiting(conv)
  }

  /** The first commit of a host counts: what was safe before is said again, since nobody else will. */
  committed(): void {
    for (const conv of this.#opened)
      for (const region of [undefined, ...conv.feeds.keys()]) this.#parts.log.hostSafe(conv, region)
    this.#opened.clear()
  }

  /** It is from before the store went back: the epoch may have gone on without this, and is closed here for good. */
  wentBack(conv: Conversation): void {
    if (!conv.hostedHere || isClosed(conv) || this.#parts.core.life() === 1) return
    conv.closedBefore = conv.epoch + 1
    this.#parts.core.convs.moved(conv)
  }

  // --- where members live

  /**
   * Members, host and feeds as the newest records and the newest register say. Of who left this region is the only one
   * that keeps what they have not got yet, until everything was handed over to where they live now.
   */
  settle(conv: Conversation): void {
    const { core, lag, introductions } = this.#parts
    const { directory, region: here } = core.ports
    const isLeft = !livesHere(conv, here)
    for (const [m, member] of conv.members.entries()) {
      // Member 0 of a direct conversation lives where it is hosted, until a register says otherwise.
      const known = m === 0 ? conv.host : (directory.knownHome(member.userId)?.homeRegion ?? member.region)
      // Who comes is at home here when what they had elsewhere has been asked for, not before.
      const isNew = m > 0 && known === here && member.region !== here && !core.isAwaited(conv.id, member.userId)
      const region = isNew ? member.region : known
      // Who comes back to a region that was left brings everything along: what it remembers is no conversation.
      if (region === here) member.takenBy = undefined
      const isNeeded = !conv.hostedHere || member.inbox !== undefined
      const keeps = m > 0 && member.region === here && isNeeded && member.takenBy !== region
      const stays = isLeft ? region === here : keeps
      if (!stays && region !== here && member.region === here) core.inboxes.leave(conv, member)
      if (!stays) member.region = region
      const wasLocal = member.local
      member.local = member.region === here && !core.isAwaited(conv.id, member.userId)
      if (member.local && !wasLocal) this.#nowLocal(conv, member)
    }
    const owed = new Set(conv.members.map(({ region }) => region).filter((region) => region !== here))
    if (!livesHere(conv, here)) owed.clear()
    const acked = new Map([...conv.feeds].map(([region, feed]) => [region, feed.acked.get(LOG_STREAM) ?? NOWHERE]))
    for (const region of [...conv.feeds.keys()]) {
      core.feeds.forget(conv, region)
      lag.forget(conv, region)
      conv.feeds.delete(region)
    }
    for (const region of owed) {
      conv.feeds.set(region, newFeedState(region))
      if (!acked.has(region)) introductions.anew(region, conv)
    }
    if (conv.hostedHere) {
      for (const region of owed) this.#oweLog(conv, region, acked.get(region) ?? NOWHERE)
      // Whom it waited for may be no member region any more: what is safe is said anew.
      this.#opened.add(conv)
    }
    this.#oweAgain(conv)
    core.convs.moved(conv)
  }

  #nowLocal(conv: Conversation, member: Member): void {
    const { directory, region: here } = this.#parts.core.ports
    const home = directory.knownHome(member.userId)
    if (!home || home.homeRegion === here) member.since = home?.homeGeneration ?? 1
    // They moved on before what they had elsewhere had come: what came here meanwhile they have not got.
    else this.#parts.core.inboxes.arrived(conv, member, conv.low)
  }

  #oweLog(conv: Conversation, region: RegionId, acked: number): void {
    const { feeds } = this.#parts.core
    const has = Math.max(acked, conv.low)
    conv.feeds.get(region)!.acked.set(LOG_STREAM, has)
    if (has < conv.head) feeds.owe(conv, region, LOG_STREAM, has + 1)
    if (conv.moves.length > 0) feeds.owe(conv, region, HOST_STREAM, 1)
  }

  /** To the host: what is held and not numbered, and the registers of those who live here; from it: everything to all. */
  #oweAgain(conv: Conversation): void {
    const { feeds } = this.#parts.core
    for (const author of conv.authors.values()) {
      const first = author.run.find(({ k }) => k > author.last)
      if (!first || conv.hostedHere || !conv.members[author.member]?.local || !conv.feeds.has(conv.host)) continue
      feeds.owe(conv, conv.host, author.stream, first.k)
    }
    for (const register of conv.registers.values()) {
      const origin = conv.members[register.member]
      const regions = conv.hostedHere
        ? [...conv.feeds.keys()].filter((region) => region !== origin?.region)
        : origin?.local && conv.feeds.has(conv.host)
          ? [conv.host]
          : []
      for (const region of regions) feeds.owe(conv, region, registerStream(registerName(register)), register.version)
    }
  }

  /** A member who does not decide about the host lives elsewhere now: the host owes the log to the new home. */
  follows(conv: Conversation): void {
    const { core } = this.#parts
    const { directory } = core.ports
    const moved = conv.members.some((member, m) => {
      const home = m === 0 ? undefined : directory.knownHome(member.userId)
      return home !== undefined && home.homeRegion !== member.region
    })
    if (moved && conv.hostedHere) this.settle(conv)
  }

  /**
   * Whoever lived here is known to live elsewhere. What their new home takes over from here ends at one place: what this
   * region took and acknowledged behind it would be kept by nobody.
   */
  isLeaving(conv: Conversation): boolean {
    if (conv.hostedHere) return false
    const { directory, region: here } = this.#parts.core.ports
    return conv.members.some(({ userId, region }, m) => {
      const home = m > 0 && region === here ? directory.knownHome(userId) : undefined
      return home !== undefined && home.homeRegion !== here
    })
  }

  /** Sessions of local members hear where the conversation went before they get anything of it. */
  tellDevices(conv: Conversation): void {
    const { sessions } = this.#parts.core
    for (const { userId, local } of conv.members) {
      if (!local) continue
      for (const session of sessions.ofUser(userId)) {
        if (session.opening) session.opening.add(conv.id)
        else if (session.views?.has(conv.id) || session.deviceRefOf?.has(conv.id)) this.tellDevice(session, conv)
      }
    }
  }

  tellDevice(session: Parameters<Core['sessions']['moved']>[0], conv: Conversation): void {
    const { sessions, store } = this.#parts.core
    // What is said of the new epoch must not overtake it.
    const waits = conv.hostedHere && conv.movesGate > store.committed()
    sessions.moved(session, conv, waits ? conv.movesGate : 0)
  }

  /** One of which something is kept: a former boot may not have come to drop it. */
  retireIfLeft(conv: Conversation): void {
    if (!livesHere(conv, this.#parts.core.ports.region)) this.retire(conv)
  }

  /** Nobody who lives here is a member any more: only who hosts it now is remembered. */
  retire(conv: Conversation): void {
    const { core, lag } = this.#parts
    const { store, convs, inboxes, feeds } = core
    for (const region of [...conv.feeds.keys()]) {
      feeds.forget(conv, region)
      lag.forget(conv, region)
    }
    conv.feeds.clear()
    if (conv.retiring) return
    // Its rows go with a later commit, which a crash may prevent: until then it is listed, and looked at after a restart.
    conv.retiring = true
    convs.changed(conv)
    pin(conv)
    const rows = Promise.all([
      collect(rowsOf(store, conv.partition, 'b', 'c')),
      collect(rowsOf(store, conv.partition, 'm', 's')),
      collect(rowsOf(store, conv.partition, 'w', 'x')),
    ])
    core.load(rows, (found) => {
      unpin(conv)
      conv.retiring = false
      if (convs.get(conv.id) !== conv) return
      convs.changed(conv)
      if (livesHere(conv, core.ports.region)) return
      for (const [key] of found.flat()) store.delete(conv.partition, key)
      if (conv.low < conv.head) store.trim(conv.partition, conv.head, conv.head)
      conv.authors.clear()
      conv.registers.clear()
      conv.low = conv.head
      conv.handedOver = NOWHERE
      for (const member of conv.members) inboxes.leave(conv, member)
      convs.moved(conv)
    })
  }
}
