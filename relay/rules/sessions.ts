// Device sessions as the rules see them: small numbers for conversations, what a device was already sent, and one frame
// per socket per commit. What may leave at once goes into the draft `now`; what waits for a commit into that commit's.
import {
  type ConvId,
  convIdBytes,
  epochOf,
  HEADER_BYTES,
  type HomeRecord,
  nOf,
  type ParleyError,
  type Position,
  selectParts,
  type UserId,
} from '#protocol'
import type { Conversation, Register } from './conversation.ts'
import { deviceText } from './inbox.ts'
import type { DeviceSession } from './ports.ts'
import { type Draft, framesOf, newDraft, type VerdictInit } from './session-frames.ts'

/** What a session knows of a conversation: `live` ones are pushed to, the others are pulled by the device. */
export type View = { live: boolean; sent: Position }

export type SessionState = {
  readonly port: DeviceSession
  /** number.epoch.version of the device. */
  readonly device: string
  /** The device's small numbers. */
  readonly deviceRefs: Map<number, ConvId>
  readonly deviceRefOf: Map<ConvId, number>
  readonly homeRefs: Map<ConvId, number>
  readonly views: Map<ConvId, View>
  /** Conversations that were named and could not be founded: genesis. */
  readonly unfounded: Map<ConvId, Uint8Array>
  /** While the inbox is being read: conversations that got something meanwhile. */
  opening: Set<ConvId> | undefined
  readonly drafts: Map<number, Draft>
}

const AT_ONCE = 0

export class Sessions {
  readonly #byId = new Map<string, SessionState>()
  readonly #byUser = new Map<UserId, Set<SessionState>>()
  readonly #unsent = new Set<SessionState>()
  readonly #backlogMax: number
  readonly #recordsOf: (conv: Conversation) => HomeRecord[]
  /** A reader that does not keep up falls back to its inbox; it is told when it has caught its breath. */
  readonly #paused = new Map<SessionState, Set<ConvId>>()

  constructor(backlogMax: number, recordsOf: (conv: Conversation) => HomeRecord[]) {
    this.#backlogMax = backlogMax
    this.#recordsOf = recordsOf
  }

  open(port: DeviceSession): SessionState {
    const device = deviceText(port.device)
    const session: SessionState = {
      port,
      device,
      deviceRefs: new Map(),
      deviceRefOf: new Map(),
      homeRefs: new Map(),
      views: new Map(),
      unfounded: new Map(),
      opening: new Set(),
      drafts: new Map(),
    }
    this.#byId.set(port.id, session)
    const ofUser = this.#byUser.get(port.userId)
    if (ofUser) ofUser.add(session)
    else this.#byUser.set(port.userId, new Set([session]))
    return session
  }

  get(id: string): SessionState | undefined {
    return this.#byId.get(id)
  }

  ofUser(user: UserId): Iterable<SessionState> {
    return this.#byUser.get(user) ?? []
  }

  all(): Iterable<SessionState> {
    return this.#byId.values()
  }

  drop(session: SessionState): void {
    this.#byId.delete(session.port.id)
    this.#unsent.delete(session)
    this.#paused.delete(session)
    const ofUser = this.#byUser.get(session.port.userId)
    ofUser?.delete(session)
    if (ofUser?.size === 0) this.#byUser.delete(session.port.userId)
  }

  close(session: SessionState, reason: ParleyError | undefined): void {
    this.drop(session)
    session.port.close(reason)
  }

  isOpen(session: SessionState): boolean {
    return this.#byId.get(session.port.id) === session
  }

