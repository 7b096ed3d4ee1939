// What becomes of submissions: at the author's home (the home's table), and at the host (the host's table). When this
// node is both, the second follows the first in the same step.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import {
  EmptySchema,
  type EntryHeader,
  epochOf,
  ItemKind,
  limits,
  nOf,
  type ParleyError,
  ParleyError as Refused,
  type RegionId,
  refusalOf,
  type Submission,
  SubmissionSchema,
  type SubmissionState,
  SubmissionStateSchema,
  type Verdict,
  VerdictSchema,
  writeEntry,
} from '#protocol'
import { type Author, type Conversation, findHeld, type Held, memberOf, nextPlace, putHeld } from './conversation.ts'
import { conversationPartition, heldKey, readHeld, submissionStream, writeHeld } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { feedOf } from './feeds.ts'
import { type Budget, homeTake, verdictCounts } from './home.ts'
import { type HostOutcome, hostTake } from './host.ts'
import { deviceText } from './inbox.ts'
import type { Log } from './log.ts'
import type { Senders } from './senders.ts'
import type { SessionState } from './sessions.ts'

type Outcome = NonNullable<Verdict['outcome']['case']> extends never ? never : Verdict['outcome']
type Pending = { dueMs: number; gate: number; conv: Conversation; author: Author; k: number; rev: number }

