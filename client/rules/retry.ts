// What could not be read is asked for again in the same conversation, and the author answers with a supplement. Both are
// entries like any other, with a k of their own, so they are stored, sent once and survive every crash.
//
// Asking is capped in every direction: per entry, per conversation, and per k on the author's side. So two devices that
// cannot read each other at all fall silent instead of asking each other for ever.
import type { AgainBody, RetryBody } from '#crypto'
import { type EntryHeader, isVoid, NOWHERE, type Position } from '#protocol'
import { AGAIN_PER_K_MAX, ASKED_MAX, ASKS_PER_ENTRY_MAX } from '../limits.ts'
import { authorOf, type Conversation } from './conversation.ts'
import { type Core, messageOf, ownMessage, putRow, say, type Turn } from './core.ts'
import { addStateKey, newOwn } from './outbound.ts'
import type { MessageRow, UnreadRow } from './schema.ts'
import { bytesOfText } from './texts.ts'

const REFERRED_BYTES = 12

/** What a retry or a supplement refers to: place u64, k u32. */
export function refer(at: Position, k: number): Uint8Array {
  const out = Buffer.alloc(REFERRED_BYTES)
  out.writeBigUInt64BE(BigInt(at))
  out.writeUInt32BE(k, 8)
  return new Uint8Array(out)
}

export function referred(body: Uint8Array): { at: Position; k: number } {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  return { at: Number(view.getBigUint64(0)) as Position, k: view.getUint32(8) }
}

/** Puts the placeholder, keeps the ciphertext, and asks if there is still something to ask. */
export function keepUnread(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  header: EntryHeader,
  row: UnreadRow,
): void {
  const { id } = conversation
  const shown = turn.draft.get('messages', [id, row.author, row.k])
  if (!shown) {
    const message: MessageRow = {
      conv: id,
      author: row.author,
      k: row.k,
      at: row.at,
      kind: 'unreadable',
      body: new Uint8Array(0),
      status: 'sequenced',
      code: row.reason,
      timeMs: header.timeMs,
      answered: 0,
    }
    turn.draft.put('messages', message)
    say(turn, { type: 'message', message: messageOf(message, conversation.members, conversation.me), late: false })
  }
  ask(core, turn, conversation, row)
}

export function ask(core: Core, turn: Turn, conversation: Conversation, row: UnreadRow): void {
  const may = row.reason === 'undecryptable' && row.asks < ASKS_PER_ENTRY_MAX && conversation.row.asked < ASKED_MAX
  turn.draft.put('unread', may ? { ...row, asks: row.asks + 1 } : row)
  if (!may) return
  if (row.asks === 0) putRow(turn, conversation, { asked: conversation.row.asked + 1 })
  newOwn(core, turn, conversation, 'retry', refer(row.at, row.k))
}

/** A supplement that cannot be read either: whatever of its author is still open is asked for once more. */
export function askOldest(core: Core, turn: Turn, conversation: Conversation, author: string): void {
  const open = core.ports.db.scan('unread', {
    index: 'author',
    prefix: [conversation.id, author],
    from: undefined,
    reverse: false,
    limit: ASKED_MAX,
  })
  const row = open.find((candidate) => candidate.reason === 'undecryptable' && candidate.asks < ASKS_PER_ENTRY_MAX)
  if (row) ask(core, turn, conversation, row)
}

/** Somebody could not read this device's k: once more, as a supplement. */
export function answerRetry(core: Core, turn: Turn, conversation: Conversation, retry: RetryBody): void {
  const message = ownMessage(core, turn, conversation, retry.k)
  if (!message || message.at === NOWHERE || message.answered >= AGAIN_PER_K_MAX) return
  if (message.at !== retry.at && !isVoid(retry.at, conversation.cuts)) return
  turn.draft.put('messages', { ...message, answered: message.answered + 1 })
  newOwn(core, turn, conversation, 'again', message.kind === 'again' ? message.body : refer(message.at, message.k))
}

/** The content of an earlier entry of the same author, at last. */
export function takeAgain(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  header: EntryHeader,
  again: AgainBody,
): void {
  const author = authorOf(header)
  if (again.stateKey) addStateKey(turn, conversation, header.at, again.stateKey)
  const message = turn.draft.get('messages', [conversation.id, author, again.k])
  if (message?.kind !== 'unreadable') return
  const { said } = again
  const body = said.kind === 'text' ? bytesOfText(said.text) : said.kind === 'data' ? said.data : new Uint8Array(0)
  const row: MessageRow = { ...message, kind: said.kind, body, code: '' }
  turn.draft.put('messages', row)
  dropUnread(turn, conversation, message.at)
  core.people.ensure(turn.draft, conversation.members[header.member]!)
  say(turn, { type: 'message', message: messageOf(row, conversation.members, conversation.me), late: true })
}

export function dropUnread(turn: Turn, conversation: Conversation, at: Position): void {
  const unread = turn.draft.get('unread', [conversation.id, at])
  if (!unread) return
  turn.draft.delete('unread', [conversation.id, at])
  if (unread.asks > 0) putRow(turn, conversation, { asked: Math.max(0, conversation.row.asked - 1) })
}
