// Device sessions as the rules see them: small numbers for conversations, what a device was already sent, and one frame
// per socket per commit. What may leave at once is drafted for `AT_ONCE`, what waits for a commit for that one.
import {
  type ConvId,
  convIdBytes,
  type DeviceFrame,
  type DeviceKey,
  epochOf,
  type HomeRecord,
  limits,
  nOf,
  type ParleyError,
  type Position,
  type UserId,
} from '#protocol'
import { type Author, type Conversation, isSameDevice, type Register } from './conversation.ts'
import { deviceText } from './inbox.ts'
import type { DeviceSession } from './ports.ts'
import { type Draft, framesOf, newDraft, type Run, type VerdictInit } from './session-frames.ts'

/** What a session knows of a conversation: `live` ones are pushed to, the others are pulled by the device. */
export type View = { live: boolean; sent: Position }

/** What the device means by one of its small numbers; the rest is what was found the last time. */
export type Naming = {
  readonly id: ConvId
  conv: Conversation | undefined
  member: number
  author: Author | undefined
}

export type SessionState = {
  readonly port: DeviceSession
  /** number.epoch.version of the device. */
  readonly device: string
  /** The device's small numbers, from 1. */
  readonly deviceRefs: Naming[]
  /** These are made when they are needed: most devices are only there. */
  deviceRefOf: Map<ConvId, number> | undefined
  homeRefs: Map<ConvId, number> | undefined
  views: Map<ConvId, View> | undefined
  /** The newest epoch whose host register the device was told. */
  toldEpochs: Map<ConvId, number> | undefined
  /** Conversations that were named and could not be founded: genesis. */
  unfounded: Map<ConvId, Uint8Array> | undefined
  /** While the inbox is being read: conversations that got something meanwhile. */
  opening: Set<ConvId> | undefined
  /** Frames that wait until the person's account has been read. */
  unread: DeviceFrame[] | undefined
  /** What waits to leave, ascending by the commit it waits for. */
  readonly drafts: { readonly gate: number; readonly draft: Draft }[]
}

/** Conversations that were no longer pushed, and what was to be told beside them. */
type Paused = { readonly session: SessionState; readonly convs: Set<ConvId>; readonly goOn: (() => void)[] }

const AT_ONCE = 0
const NO_HASH = new Uint8Array(0)

export function setDeviceRef(session: SessionState, id: ConvId, ref: number): void {
  session.deviceRefOf ??= new Map()
  session.deviceRefOf.set(id, ref)
}

export function setView(session: SessionState, id: ConvId, view: View): void {
  session.views ??= new Map()
  session.views.set(id, view)
}

export class Sessions {
  readonly #byId = new Map<string, SessionState>()
  readonly #byUser = new Map<UserId, SessionState[]>()
  /** Sessions with something to say, by the commit it waits for; ascending. */
  readonly #waiting: { readonly gate: number; readonly sessions: SessionState[] }[] = []
  readonly #atOnce = new Set<SessionState>()
  readonly #backlogMax: number
  readonly #recordsOf: (conv: Conversation) => HomeRecord[]
  /** A reader that does not keep up falls back to its inbox; it is told when it has caught its breath. */
  readonly #paused = new Map<SessionState, Paused>()

  constructor(backlogMax: number, recordsOf: (conv: Conversation) => HomeRecord[]) {
    this.#backlogMax = backlogMax
    this.#recordsOf = recordsOf
  }

  open(port: DeviceSession): SessionState {
    const session: SessionState = {
      port,
      device: deviceText(port.device),
      deviceRefs: [],
      deviceRefOf: undefined,
      homeRefs: undefined,
      views: undefined,
      toldEpochs: undefined,
      unfounded: undefined,
      opening: new Set(),
      unread: undefined,
      drafts: [],
    }
    this.#byId.set(port.id, session)
    const ofUser = this.#byUser.get(port.userId)
    if (ofUser) ofUser.push(session)
    else this.#byUser.set(port.userId, [session])
    return session
  }

  get(id: string): SessionState | undefined {
    return this.#byId.get(id)
  }

  ofUser(user: UserId): readonly SessionState[] {
    return this.#byUser.get(user) ?? NONE
  }

  ofDevice(user: UserId, device: DeviceKey): SessionState | undefined {
    for (const session of this.ofUser(user)) if (isSameDevice(session.port.device, device)) return session
    return undefined
  }

  drop(session: SessionState): void {
    this.#byId.delete(session.port.id)
    this.#atOnce.delete(session)
    session.drafts.length = 0
    this.#paused.delete(session)
    const others = this.ofUser(session.port.userId).filter((other) => other !== session)
    if (others.length > 0) this.#byUser.set(session.port.userId, others)
    else this.#byUser.delete(session.port.userId)
  }

  close(session: SessionState, reason: ParleyError | undefined): void {
    this.drop(session)
    session.port.close(reason)
  }

  isOpen(session: SessionState): boolean {
    return this.#byId.get(session.port.id) === session
  }