  #draft(session: SessionState, gate: number): Draft {
    this.#unsent.add(session)
    let draft = session.drafts.get(gate)
    if (!draft) {
      draft = newDraft()
      session.drafts.set(gate, draft)
    }
    return draft
  }

  /** The home's small number; a name carries nothing that waits for a commit, so it always goes ahead. */
  #ref(session: SessionState, conv: Conversation): number {
    let ref = session.homeRefs.get(conv.id)
    if (ref === undefined) {
      ref = session.homeRefs.size + 1
      session.homeRefs.set(conv.id, ref)
      this.#draft(session, AT_ONCE).names.push({
        ref,
        convId: convIdBytes(conv.id),
        genesis: conv.genesisBytes,
        homeRecords: this.#recordsOf(conv),
      })
    }
    return ref
  }

  /** `gate` 0: leaves at once. A device that has not named the conversation has nothing to hear about its submissions. */
  verdict(session: SessionState, conv: ConvId, verdict: Omit<VerdictInit, 'conv'>, gate: number): void {
    const ref = session.deviceRefOf.get(conv)
    if (ref !== undefined) this.#draft(session, gate).verdicts.push({ ...verdict, conv: ref })
  }

  behind(session: SessionState, conv: Conversation, from: Position, gate: number): void {
    session.views.set(conv.id, { live: false, sent: from })
    this.#draft(session, gate).behind.push({
      conv: this.#ref(session, conv),
      headEpoch: epochOf(conv.head),
      headN: nOf(conv.head),
      fromEpoch: epochOf(from),
      fromN: nOf(from),
    })
  }

  /** Pushes entries that come right after `before` to a live session. */
  push(
    session: SessionState,
    conv: Conversation,
    member: number,
    before: Position,
    entries: readonly Uint8Array[],
    gate: number,
  ): void {
    const view = session.views.get(conv.id)
    if (!view?.live || view.sent !== before) return
    if (session.port.backlog() > this.#backlogMax) {
      view.live = false
      const paused = this.#paused.get(session)
      if (paused) paused.add(conv.id)
      else this.#paused.set(session, new Set([conv.id]))
      return
    }
    view.sent = conv.head
    const ref = this.#ref(session, conv)
    const draft = this.#draft(session, gate)
    let run = draft.runs.findLast((r) => r.conv === ref)
    if (!run || run.page) {
      run = { conv: ref, entry: [], headHash: conv.hash, page: false, head: conv.head, base: undefined }
      draft.runs.push(run)
    }
    for (const entry of entries) run.entry.push(own(session, member, entry))
    run.headHash = conv.hash
    run.head = conv.head
  }

  page(
    session: SessionState,
    conv: Conversation,
    member: number,
    entries: readonly Uint8Array[],
    last: Position,
    base: Position | undefined,
    gate: number,
  ): void {
    const atHead = last >= conv.head
    session.views.set(conv.id, { live: atHead, sent: atHead ? conv.head : last })
    const ref = this.#ref(session, conv)
    this.#draft(session, gate).runs.push({
      conv: ref,
      entry: entries.map((entry) => own(session, member, entry)),
      headHash: last === conv.head ? conv.hash : new Uint8Array(0),
      page: true,
      head: conv.head,
      base,
    })
  }

  register(session: SessionState, conv: Conversation, register: Register, gate: number): void {
    this.#draft(session, gate).registers.push({
      conv: this.#ref(session, conv),
      kind: register.kind,
      member: register.member,
      device: register.device,
      version: BigInt(register.version),
      body: register.body,
    })
  }

  pong(session: SessionState, ping: number, gate: number): void {
    this.#draft(session, gate).pong = ping
  }

  /** Sends what may leave: everything at once, and what waited for commits up to this one. */
  flush(committed: number): void {
    for (const session of this.#unsent) {
      const gates = [...session.drafts.keys()].filter((gate) => gate <= committed).sort((a, b) => a - b)
      for (const gate of gates) {
        const draft = session.drafts.get(gate)!
        session.drafts.delete(gate)
        for (const frame of framesOf(draft)) session.port.send(frame)
      }
      if (session.drafts.size === 0) this.#unsent.delete(session)
    }
  }

  /** Conversations of readers that have caught their breath. */
  resumed(): { session: SessionState; convs: ConvId[] }[] {
    const out: { session: SessionState; convs: ConvId[] }[] = []
    for (const [session, convs] of this.#paused) {
      if (session.port.backlog() > this.#backlogMax / 2) continue
      this.#paused.delete(session)
      out.push({ session, convs: [...convs] })
    }
    return out
  }

  hasPaused(): boolean {
    return this.#paused.size > 0
  }
}

/** The entry as this device gets it: the header and its own parts. */
function own(session: SessionState, member: number, entry: Uint8Array): Uint8Array {
  const { device } = session.port.device
  return entry.length > HEADER_BYTES + 2
    ? selectParts(entry, (m, d) => m === member && (d === device || d === 0))
    : entry
}
