// What goes to the home after a commit: in one frame for many things, cut only by size.
import { create } from '@bufbuild/protobuf'
import {
  ConversationNameSchema,
  CursorSchema,
  convIdBytes,
  type DeviceFrame,
  DeviceFrameSchema,
  epochOf,
  KIND_SKIP,
  limits,
  nOf,
  PullSchema,
  type Submission,
  SubmissionSchema,
  sizeOfName,
  unpackSubmission,
} from '#protocol'
import { FOLLOWED_MS, FRAME_FILL_BYTES } from '../limits.ts'
import type { Conversation } from './conversation.ts'
import { type Core, homeRecordsOf, type SessionState, type Turn } from './core.ts'
import { ownMark } from './marks.ts'
import { takeSendable } from './pipe.ts'
import { formOf, stepSlot } from './slot.ts'

const SUBMISSION_OVERHEAD_BYTES = 64

/** Collects, and sends a frame whenever it is full. */
class Outgoing {
  readonly #core: Core
  readonly #session: SessionState
  #frame: DeviceFrame = create(DeviceFrameSchema)
  #bytes = 0
  #items = 0

  constructor(core: Core, session: SessionState) {
    this.#core = core
    this.#session = session
  }

  get session(): SessionState {
    return this.#session
  }

  /** The device's small number for a conversation; named in the frame that uses it first. */
  refOf(conversation: Conversation): number {
    if (conversation.ref !== 0) return conversation.ref
    conversation.ref = this.#session.mine.push(conversation)
    const name = create(ConversationNameSchema, {
      ref: conversation.ref,
      convId: convIdBytes(conversation.id),
      genesis: conversation.row.genesis,
      homeRecords: homeRecordsOf(this.#core, conversation),
    })
    this.#frame.names.push(name)
    this.#grow(sizeOfName(name))
    return conversation.ref
  }

  get isEmpty(): boolean {
    return this.#items === 0
  }

  add(bytes: number, put: (frame: DeviceFrame) => void): void {
    put(this.#frame)
    this.#grow(bytes)
  }

  submit(submission: Submission): void {
    let bytes = SUBMISSION_OVERHEAD_BYTES
    for (const { body } of submission.parts) bytes += body.length
    this.#frame.submissions.push(submission)
    this.#grow(bytes)
  }

  flush(): void {
    if (this.#items === 0) return
    this.#session.home.send(this.#frame)
    this.#frame = create(DeviceFrameSchema)
    this.#bytes = 0
    this.#items = 0
  }

  /** A frame may end after anything but a name, which travels with what it was made for. */
  #grow(bytes: number): void {
    this.#bytes += bytes
    this.#items++
  }

  cut(): void {
    if (this.#bytes >= FRAME_FILL_BYTES || this.#items >= limits.FRAME_ITEMS_MAX / 8) this.flush()
  }
}

/** Submissions that may go now, with the bytes that were stored for them. */
function submissionsOf(core: Core, conversation: Conversation, inFlightMax: number): Submission[] {
  const { pipe, slots, row, id } = conversation
  const ks = takeSendable(pipe, slots, row.lastK, inFlightMax)
  const out: Submission[] = []
  for (const k of ks) {
    const slot = slots.get(k)!
    const step = stepSlot(slot, { type: k < pipe.fullBelow ? 'behind' : 'connected' })
    if (step.slot !== slot) slots.set(k, step.slot)
    if (formOf(slot) === 'skip') {
      out.push(create(SubmissionSchema, { k, tag: slot.skipTag!, rev: slot.skipRev, kind: KIND_SKIP }))
      continue
    }
    const sealed = core.rows.get('sealed', [id, k])
    if (!sealed) throw new Error(`the ciphertext of k ${k} is not there`)
    out.push(unpackSubmission(sealed.submission))
  }
  return out
}

function addCursor(out: Outgoing, conversation: Conversation, rewind: boolean): void {
  const { cursor } = conversation.row
  const conv = out.refOf(conversation)
  out.session.followed.delete(conversation)
  out.add(16, ({ cursors }) =>
    cursors.push(create(CursorSchema, { conv, epoch: epochOf(cursor), n: nOf(cursor), rewind })),
  )
  out.cut()
}

function addCursors(turn: Turn, out: Outgoing): void {
  for (const conversation of turn.acknowledged) if (!turn.rewound.has(conversation)) addCursor(out, conversation, false)
  for (const conversation of turn.rewound) addCursor(out, conversation, true)
}

/** That the device has what it said itself rides on its next frame: one of its own would cost the home as much as a message. */
function addFollowed(core: Core, out: Outgoing): void {
  const { session } = out
  const { followed } = session
  if (!out.isEmpty) for (const conversation of followed) addCursor(out, conversation, false)
  if (followed.size === 0 || session.followedTimer) return
  session.followedTimer = core.ports.clock.after(FOLLOWED_MS, () => {
    session.followedTimer = undefined
    const [first] = followed
    if (first && core.session === session) core.poke(first, 'acknowledge')
  })
}

/** The last word of a session: what is left of that. Everything in memory must be written. */
export function sendFollowed(core: Core): void {
  const { session } = core
  if (!session) return
  const out = new Outgoing(core, session)
  for (const conversation of session.followed) addCursor(out, conversation, false)
  out.flush()
}

function addPulls(turn: Turn, out: Outgoing): void {
  for (const conversation of turn.pulled) {
    const { cursor } = conversation.row
    const conv = out.refOf(conversation)
    const pull = { conv, epoch: epochOf(cursor), n: nOf(cursor), maxBytes: limits.PAGE_MAX_BYTES }
    out.add(20, ({ pulls }) => pulls.push(create(PullSchema, pull)))
    out.cut()
  }
}

function addMarks(core: Core, turn: Turn, out: Outgoing): void {
  const { session } = out
  const before = session.told.length
  for (const conversation of turn.marks) {
    const mark = ownMark(core, conversation, out.refOf(conversation))
    if (!mark) continue
    out.add(SUBMISSION_OVERHEAD_BYTES, ({ registers }) => registers.push(mark))
    session.told.push({ ping: session.ping + 1, conversation, at: conversation.row.ownRead })
    out.cut()
  }
  if (session.told.length === before) return
  session.ping++
  out.add(6, (frame) => {
    frame.ping = session.ping
  })
}

/** After the commit of `turn`. */
export function sendTurn(core: Core, turn: Turn): void {
  const { session } = core
  if (!session) return
  const out = new Outgoing(core, session)
  for (const conversation of turn.followed) session.followed.add(conversation)
  addCursors(turn, out)
  addPulls(turn, out)
  const inFlightMax = Math.min(session.home.inFlightMax, limits.IN_FLIGHT_MAX)
  for (const conversation of turn.touched) {
    // The home says what is safe of a conversation when it is named: whoever waits for that names it.
    if (conversation.slots.size > 0) out.refOf(conversation)
    for (const submission of submissionsOf(core, conversation, inFlightMax)) {
      submission.conv = out.refOf(conversation)
      out.submit(submission)
      out.cut()
    }
  }
  addMarks(core, turn, out)
  addFollowed(core, out)
  out.flush()
}