  #draft(session: SessionState, gate: number): Draft {
    const { drafts } = session
    const at = placeFor(drafts, gate)
    if (drafts[at]?.gate === gate) return drafts[at].draft
    const draft = newDraft()
    drafts.splice(at, 0, { gate, draft })
    if (gate === AT_ONCE) this.#atOnce.add(session)
    else this.#wait(session, gate)
    return draft
  }

  #wait(session: SessionState, gate: number): void {
    const at = placeFor(this.#waiting, gate)
    if (this.#waiting[at]?.gate === gate) this.#waiting[at].sessions.push(session)
    else this.#waiting.splice(at, 0, { gate, sessions: [session] })
  }

  /** The home's small number; a name carries nothing that waits for a commit, so it always goes ahead. */
  #ref(session: SessionState, conv: Conversation): number {
    let ref = session.homeRefs?.get(conv.id)
    if (ref === undefined) {
      session.homeRefs ??= new Map()
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
    const ref = session.deviceRefOf?.get(conv)
    if (ref !== undefined) this.#draft(session, gate).verdicts.push({ ...verdict, conv: ref })
  }

  /** The device's own entry stands in the log. */
  sequenced(session: SessionState, conv: ConvId, entry: Uint8Array, gate: number): void {
    const ref = session.deviceRefOf?.get(conv)
    if (ref === undefined) return
    const draft = this.#draft(session, gate)
    draft.sequencedRefs.push(ref)
    draft.sequenced.push(entry)
  }

  /** Everything of the device up to k is in every member region. */
  safe(session: SessionState, conv: ConvId, k: number): void {
    const ref = session.deviceRefOf?.get(conv)
    if (ref !== undefined) this.#draft(session, AT_ONCE).safe.push(ref, k)
  }

  behind(session: SessionState, conv: Conversation, from: Position, gate: number): void {
    setView(session, conv.id, { live: false, sent: from })
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
    before: Position,
    entries: readonly Uint8Array[],
    gate: number,
  ): void {
    const view = session.views?.get(conv.id)
    if (!view?.live || view.sent !== before) return
    if (session.port.backlog() > this.#backlogMax) {
      view.live = false
      this.#pause(session).convs.add(conv.id)
      return
    }
    view.sent = conv.head
    const ref = this.#ref(session, conv)
    const { runs } = this.#draft(session, gate)
    let run: Run | undefined
    for (let i = runs.length - 1; i >= 0 && !run; i--) if (runs[i]!.conv === ref) run = runs[i]
    if (!run || run.page) {
      const member = memberNumber(conv, session.port.userId)
      run = { conv: ref, member, entry: [], headHash: conv.hash, page: false, head: conv.head, base: undefined }
      runs.push(run)
    }
    for (const entry of entries) run.entry.push(entry)
    run.headHash = conv.hash
    run.head = conv.head
  }

  #pause(session: SessionState): Paused {
    const paused = this.#paused.get(session) ?? { session, convs: new Set(), goOn: [] }
    this.#paused.set(session, paused)
    return paused
  }

  /** With a reader that does not keep up it goes on when it has caught its breath. */
  pauses(session: SessionState, goOn: () => void): boolean {
    if (session.port.backlog() <= this.#backlogMax) return false
    this.#pause(session).goOn.push(goOn)
    return true
  }

  page(
    session: SessionState,
    conv: Conversation,
    entries: readonly Uint8Array[],
    last: Position,
    base: Position | undefined,
    gate: number,
  ): void {
    const atHead = last >= conv.head
    setView(session, conv.id, { live: atHead, sent: atHead ? conv.head : last })
    this.#draft(session, gate).runs.push({
      conv: this.#ref(session, conv),
      member: memberNumber(conv, session.port.userId),
      entry: [...entries],
      headHash: last === conv.head ? conv.hash : NO_HASH,
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

  /** Where the conversation moved to, once in a session. At the new host it waits for its commit, elsewhere it counts. */
  moved(session: SessionState, conv: Conversation, gate: number): void {
    const told = session.toldEpochs?.get(conv.id) ?? 0
    const fresh = conv.moves.filter(({ epoch }) => epoch > told)
    if (fresh.length === 0) return
    session.toldEpochs ??= new Map()
    session.toldEpochs.set(conv.id, conv.epoch)
    const ref = this.#ref(session, conv)
    for (let i = 0; i < fresh.length; i += limits.HOST_REGISTERS_MAX) {
      const registers = fresh.slice(i, i + limits.HOST_REGISTERS_MAX).map(({ record }) => record)
      this.#draft(session, gate).moves.push({ conv: ref, registers })
    }
  }

  pong(session: SessionState, ping: number, gate: number): void {
    this.#draft(session, gate).pong = ping
  }

  /** Sends what may leave: everything at once, and what waited for commits up to this one. */
  flush(committed: number): void {
    let ready = 0
    while (ready < this.#waiting.length && this.#waiting[ready]!.gate <= committed) ready++
    if (ready > 0) {
      for (const { sessions } of this.#waiting.splice(0, ready))
        for (const session of sessions) this.#send(session, committed)
    }
    if (this.#atOnce.size === 0) return
    const sessions = [...this.#atOnce]
    this.#atOnce.clear()
    for (const session of sessions) this.#send(session, committed)
  }

  #send(session: SessionState, committed: number): void {
    const { drafts, port } = session
    let due = 0
    while (due < drafts.length && drafts[due]!.gate <= committed) due++
    if (due === 0) return
    const frames = framesOf(
      drafts.splice(0, due).map(({ draft }) => draft),
      port.device.device,
    )
    this.#atOnce.delete(session)
    for (const frame of frames) port.send(frame)
  }

  /** Conversations of readers that have caught their breath. */
  resumed(): Paused[] {
    const out: Paused[] = []
    for (const [session, paused] of this.#paused) {
      if (session.port.backlog() > this.#backlogMax / 2) continue
      this.#paused.delete(session)
      out.push(paused)
    }
    return out
  }

  hasPaused(): boolean {
    return this.#paused.size > 0
  }
}

const NONE: readonly SessionState[] = []

/** Where what waits for this commit stands, or would: nearly always at the end. */
function placeFor(list: readonly { readonly gate: number }[], gate: number): number {
  let at = list.length
  while (at > 0 && list[at - 1]!.gate >= gate) at--
  return at
}

function memberNumber(conv: Conversation, user: UserId): number {
  return conv.members.findIndex((member) => member.userId === user)
}