export type SubmissionLimits = {
  /** Submissions of one device in one conversation that are held. */
  readonly held: number
  readonly heldBytes: number
}

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

  #tell(
    session: SessionState,
    conv: Conversation,
    k: number,
    rev: number,
    outcome: Outcome,
    tag: Uint8Array,
    gate: number,
  ): void {
    this.#core.sessions.verdict(session, conv.id, { k, rev, outcome, tag }, gate)
  }

  /** A device hands its home a submission. */
  fromDevice(session: SessionState, conv: Conversation, author: Author, submission: Submission): void {
    const { store, ports } = this.#core
    ports.events.submitted(1)
    const bytes = toBinary(SubmissionSchema, { ...submission, conv: 0 })
    const facts = {
      k: submission.k,
      tag: submission.tag,
      rev: submission.rev,
      kind: submission.kind,
      size: bytes.length,
    }
    const outcome = homeTake(author, facts, this.#room(author))
    const answer = (o: Outcome, tag: Uint8Array, gate: number): void =>
      this.#tell(session, conv, submission.k, submission.rev, o, tag, gate)
    switch (outcome.do) {
      case 'take':
      case 'replace':
        this.#keep(session, conv, author, submission, bytes)
        return
      case 'sequenced': {
        const { at, tag } = outcome.placed
        const value = { $typeName: 'parley.v1.Position' as const, epoch: epochOf(at), n: nOf(at) }
        answer({ case: 'sequenced', value }, tag, conv.hostedHere ? store.gate() : 0)
        this.#log.repeatSafe(conv, author, session)
        return
      }
      case 'past':
        return answer({ case: 'past', value: create(EmptySchema) }, submission.tag, 0)
      case 'held': {
        if (!outcome.stop) return answer({ case: 'held', value: create(EmptySchema) }, submission.tag, store.gate())
        const stop = fromBinary(VerdictSchema, outcome.stop)
        return this.#tell(session, conv, submission.k, stop.rev, stop.outcome, submission.tag, store.gate())
      }
      case 'behind':
        return this.#tell(
          session,
          conv,
          outcome.k,
          0,
          { case: 'behind', value: create(EmptySchema) },
          submission.tag,
          store.gate(),
        )
      case 'conflict':
        return answer(
          { case: 'final', value: refusalOf(new Refused('conflict', 'this k has another content')) },
          submission.tag,
          store.gate(),
        )
      case 'no_room':
        return answer(
          { case: 'wait', value: refusalOf(new Refused('no_room', 'too much is held for this device', {}, 1_000)) },
          submission.tag,
          0,
        )
    }
  }

  #room(author: Author): Budget {
    if (!this.#core.store.hasRoom()) return { submissions: 0, bytes: 0 }
    let bytes = 0
    if (author.run.length > 64) for (const held of author.run) bytes += held.size
    return { submissions: this.#limits.held - author.run.length, bytes: this.#limits.heldBytes - bytes }
  }

  #keep(session: SessionState, conv: Conversation, author: Author, submission: Submission, bytes: Uint8Array): void {
    const held: Held = {
      k: submission.k,
      tag: submission.tag.slice(),
      rev: submission.rev,
      kind: submission.kind,
      size: bytes.length,
      stop: undefined,
    }
    if (conv.hostedHere) {
      this.#numberOwn(session, conv, author, submission, held, bytes)
      return
    }
    this.#wait(conv, author, held, bytes)
    this.#core.feeds.concern(conv, conv.host, submissionStream(author), held.k, held.k)
    const feed = feedOf(conv, conv.host)
    const stream = submissionStream(author)
    // A new rev of something that was sent already goes again from there.
    if ((feed.sent.get(stream) ?? 0) >= held.k) feed.sent.set(stream, held.k - 1)
    this.#senders.forward(conv, author, held, submission)
  }

  /** Kept until it is safe; `held` is told if it is committed before it is numbered. */
  #wait(conv: Conversation, author: Author, held: Held, bytes: Uint8Array): void {
    const known = findHeld(author, held.k) !== undefined
    putHeld(author, held)
    const row = writeHeld(held, bytes)
    if (known) this.#core.store.put(conversationPartition(conv.id), heldKey(author, held.k), row)
    else this.#core.store.create(conversationPartition(conv.id), heldKey(author, held.k), row)
    const dueMs = this.#core.ports.clock.monotonic() + limits.HELD_AFTER_MS
    this.#untold.push({ dueMs, gate: this.#core.store.gate(), conv, author, k: held.k, rev: held.rev })
  }

  /** Home and host in one: numbered in the same step, or kept with the verdict that stopped it. */
  #numberOwn(
    session: SessionState,
    conv: Conversation,
    author: Author,
    submission: Submission,
    held: Held,
    bytes: Uint8Array,
  ): void {
    const outcome = hostTake(conv, author, submission, this.#manifestOf(conv))
    if (outcome.do === 'append') {
      const kept = findHeld(author, held.k)
      if (kept) this.#forget(conv, author, kept)
      this.#append(conv, author, submission)
      this.#numberHeld(conv, author)
      return
    }
    if (outcome.do === 'behind') return this.#wait(conv, author, held, bytes)
    const verdict = verdictOf(outcome, held.k, held.rev)
    if (!verdict) throw new Error(`a home took k ${held.k} that its own log answers with ${outcome.do}`)
    const stopped = { ...held, stop: toBinary(VerdictSchema, verdict) }
    putHeld(author, stopped)
    this.#core.store.put(conversationPartition(conv.id), heldKey(author, held.k), writeHeld(stopped, bytes))
    this.#tell(session, conv, held.k, held.rev, verdict.outcome, held.tag, this.#core.store.gate())
  }

  /** At a host that is also the home: what was kept behind a stop is numbered as soon as it is next. */
  #numberHeld(conv: Conversation, author: Author): void {
    const next = findHeld(author, author.last + 1)
    if (!next || next.stop) return
    const { store, convs } = this.#core
    const { load } = this.#core
    load(store.get(conversationPartition(conv.id), heldKey(author, next.k)), (row) => {
      convs.with(conv.id, (now) => {
        if (now !== conv || !row || findHeld(author, author.last + 1) !== next) return
        const submission = fromBinary(SubmissionSchema, readHeld(next.k, row).submission)
        const outcome = hostTake(conv, author, submission, this.#manifestOf(conv))
        if (outcome.do !== 'append') return this.#stop(conv, author, next, row, outcome)
        this.#forget(conv, author, next)
        this.#append(conv, author, submission)
        this.#numberHeld(conv, author)
      })
    })
  }

  #stop(conv: Conversation, author: Author, held: Held, row: Uint8Array, outcome: HostOutcome): void {
    const verdict = verdictOf(outcome, held.k, held.rev)
    if (verdict) this.#stopWith(conv, author, held, readHeld(held.k, row).submission, verdict)
  }

  #stopWith(conv: Conversation, author: Author, held: Held, submission: Uint8Array, verdict: Verdict): void {
    const stopped = { ...held, stop: toBinary(VerdictSchema, verdict) }
    putHeld(author, stopped)
    this.#core.store.put(conversationPartition(conv.id), heldKey(author, held.k), writeHeld(stopped, submission))
    for (const session of this.#sessionsOf(conv, author)) {
      this.#tell(session, conv, held.k, held.rev, verdict.outcome, held.tag, this.#core.store.gate())
    }
  }

  #forget(conv: Conversation, author: Author, held: Held): void {
    author.run.splice(author.run.indexOf(held), 1)
    this.#core.store.delete(conversationPartition(conv.id), heldKey(author, held.k))
  }

  #manifestOf(conv: Conversation) {
    return (member: number) => {
      const user = conv.members[member]?.userId
      return user && this.#core.ports.directory.knownManifest(user)
    }
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
    this.#log.take(conv, header, writeEntry(header, submission.parts))
  }

  /** Another region's home forwards submissions of a device of its own. */
  fromRegion(conv: Conversation, author: Author, region: RegionId, items: readonly Submission[]): void {
    const { store } = this.#core
    let verdict: Verdict | undefined
    for (const submission of items) {
      const outcome = store.hasRoom() ? hostTake(conv, author, submission, this.#manifestOf(conv)) : undefined
      if (outcome?.do === 'append') this.#append(conv, author, submission)
      else if (outcome?.do !== 'duplicate') {
        verdict = outcome ? verdictOf(outcome, submission.k, submission.rev) : waitVerdict(submission)
        if (outcome?.do !== 'past') break
      }
    }
    this.#answer(conv, author, region, verdict)
  }

  #answer(conv: Conversation, author: Author, region: RegionId, verdict: Verdict | undefined): void {
    const state = create(SubmissionStateSchema, {
      author: {
        member: author.member,
        device: author.device,
        registrationEpoch: author.registrationEpoch,
        registrationVersion: author.registrationVersion,
      },
      last: author.last,
      k: verdict?.k ?? 0,
      rev: verdict?.rev ?? 0,
    })
    if (
      verdict &&
      verdict.outcome.case !== 'sequenced' &&
      verdict.outcome.case !== 'held' &&
      verdict.outcome.case !== 'safe'
    ) {
      state.verdict = verdict.outcome as SubmissionState['verdict']
    }
    const item = { conv: conv.id, kind: ItemKind.SUBMISSION_STATE, body: toBinary(SubmissionStateSchema, state) }
    this.#core.outbox.after(this.#core.store.gate(), region, item)
  }

  /** The host says how far it has come with a device's submissions. */
  onState(conv: Conversation, author: Author, state: SubmissionState): void {
    const stream = submissionStream(author)
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
      this.#tell(session, conv, k, 0, { case: 'behind', value: create(EmptySchema) }, new Uint8Array(0), 0)
    }
  }

  #stopHeld(conv: Conversation, author: Author, held: Held, state: SubmissionState): void {
    const outcome = state.verdict as Verdict['outcome']
    const verdict = create(VerdictSchema, { k: held.k, rev: held.rev, outcome })
    this.#core.load(this.#core.store.get(conversationPartition(conv.id), heldKey(author, held.k)), (row) => {
      this.#core.convs.with(conv.id, (now) => {
        if (now !== conv || !row || findHeld(author, held.k) !== held) return
        this.#stopWith(conv, author, held, readHeld(held.k, row).submission, verdict)
      })
    })
  }

  *#sessionsOf(conv: Conversation, author: Author): Generator<SessionState> {
    const member = conv.members[author.member]
    if (!member) return
    for (const session of this.#core.sessions.ofUser(member.userId))
      if (session.device === deviceText(author)) yield session
  }

  /** What is committed here and not numbered 20 ms later is `held`: from now on it cannot get lost. */
  tick(): void {
    const now = this.#core.ports.clock.monotonic()
    const committed = this.#core.store.committed()
    let told = 0
    while (told < this.#untold.length && this.#untold[told]!.dueMs <= now && this.#untold[told]!.gate <= committed) {
      const { conv, author, k, rev } = this.#untold[told++]!
      const held = k > author.last ? findHeld(author, k) : undefined
      if (!held || held.rev !== rev || held.stop) continue
      this.#core.ports.events.held(1)
      for (const session of this.#sessionsOf(conv, author)) {
        this.#tell(session, conv, k, rev, { case: 'held', value: create(EmptySchema) }, held.tag, 0)
      }
    }
    if (told > 0) this.#untold.splice(0, told)
  }

  /** A device names a conversation in a new session: what was decided about its submissions meanwhile. */
  repeatStops(session: SessionState, conv: Conversation, author: Author): void {
    for (const held of author.run) {
      if (!held.stop || held.k <= author.last) continue
      const verdict = fromBinary(VerdictSchema, held.stop)
      this.#tell(session, conv, held.k, held.rev, verdict.outcome, held.tag, this.#core.store.gate())
    }
    this.#log.repeatSafe(conv, author, session)
  }

  memberIndex(conv: Conversation, session: SessionState): number {
    const member = memberOf(conv, session.port.userId)
    if (member === undefined) throw new Refused('not_member', 'not a member of this conversation')
    return member
  }
}

