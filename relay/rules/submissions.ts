// What becomes of submissions: at the author's home (the home's table), and at the host (the host's table). When this
// node is both, the second follows the first in the same step.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  type EntryHeader,
  encodeItem,
  ItemKind,
  limits,
  packSubmission,
  type RegionId,
  type Submission,
  type SubmissionState,
  sizeOfSubmission,
  unpackSubmission,
  type Verdict,
  VerdictSchema,
  writeEntry,
} from '#protocol'
import {
  type Author,
  type Conversation,
  feedOf,
  findHeld,
  type Held,
  isClosed,
  nextPlace,
  pin,
  putHeld,
  unpin,
} from './conversation.ts'
import { heldKey, readHeld, writeHeld } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { type Budget, homeTake, verdictCounts } from './home.ts'
import { type HostOutcome, hostTake, type ManifestOf } from './host.ts'
import type { Log } from './log.ts'
import type { Senders } from './senders.ts'
import type { SessionState } from './sessions.ts'
import { behindVerdict, heldVerdict, homeVerdict, hostVerdict, waitVerdict } from './verdicts.ts'

type Pending = { dueMs: number; gate: number; conv: Conversation; author: Author; k: number; rev: number }

const heldOf = ({ k, tag, rev, kind }: Submission, size: number): Held => ({
  k,
  tag: new Uint8Array(tag),
  rev,
  kind,
  size,
  stop: undefined,
})

export type SubmissionLimits = {
  /** Submissions of one device in one conversation that are held. */
  readonly held: number
  readonly heldBytes: number
}

/**
 * Closed for another region in which whoever decides about the host lived meanwhile, and they are back: the register of that
 * region has yet to come, and takes with it what would be kept for them here until then.
 */
const isLeftBy = (conv: Conversation, { member }: Author): boolean => member === 0 && conv.hostedHere && isClosed(conv)

export class Submissions {
  readonly #core: Core
  readonly #log: Log
  readonly #senders: Senders
  readonly #limits: SubmissionLimits
  /** Held submissions whose author has not been told yet, oldest first. */
  readonly #untold: Pending[] = []

  constructor(core: Core, log: Log, senders: Senders, submissionLimits: SubmissionLimits) {
    this.#core = core
    this.#log = log
    this.#senders = senders
    this.#limits = submissionLimits
  }

