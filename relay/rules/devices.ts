// What device sessions may say: names, submissions, cursors, pulls, registers. Each is checked to be one that this
// device may say; what it is about is loaded first.
import {
  type ConversationName,
  type ConvId,
  type Cursor,
  convIdOf,
  type DeviceFrame,
  earlier,
  entryPosition,
  keptOf,
  limits,
  type Manifest,
  ParleyError,
  type Position,
  type Pull,
  refusalOf,
  type Submission,
  type UserId,
} from '#protocol'
import type { Arriving } from './arriving.ts'
import { authorOf, type Conversation, memberOf, pin, saidPlace, unpin } from './conversation.ts'
import { readEntries } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { ensureLocal, findHomes, foundingOf, learnHomes, membersOf } from './founding.ts'
import { isDeviceOf } from './host.ts'
import type { Log } from './log.ts'
import type { Moves } from './moves.ts'
import type { Offers } from './offers.ts'
import type { DeviceSession } from './ports.ts'
import type { Registers } from './registers.ts'
import { type Naming, type SessionState, setDeviceRef, setView } from './sessions.ts'
import type { Submissions } from './submissions.ts'

export type DeviceParts = {
  readonly log: Log
  readonly submissions: Submissions
  readonly registers: Registers
  readonly moves: Moves
  readonly arriving: Arriving
  readonly offers: Offers
  /** People of whom newer home records came. */
  readonly moved: (users: readonly UserId[]) => void
}

export class Devices {
  readonly #core: Core
  readonly #log: Log
  readonly #submissions: Submissions
  readonly #registers: Registers
  readonly #moves: Moves
  readonly #arriving: Arriving
  readonly #offers: Offers
  readonly #moved: (users: readonly UserId[]) => void

  constructor(core: Core, parts: DeviceParts) {
    this.#core = core
    this.#log = parts.log
    this.#submissions = parts.submissions
    this.#registers = parts.registers
    this.#moves = parts.moves
    this.#arriving = parts.arriving
    this.#offers = parts.offers
    this.#moved = parts.moved
  }

  /** Offers the conversations in which the device is behind, newest first; everything else is live. */
  open(port: DeviceSession): void {
    const { sessions } = this.#core
    for (const older of [...sessions.ofUser(port.userId)]) {
      const { device, registrationEpoch, registrationVersion } = older.port.device
      const mine = port.device
      if (
        device === mine.device &&
        registrationEpoch === mine.registrationEpoch &&
        registrationVersion === mine.registrationVersion
      ) {
        sessions.close(older, new ParleyError('signed_in_elsewhere', 'this device signed in again'))
      }
    }
    this.#offers.begin(sessions.open(port))
  }