function waitVerdict(submission: Submission): Verdict {
  const refusal: ParleyError = new Refused('full_disk', 'the host has no room', {}, 5_000)
  return create(VerdictSchema, {
    k: submission.k,
    rev: submission.rev,
    outcome: { case: 'wait', value: refusalOf(refusal) },
  })
}

function verdictOf(outcome: HostOutcome, k: number, rev: number): Verdict | undefined {
  switch (outcome.do) {
    case 'append':
    case 'duplicate':
      return undefined
    case 'past':
      return create(VerdictSchema, { k, rev, outcome: { case: 'past', value: create(EmptySchema) } })
    case 'behind':
      return create(VerdictSchema, { k: outcome.k, rev: 0, outcome: { case: 'behind', value: create(EmptySchema) } })
    case 'stale': {
      const value = { $typeName: 'parley.v1.StaleManifests' as const, code: 'stale_manifest', newest: [] }
      const newest = outcome.newest.map((v) => ({ $typeName: 'parley.v1.ManifestVersion' as const, ...v }))
      return create(VerdictSchema, { k, rev, outcome: { case: 'stale', value: { ...value, newest } } })
    }
    case 'final': {
      const refusal = refusalOf(new Refused(outcome.code, `the host refuses it: ${outcome.code}`))
      return create(VerdictSchema, { k, rev, outcome: { case: 'final', value: refusal } })
    }
  }
}