  #tell(session: SessionState, conv: Conversation, verdict: Verdict, gate: number): void {
    const { k, rev, outcome, tag } = verdict
    this.#core.sessions.verdict(session, conv.id, { k, rev, outcome, tag }, gate)
  }

  /** A device hands its home a submission. */
  fromDevice(session: SessionState, conv: Conversation, author: Author, submission: Submission): void {
    // The device's small number means nothing beyond its session.
    submission.conv = 0
    this.#core.counts.submitted++
    const { k, tag, rev, kind } = submission
    const size = sizeOfSubmission(submission)
    const outcome = homeTake(author, { k, tag, rev, kind, size }, this.#room(author))
    if (outcome.do === 'take' || outcome.do === 'replace') {
      if (isLeftBy(conv, author))
        this.#tell(session, conv, waitVerdict({ k, rev }, 'closing', 'this conversation moves', 1_000), 0)
      else this.#keep(conv, author, submission, size)
      return
    }
    const stop = outcome.do === 'held' && outcome.stop ? fromBinary(VerdictSchema, outcome.stop) : undefined
    const verdict = homeVerdict(outcome, submission, stop)
    // A replica's entries were committed by their host; what this home only holds or believes waits for its commit.
    const isCommitted = outcome.do === 'sequenced' && !conv.hostedHere
    const gate = stop ? this.#ownersGate() : isCommitted ? 0 : this.#core.store.gate()
    this.#tell(session, conv, verdict, gate)
    if (outcome.do === 'sequenced') this.#log.repeatSafe(conv, author, session)
  }

  /** Who has been deposed must not refuse: a commit of its own tells, even where nothing else waits for one. */
  #ownersGate(): number {
    this.#core.store.note(new Uint8Array(0))
    return this.#core.store.gate()
  }

  #room(author: Author): Budget {
    if (!this.#core.store.hasRoom()) return { submissions: 0, bytes: 0 }
    let bytes = 0
    if (author.run.length > 64) for (const held of author.run) bytes += held.size
    return { submissions: this.#limits.held - author.run.length, bytes: this.#limits.heldBytes - bytes }
  }

  #keep(conv: Conversation, author: Author, submission: Submission, size: number): void {
    if (conv.hostedHere && !isClosed(conv)) {
      this.#numberOwn(conv, author, submission, size)
      return
    }
    const held = heldOf(submission, size)
    this.#wait(conv, author, held, packSubmission(submission))
    if (conv.hostedHere) return
    this.#core.feeds.concern(conv, conv.host, author.stream, held.k, held.k)
    const feed = feedOf(conv, conv.host)
    // A new rev of something that was sent already goes again from there.
    if ((feed.sent.get(author.stream) ?? 0) >= held.k) feed.sent.set(author.stream, held.k - 1)
    this.#senders.forward(conv, author, held, submission)
  }

  /** Kept until it is safe; `held` is told if it is committed before it is numbered. */
  #wait(conv: Conversation, author: Author, held: Held, bytes: Uint8Array): void {
    const known = findHeld(author, held.k) !== undefined
    putHeld(author, held)
    this.#core.convs.holds(conv)
    const row = writeHeld(held, bytes)
    if (known) this.#core.store.put(conv.partition, heldKey(author, held.k), row)
    else this.#core.store.create(conv.partition, heldKey(author, held.k), row)
    const dueMs = this.#core.ports.clock.monotonic() + limits.HELD_AFTER_MS
    pin(conv)
    this.#untold.push({ dueMs, gate: this.#core.store.gate(), conv, author, k: held.k, rev: held.rev })
  }

  /** Home and host in one: numbered in the same step, or kept with the verdict that stopped it. */
  #numberOwn(conv: Conversation, author: Author, submission: Submission, size: number): void {
    const outcome = hostTake(conv, author, submission, this.#manifestOf(conv))
    if (outcome.do === 'append') {
      const kept = author.run.length > 0 ? findHeld(author, submission.k) : undefined
      if (kept) this.#forget(conv, author, kept)
      this.#append(conv, author, submission)
      if (author.run.length > 0) this.#numberHeld(conv, author)
      return
    }
    const held = heldOf(submission, size)
    if (outcome.do === 'behind') {
      this.#wait(conv, author, held, packSubmission(submission))
      return
    }
    const verdict = hostVerdict(outcome, held)
    if (!verdict) throw new Error(`a home took k ${held.k} that its own log answers with ${outcome.do}`)
    this.#stopWith(conv, author, held, packSubmission(submission), verdict)
  }

  /** A conversation is hosted here now: what its authors' home held is numbered. */
  numberWaiting(conv: Conversation): void {
    for (const author of conv.authors.values()) if (conv.members[author.member]?.local) this.#numberHeld(conv, author)
  }

  /** At a host that is also the home: what was kept behind a stop is numbered as soon as it is next. */
  #numberHeld(conv: Conversation, author: Author): void {
    const next = findHeld(author, author.last + 1)
    if (!next || next.stop) return
    this.#readHeld(conv, author, next, (row) => {
      if (findHeld(author, author.last + 1) !== next || !conv.hostedHere || isClosed(conv)) return
      const submission = unpackSubmission(readHeld(next.k, row).submission)
      const outcome = hostTake(conv, author, submission, this.#manifestOf(conv))
      if (outcome.do !== 'append') return this.#stop(conv, author, next, row, outcome)
      this.#forget(conv, author, next)
      this.#append(conv, author, submission)
      this.#numberHeld(conv, author)
    })
  }

  /** Its row, if it is still held by then. One that was let go of meanwhile is opened again, and looked at anew. */
  #readHeld(conv: Conversation, author: Author, held: Held, then: (row: Uint8Array) => void): void {
    const { store, convs, load } = this.#core
    load(store.get(conv.partition, heldKey(author, held.k)), (row) => {
      convs.with(conv.id, (now) => {
        if (row && now === conv && findHeld(author, held.k) === held) then(row)
      })
    })
  }

  #stop(conv: Conversation, author: Author, held: Held, row: Uint8Array, outcome: HostOutcome): void {
    const verdict = hostVerdict(outcome, held)
    if (verdict) this.#stopWith(conv, author, held, readHeld(held.k, row).submission, verdict)
  }

  #stopWith(conv: Conversation, author: Author, held: Held, submission: Uint8Array, verdict: Verdict): void {
    const stopped = { ...held, stop: toBinary(VerdictSchema, verdict) }
    putHeld(author, stopped)
    this.#core.store.put(conv.partition, heldKey(author, held.k), writeHeld(stopped, submission))
    for (const session of this.#sessionsOf(conv, author)) {
      this.#tell(session, conv, { ...verdict, tag: held.tag }, this.#core.store.gate())
    }
  }

  #forget(conv: Conversation, author: Author, held: Held): void {
    author.run.splice(author.run.indexOf(held), 1)
    this.#core.convs.holds(conv)
    this.#core.store.delete(conv.partition, heldKey(author, held.k))
  }

  #manifestOf(conv: Conversation): ManifestOf {
    this.#asked = conv
    return this.#askManifest
  }

  #asked: Conversation | undefined = undefined
  readonly #askManifest: ManifestOf = (member) => {
    const user = this.#asked!.members[member]?.userId
    return user && this.#core.ports.directory.knownManifest(user)
  }

  #append(conv: Conversation, author: Author, submission: Submission): void {
    const header: EntryHeader = {
      kind: submission.kind,
      at: nextPlace(conv),
      member: author.member,
      device: author.device,
      registrationEpoch: author.registrationEpoch,
      registrationVersion: author.registrationVersion,
      k: submission.k,
      tag: submission.tag,
      membershipVersion: submission.membershipVersion,
      timeMs: Math.floor(this.#core.ports.clock.now()),
    }
    this.#log.take(conv, author, header, writeEntry(header, submission.parts))
  }

  /** Another region's home forwards submissions of a device of its own. */
  fromRegion(conv: Conversation, author: Author, region: RegionId, items: readonly Submission[]): void {
    const { store } = this.#core
    let verdict: Verdict | undefined
    const closed = isClosed(conv)
    if (closed) verdict = waitVerdict({ k: items[0]?.k ?? 1, rev: 0 }, 'closing', 'this conversation moves', 1_000)
    for (const submission of closed ? [] : items) {
      const outcome = store.hasRoom() ? hostTake(conv, author, submission, this.#manifestOf(conv)) : undefined
      if (outcome?.do === 'append') this.#append(conv, author, submission)
      else if (outcome?.do !== 'duplicate') {
        verdict = outcome
          ? hostVerdict(outcome, { k: submission.k, rev: submission.rev })
          : waitVerdict({ k: submission.k, rev: submission.rev }, 'full_disk', 'the host has no room', 5_000)
        if (outcome?.do !== 'past') break
      }
    }
    this.#answer(conv, author, region, verdict)
  }

  /** Not now: its home says it again with its next sweep. */
  putOff(conv: Conversation, author: Author, region: RegionId, first: Submission | undefined): void {
    const of = { k: first?.k ?? 1, rev: first?.rev ?? 0 }
    this.#answer(conv, author, region, waitVerdict(of, 'overloaded', 'too much waits for manifests', 1_000))
  }

  #answer(conv: Conversation, author: Author, region: RegionId, verdict: Verdict | undefined): void {
    const { member, device, registrationEpoch, registrationVersion } = author
    const state: SubmissionState = {
      $typeName: 'parley.v1.SubmissionState',
      author: { $typeName: 'parley.v1.StreamKey', member, device, registrationEpoch, registrationVersion },
      last: author.last,
      verdict: { case: undefined },
      k: verdict?.k ?? 0,
      rev: verdict?.rev ?? 0,
    }
    if (
      verdict &&
      verdict.outcome.case !== 'sequenced' &&
      verdict.outcome.case !== 'held' &&
      verdict.outcome.case !== 'safe'
    ) {
      state.verdict = verdict.outcome as SubmissionState['verdict']
    }
    const kind = ItemKind.SUBMISSION_STATE
    const item = { conv: conv.id, kind, body: encodeItem({ kind, value: state }) }
    const refuses = verdict?.outcome.case === 'stale' || verdict?.outcome.case === 'final'
    this.#core.outbox.after(refuses ? this.#ownersGate() : this.#core.store.gate(), region, item)
  }

  /** The host says how far it has come with a device's submissions. */
  onState(conv: Conversation, author: Author, state: SubmissionState): void {
    const stream = author.stream
    const feed = feedOf(conv, conv.host)
    this.#core.feeds.acknowledged(conv, conv.host, stream, Math.max(state.last, author.last))
    switch (state.verdict.case) {
      case 'behind': {
        if (findHeld(author, state.last + 1)) feed.sent.set(stream, state.last)
        else if (state.last >= author.last) this.#passBehind(conv, author, state.last + 1)
        break
      }
      case 'wait':
      case 'moved':
        // The home's business: it goes again with the next sweep.
        feed.sent.delete(stream)
        return
      case 'stale':
      case 'final': {
        const held = verdictCounts(author, state.k, state.rev)
        if (held && !held.stop) this.#stopHeld(conv, author, held, state)
        break
      }
      default:
    }
    this.#senders.pumpSubmissions(conv, author, Number.POSITIVE_INFINITY)
  }

  #passBehind(conv: Conversation, author: Author, k: number): void {
    for (const session of this.#sessionsOf(conv, author)) {
      this.#tell(session, conv, behindVerdict(k), this.#core.store.gate())
    }
  }

  #stopHeld(conv: Conversation, author: Author, held: Held, state: SubmissionState): void {
    const outcome = state.verdict as Verdict['outcome']
    const verdict = create(VerdictSchema, { k: held.k, rev: held.rev, outcome })
    this.#readHeld(conv, author, held, (row) =>
      this.#stopWith(conv, author, held, readHeld(held.k, row).submission, verdict),
    )
  }

  #sessionsOf(conv: Conversation, author: Author): readonly SessionState[] {
    const member = conv.members[author.member]
    const session = member && this.#core.sessions.ofDevice(member.userId, author)
    return session ? [session] : []
  }

  /** What is committed here and not numbered 20 ms later is `held`: from now on it cannot get lost. */
  tick(): void {
    const now = this.#core.ports.clock.monotonic()
    const committed = this.#core.store.committed()
    let told = 0
    while (told < this.#untold.length && this.#untold[told]!.dueMs <= now && this.#untold[told]!.gate <= committed) {
      const { conv, author, k, rev } = this.#untold[told++]!
      unpin(conv)
      const held = k > author.last ? findHeld(author, k) : undefined
      if (!held || held.rev !== rev || held.stop) continue
      this.#core.ports.events.held(1)
      for (const session of this.#sessionsOf(conv, author)) {
        this.#tell(session, conv, heldVerdict({ k, rev, tag: held.tag }), 0)
      }
    }
    if (told > 0) this.#untold.splice(0, told)
  }

  /** A device names a conversation in a new session: what was decided about its submissions meanwhile. */
  repeatStops(session: SessionState, conv: Conversation, author: Author): void {
    const stopped = author.run.filter(({ stop, k }) => stop && k > author.last)
    const gate = stopped.length > 0 ? this.#ownersGate() : 0
    for (const held of stopped) {
      const verdict = fromBinary(VerdictSchema, held.stop!)
      this.#tell(session, conv, { ...verdict, tag: held.tag }, gate)
    }
    this.#log.repeatSafe(conv, author, session)
  }
}
