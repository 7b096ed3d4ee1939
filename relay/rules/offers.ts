// What a device has missed is offered to it, one conversation after another: when it signs in, and when it reads again
// after it had been too slow. It pulls what it wants; what is said meanwhile finds out by itself where the device stands.
import type { ConvId } from '#protocol'
import { type Conversation, memberOf } from './conversation.ts'
import { inboxPartition } from './conversation-rows.ts'
import type { Core } from './core.ts'
import { readInboxRow } from './inbox.ts'
import type { Moves } from './moves.ts'
import { inPortions } from './portions.ts'
import type { Registers } from './registers.ts'
import type { SessionState } from './sessions.ts'

/** Inbox rows that are read at once when a device signs in, and sorted together: about 100 bytes each. */
const INBOX_PAGE = 4_096
const BATCH = 2 * INBOX_PAGE

type Behind = { readonly id: ConvId; readonly activityMs: number }

export class Offers {
  readonly #core: Core
  readonly #moves: Moves
  readonly #registers: Registers

  constructor(core: Core, moves: Moves, registers: Registers) {
    this.#core = core
    this.#moves = moves
    this.#registers = registers
  }

  /** The conversations in which the device is behind, newest first of each batch; everything else is live. */
  begin(session: SessionState): void {
    for (const id of this.#core.inboxes.unwritten(session.port.userId)) session.opening!.add(id)
    this.#readInbox(session, undefined, [])
  }

  /** Another device that has been away for long may have left a row for each conversation. */
  #readInbox(session: SessionState, from: string | undefined, behind: Behind[]): void {
    const { store, sessions, load } = this.#core
    const options = { from, to: undefined, limit: INBOX_PAGE, reverse: false }
    load(store.range(inboxPartition(session.port.userId), options), (rows) => {
      if (!sessions.isOpen(session)) return
      for (const [id, bytes] of rows) behind.push({ id: id as ConvId, activityMs: readInboxRow(bytes).activityMs })
      const next = rows.length < INBOX_PAGE ? undefined : `${rows[rows.length - 1]![0]}\0`
      if (next !== undefined && behind.length < BATCH) this.#readInbox(session, next, behind)
      else this.#batch(session, behind, next)
    })
  }

  #batch(session: SessionState, behind: Behind[], next: string | undefined): void {
    const ids = behind.sort((a, b) => b.activityMs - a.activityMs).map(({ id }) => id)
    for (const id of session.opening ?? []) ids.push(id)
    session.opening = undefined
    this.#each(session, ids.values(), () => {
      if (next !== undefined) this.#readInbox(session, next, [])
    })
  }

  /** As many as the device takes: the others when it has caught its breath. */
  #each(session: SessionState, ids: Iterator<ConvId>, ended: () => void): void {
    const { sessions } = this.#core
    inPortions(this.#core, ids, {
      step: (_, conv) => conv && this.offer(session, conv),
      goesOn: (left) => sessions.isOpen(session) && !sessions.pauses(session, () => this.#each(session, left, ended)),
      ended,
    })
  }

  offer(session: SessionState, conv: Conversation): void {
    const member = memberOf(conv, session.port.userId)
    const { inboxes, sessions, store } = this.#core
    // One that is still on its way here is none yet for whom it comes.
    if (member === undefined || !conv.members[member]!.local) return
    if (!sessions.isOpen(session) || session.views?.has(conv.id)) return
    if (conv.moves.length > 0) this.#moves.tellDevice(session, conv)
    const at = inboxes.cursorOf(conv, conv.members[member]!, session.device)
    // What is said of a log waits for its commit where it is hosted; elsewhere its host has committed it.
    if (at < conv.head) sessions.behind(session, conv, at, conv.hostedHere ? store.gate() : 0)
    else if (inboxes.isUnmarked(conv.members[member]!, session.device)) this.#registers.tellAll(session, conv, member)
  }

  /** Readers that had been too slow and can be written to again. */
  resumePaused(): void {
    for (const { session, convs, goOn } of this.#core.sessions.resumed()) {
      for (const id of convs) session.views?.delete(id)
      this.#each(session, convs.values(), () => {})
      for (const next of goOn) next()
    }
  }
}