  /** What is said of a log waits for its commit where it is hosted; elsewhere its host has committed it. */
  #gateOf(conv: Conversation): number {
    return conv.hostedHere ? this.#core.store.gate() : 0
  }

  /** A frame that breaks the rules ends its session. */
  frame(session: SessionState, frame: DeviceFrame): void {
    const { ports, load } = this.#core
    const { userId } = session.port
    if (session.unread) session.unread.push(frame)
    else if (ports.directory.knownManifest(userId)) this.#guard(session, () => this.#frame(session, frame))
    else {
      session.unread = [frame]
      load(
        ports.directory.findHome(userId).catch(() => undefined),
        () => this.#read(session),
      )
    }
  }

  #read(session: SessionState): void {
    const frames = session.unread ?? []
    session.unread = undefined
    for (const frame of frames) {
      if (!this.#core.sessions.isOpen(session)) return
      this.#guard(session, () => this.#frame(session, frame))
    }
  }

  /** Sessions of devices that left the manifest end. */
  manifestChanged(manifest: Manifest): void {
    for (const session of [...this.#core.sessions.ofUser(manifest.userId)]) {
      if (isDeviceOf(manifest, session.port.device)) continue
      this.#core.sessions.close(session, new ParleyError('unsigned_device', 'this device left the manifest'))
    }
  }

  #frame(session: SessionState, frame: DeviceFrame): void {
    for (const name of frame.names) this.#name(session, name)
    for (const submission of frame.submissions) this.#submission(session, submission)
    for (const cursor of frame.cursors) this.#cursor(session, cursor)
    for (const pull of frame.pulls) this.#pull(session, pull)
    for (const update of frame.registers) {
      this.#named(session, update.conv, (conv, member) => this.#registers.fromDevice(session, conv, member, update))
    }
    if (frame.ping > 0) this.#answerPing(session, frame)
  }

  /** A pong waits for the commit of what came with its ping: a device may rely on what it said before. */
  #answerPing(session: SessionState, frame: DeviceFrame): void {
    const { sessions, store, convs } = this.#core
    const convIds = new Set(frame.registers.flatMap(({ conv }) => session.deviceRefs[conv - 1]?.id ?? []))
    let waiting = convIds.size + 1
    const next = (): void => {
      if (--waiting === 0 && sessions.isOpen(session)) sessions.pong(session, frame.ping, store.gate())
    }
    for (const id of convIds) convs.with(id, next)
    next()
  }

  #name(session: SessionState, name: ConversationName): void {
    const { ports, convs } = this.#core
    if (name.ref !== session.deviceRefs.length + 1 || name.ref > limits.NAMES_MAX) {
      throw new ParleyError('bad_name', 'names are given densely from 1', { ref: `${name.ref}` })
    }
    const id = convIdOf(name.convId)
    if (!membersOf(id, name.genesis).includes(session.port.userId)) {
      throw new ParleyError('not_member', 'not a member of this conversation')
    }
    this.#moved(learnHomes(name.homeRecords, ports.directory, ports.clock.now()))
    session.deviceRefs.push({ id, conv: undefined, member: -1, author: undefined })
    setDeviceRef(session, id, name.ref)
    convs.with(id, (conv) => {
      const now = this.#served(session, conv) ?? this.#found(id, name.genesis)
      if (now) this.#came(session, now)
      else this.#lookUp(session, id, name.genesis)
    })
  }

  /** A member's home is not known here: submissions are told to wait until the directory has answered. */
  #lookUp(session: SessionState, id: ConvId, genesis: Uint8Array): void {
    const { ports, convs, load } = this.#core
    const users = membersOf(id, genesis).filter((user) => !ports.directory.knownHome(user))
    load(findHomes(ports, users), () => {
      if (!this.#core.sessions.isOpen(session)) return
      convs.with(id, (conv) => {
        const now = this.#served(session, conv) ?? this.#found(id, genesis)
        if (now) this.#came(session, now)
        else {
          session.unfounded ??= new Map()
          session.unfounded.set(id, genesis)
        }
      })
    })
  }

  /** A conversation that is still on its way here is none yet for whom it comes. */
  #served(session: SessionState, conv: Conversation | undefined): Conversation | undefined {
    const member = conv && memberOf(conv, session.port.userId)
    return member !== undefined && conv!.members[member]!.local ? conv : undefined
  }

  /** Somebody's conversations are here: told as if the device had just come. */
  arrived(conv: Conversation, users: readonly UserId[]): void {
    this.#registers.cameAlong(conv)
    this.#registers.opened(conv)
    for (const user of users) {
      for (const session of this.#core.sessions.ofUser(user)) {
        session.unfounded?.delete(conv.id)
        session.views?.delete(conv.id)
        if (session.opening) session.opening.add(conv.id)
        else {
          if (session.deviceRefOf?.has(conv.id)) this.#came(session, conv)
          this.#offers.offer(session, conv)
        }
      }
    }
  }

  #found(id: ConvId, genesis: Uint8Array): Conversation | undefined {
    const { ports, convs } = this.#core
    if (!this.#arriving.mayFound(id, genesis, undefined) || convs.get(id)) return undefined
    try {
      const founding = foundingOf(id, genesis, (user) => ports.directory.knownHome(user))
      ensureLocal(founding, ports.region)
      return convs.found(founding)
    } catch (error) {
      if (error instanceof ParleyError && (error.code === 'unknown_user' || error.code === 'not_home')) return undefined
      throw error
    }
  }

  /** The device speaks of this conversation in this session: what it should know. */
  #came(session: SessionState, conv: Conversation): void {
    const member = memberOf(conv, session.port.userId)
    if (member === undefined || !this.#core.sessions.isOpen(session)) return
    const author = authorOf(conv, member, session.port.device)
    this.#moves.tellDevice(session, conv)
    this.#submissions.repeatStops(session, conv, author)
    this.#registers.tellAll(session, conv, member)
  }

  #naming(session: SessionState, ref: number): Naming {
    const naming = session.deviceRefs[ref - 1]
    if (!naming) throw new ParleyError('bad_name', 'a number that names nothing', { ref: `${ref}` })
    return naming
  }

  /** The conversation if it is in memory, and what the device is in it. */
  #loaded(session: SessionState, naming: Naming): Conversation | undefined {
    const loaded = this.#core.convs.get(naming.id)
    const conv = loaded && naming.member >= 0 && naming.conv === loaded ? loaded : this.#served(session, loaded)
    if (naming.conv !== conv) {
      naming.conv = conv
      naming.author = undefined
      naming.member = (conv && memberOf(conv, session.port.userId)) ?? -1
    }
    return conv
  }

  /** A message about a conversation that the session has named. */
  #named(session: SessionState, ref: number, then: (conv: Conversation, member: number) => void): void {
    const naming = this.#naming(session, ref)
    this.#core.convs.with(naming.id, (conv) => {
      const member = this.#served(session, conv) && memberOf(conv!, session.port.userId)
      if (conv && member !== undefined && this.#core.sessions.isOpen(session))
        this.#guard(session, () => then(conv, member))
    })
  }

  /** A refusal found after something had to be loaded ends the session as it would have at once. */
  #guard(session: SessionState, step: () => void): void {
    try {
      step()
    } catch (error) {
      if (!(error instanceof ParleyError)) throw error
      this.#core.ports.events.refused(error.code)
      this.#core.sessions.close(session, error)
    }
  }

  #submission(session: SessionState, submission: Submission): void {
    const naming = this.#naming(session, submission.conv)
    const conv = this.#loaded(session, naming)
    if (conv) this.#submitted(session, naming, conv, submission)
    else this.#submissionLater(session, naming, submission)
  }

  #submitted(session: SessionState, naming: Naming, conv: Conversation, submission: Submission): void {
    if (naming.member < 0) return
    naming.author ??= authorOf(conv, naming.member, session.port.device)
    this.#submissions.fromDevice(session, conv, naming.author, submission)
  }

  #submissionLater(session: SessionState, naming: Naming, submission: Submission): void {
    const { id } = naming
    this.#core.convs.with(id, (conv) => {
      if (!this.#core.sessions.isOpen(session)) return
      if (conv && this.#loaded(session, naming)) {
        this.#guard(session, () => this.#submitted(session, naming, conv, submission))
        return
      }
      const genesis = session.unfounded?.get(id) ?? conv?.genesisBytes
      session.unfounded?.delete(id)
      if (genesis) this.#lookUp(session, id, genesis)
      const refusal = refusalOf(new ParleyError('unreachable', 'the home of a member is not known here', {}, 1_000))
      const outcome = { case: 'wait' as const, value: refusal }
      this.#core.sessions.verdict(session, id, { k: submission.k, rev: submission.rev, outcome }, 0)
    })
  }

  #cursor(session: SessionState, cursor: Cursor): void {
    const at = saidPlace(cursor)
    const naming = this.#naming(session, cursor.conv)
    const loaded = cursor.rewind ? undefined : this.#loaded(session, naming)
    if (loaded && naming.member >= 0) {
      this.#acknowledged(session, loaded, naming.member, at)
      return
    }
    this.#named(session, cursor.conv, (conv, member) => {
      if (cursor.rewind) this.#core.sessions.behind(session, conv, at, this.#gateOf(conv))
      else this.#acknowledged(session, conv, member, at)
    })
  }

  /** A cursor beyond the head is honest: a replica pushes before its own commit, and may forget what it pushed. */
  #acknowledged(session: SessionState, conv: Conversation, member: number, at: Position): void {
    const { inboxes } = this.#core
    const stands = conv.moves.length > 0 ? keptOf(at, conv.moves) : at
    if (!inboxes.acknowledged(conv, conv.members[member]!, session.device, earlier(stands, conv.head))) return
    this.#log.cursorMoved(conv)
    this.#registers.cursorMoved(conv, member)
  }

  #pull(session: SessionState, pull: Pull): void {
    const after = saidPlace(pull)
    const maxBytes = Math.min(Math.max(pull.maxBytes, 1), limits.PAGE_MAX_BYTES)
    this.#named(session, pull.conv, (conv, member) => {
      // Whoever pulls from a place has everything up to it, durably.
      this.#acknowledged(session, conv, member, after)
      setView(session, conv.id, { live: false, sent: after })
      pin(conv)
      this.#core.load(readEntries(this.#core.store, conv, after, conv.head, maxBytes), (entries) => {
        unpin(conv)
        if (!this.#core.sessions.isOpen(session)) return
        // A replica that had forgotten what it pushed may have it again by now.
        this.#acknowledged(session, conv, member, after)
        const [first, end] = [entries[0], entries[entries.length - 1]]
        // What was trimmed while it was read may have been read.
        const from = first ? earlier(conv.low, (entryPosition(first) - 1) as Position) : conv.low
        const base = after < from ? from : undefined
        const last = end ? entryPosition(end) : (base ?? after)
        this.#core.sessions.page(session, conv, entries, last, base, this.#gateOf(conv))
        this.#registers.tellAll(session, conv, member)
      })
    })
  }
}
