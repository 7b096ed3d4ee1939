// Registers of a conversation: how far the other side has everything (their home says so), and how far each side has
// read (sealed by the reader). The latest wins, so nothing is queued: what counts is what stands when a frame is made.
import { create } from '@bufbuild/protobuf'
import { isPosition, keptOf, ParleyError, type Position, type RegisterUpdate, RegisterUpdateSchema } from '#protocol'
import type { Conversation } from './conversation.ts'
import { type Core, putRow, say, type Turn } from './core.ts'

const DELIVERED = 1
const READ = 2
const SPAN = 2n ** 32n

function positionIn(version: bigint): Position | undefined {
  return isPosition(Number(version / SPAN), Number(version % SPAN)) ? (Number(version) as Position) : undefined
}

export function markRead(turn: Turn, conversation: Conversation, at: Position): void {
  const upTo = Math.min(at, conversation.row.cursor) as Position
  if (upTo <= conversation.row.ownRead) return
  putRow(turn, conversation, { ownRead: upTo })
  turn.marks.add(conversation)
}

export function takeRegister(core: Core, turn: Turn, conversation: Conversation, update: RegisterUpdate): void {
  const at = positionIn(update.version)
  const user = conversation.members[update.member]
  if (at === undefined || !user) return
  // It may be of before a cut that has made what it speaks of void.
  const upTo = keptOf(at, conversation.cuts)
  if (update.kind === DELIVERED && update.member !== conversation.me && upTo > conversation.row.delivered) {
    putRow(turn, conversation, { delivered: upTo })
    say(turn, { type: 'delivered', conv: conversation.id, user, upTo })
  }
  if (update.kind === READ) takeReadMark(core, turn, conversation, update, at, upTo)
}

/** It says `at`; of that everything up to `upTo` still stands. */
function takeReadMark(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  update: RegisterUpdate,
  at: Position,
  upTo: Position,
): void {
  const { row, members, me, id } = conversation
  const user = members[update.member]!
  const newer = upTo > (update.member === me ? row.ownRead : row.peerRead)
  const writer = core.people.peers(user)?.find((peer) => peer.device === update.device)
  if (!newer || !writer) return
  try {
    const keys = conversation.stateKeys.map(({ key }) => key)
    core.ports.cipher.openReadMark(keys, writer, { convId: id, member: update.member }, at, update.body)
  } catch (error) {
    if (!(error instanceof ParleyError)) throw error
    if (error.code === 'not_found') conversation.keptMark = update
    return
  }
  conversation.keptMark = undefined
  if (update.member === me) {
    putRow(turn, conversation, { ownRead: upTo, ownReadTold: upTo })
    return
  }
  putRow(turn, conversation, { peerRead: upTo })
  say(turn, { type: 'read', conv: id, user, upTo })
}

/** A state key has come: the mark that was kept for want of it may open now. */
export function tryKeptMark(core: Core, turn: Turn, conversation: Conversation): void {
  if (conversation.keptMark) takeRegister(core, turn, conversation, conversation.keptMark)
}

/** The own mark for a frame; undefined when the home has it or there is no key to seal it under yet. */
export function ownMark(core: Core, conversation: Conversation, ref: number): RegisterUpdate | undefined {
  const { ownRead, ownReadTold } = conversation.row
  const newest = conversation.stateKeys[0]
  if (ownRead <= ownReadTold || !newest) return undefined
  const where = { convId: conversation.id, member: conversation.me }
  return create(RegisterUpdateSchema, {
    conv: ref,
    kind: READ,
    member: conversation.me,
    device: core.ports.self.device,
    version: BigInt(ownRead),
    body: core.ports.cipher.sealReadMark(newest.key, where, ownRead),
  })
}
