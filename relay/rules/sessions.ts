// Device sessions as the rules see them: small numbers for conversations, what a device was already sent, and one frame
// per socket per commit. What may leave at once goes into the draft `now`; what waits for a commit into that commit's.
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import {
  type ConvId,
  convIdBytes,
  type EntriesSchema,
  epochOf,
  HEADER_BYTES,
  type HomeFrame,
  HomeFrameSchema,
  type HomeRecord,
  limits,
  nOf,
  type ParleyError,
  type Position,
  selectParts,
  type UserId,
  type VerdictSchema,
} from '#protocol'
import type { Conversation, Register } from './conversation.ts'
import { deviceText } from './inbox.ts'
import type { DeviceSession } from './ports.ts'

type VerdictInit = Exclude<MessageInitShape<typeof VerdictSchema>, { $typeName: string }>

/** What a session knows of a conversation: `live` ones are pushed to, the others are pulled by the device. */
export type View = { live: boolean; sent: Position }

type Run = {
  conv: number
  entry: Uint8Array[]
  headHash: Uint8Array
  page: boolean
  head: Position
  base: Position | undefined
}

type Draft = {
  names: { ref: number; convId: Uint8Array; genesis: Uint8Array; homeRecords: HomeRecord[] }[]
  verdicts: VerdictInit[]
  runs: Run[]
  behind: { conv: number; headEpoch: number; headN: number; fromEpoch: number; fromN: number }[]
  /** 0: none. */
  pong: number
  registers: { conv: number; kind: number; member: number; device: number; version: bigint; body: Uint8Array }[]
}

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

const newDraft = (): Draft => ({ names: [], verdicts: [], runs: [], behind: [], pong: 0, registers: [] })
const AT_ONCE = 0
/** Names, verdicts, entries … of one frame: together well below FRAME_ITEMS_MAX. */
const LIST_MAX = limits.FRAME_ITEMS_MAX / 8
/** Entries of one frame: well below FRAME_MAX_BYTES, with room for the rest. */
const FRAME_ENTRIES_MAX_BYTES = limits.FRAME_MAX_BYTES / 2

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

/** One frame, or several when the entries do not fit one. The head's hash goes with the last entry. */
function framesOf(draft: Draft): HomeFrame[] {
  const frames: HomeFrame[] = []
  const heads = Math.ceil(Math.max(draft.names.length, draft.verdicts.length) / LIST_MAX)
  for (let i = 0; i < heads; i++) {
    frames.push(create(HomeFrameSchema, { names: slice(draft.names, i), verdicts: slice(draft.verdicts, i) }))
  }
  for (const entries of runsOf(draft)) frames.push(create(HomeFrameSchema, { entries }))
  const tails = Math.ceil(Math.max(draft.behind.length, draft.registers.length) / LIST_MAX)
  for (let i = 0; i < tails; i++) {
    frames.push(create(HomeFrameSchema, { behind: slice(draft.behind, i), registers: slice(draft.registers, i) }))
  }
  const whole = merged(frames)
  if (draft.pong === 0) return whole
  if (whole.length === 0) whole.push(create(HomeFrameSchema))
  whole.at(-1)!.pong = draft.pong
  return whole
}

const slice = <T>(list: readonly T[], i: number): T[] => list.slice(i * LIST_MAX, (i + 1) * LIST_MAX)

/** One of each kind is the usual case, and is one frame. */
function merged(frames: HomeFrame[]): HomeFrame[] {
  const lists = (f: HomeFrame): number => f.names.length + f.verdicts.length + f.behind.length + f.registers.length
  const out: HomeFrame[] = []
  for (const frame of frames) {
    const last = out[out.length - 1]
    const fits =
      last && lists(last) + lists(frame) <= 2 * LIST_MAX && (last.entries.length === 0 || frame.entries.length === 0)
    if (!last || !fits) {
      out.push(frame)
      continue
    }
    for (const list of ['names', 'verdicts', 'entries', 'behind', 'registers'] as const) {
      ;(last[list] as unknown[]).push(...frame[list])
    }
  }
  return out
}

/** The runs, cut where a frame is full. */
function runsOf(draft: Draft): MessageInitShape<typeof EntriesSchema>[][] {
  const out: MessageInitShape<typeof EntriesSchema>[][] = []
  let runs: MessageInitShape<typeof EntriesSchema>[] = []
  let bytes = 0
  let count = 0
  const cut = (): void => {
    if (runs.length > 0) out.push(runs)
    runs = []
    bytes = 0
    count = 0
  }
  for (const run of draft.runs) {
    let entries: Uint8Array[] = []
    for (const entry of run.entry) {
      if (count > 0 && (bytes + entry.length > FRAME_ENTRIES_MAX_BYTES || count >= LIST_MAX)) {
        if (entries.length > 0) runs.push(wireRun(run, entries, false))
        entries = []
        cut()
      }
      entries.push(entry)
      bytes += entry.length + 8
      count++
    }
    runs.push(wireRun(run, entries, true))
    count++
  }
  cut()
  return out
}

function wireRun(run: Run, entry: Uint8Array[], last: boolean): MessageInitShape<typeof EntriesSchema> {
  return {
    conv: run.conv,
    entry,
    headHash: last ? run.headHash : new Uint8Array(0),
    page: run.page && last,
    headEpoch: epochOf(run.head),
    headN: nOf(run.head),
    ...(run.base === undefined ? {} : { base: { epoch: epochOf(run.base), n: nOf(run.base) } }),
  }
}
