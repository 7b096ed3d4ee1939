// What comes in a log: taken in order, dense; decrypted, or kept as it came and asked for again. Nothing that cannot be
// read blocks a cursor: the chain goes on, and the message appears when its author has sent it again.

import type { Opened, PeerDevice } from '#crypto'
import {
  type Entries,
  type EntryHeader,
  HEADER_BYTES,
  KIND_CONTENT,
  KIND_SUPPLEMENT,
  ParleyError,
  type Position,
  partFor,
  positionOf,
  readHeader,
  type UserId,
} from '#protocol'
import { HASHES_KEPT, REWIND_AGAIN_MS } from '../limits.ts'
import { authorOf, type Conversation, isSameDevice, parseAuthor } from './conversation.ts'
import { type Core, lies, messageOf, putRow, say, type Turn } from './core.ts'
import { takeAfterCut } from './cuts.ts'
import type { LookUps } from './look-ups.ts'
import { addStateKey, ownEntry } from './outbound.ts'
import { readBehindHole, readRun } from './reader.ts'
import { answerRetry, askOldest, dropUnread, keepUnread, takeAgain } from './retry.ts'
import { all, type MessageRow, type UnreadRow } from './schema.ts'
import { bytesOfText } from './texts.ts'

const NOTHING = new Uint8Array(0)

/** A run of entries: pushed, or a page that was pulled. Throws a ParleyError when it holds what is no entry. */
export async function takeEntries(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  run: Entries,
  lookUps: LookUps,
): Promise<void> {
  const before = conversation.row.cursor
  const dense = readRun(conversation.row, conversation.id, run.entry, conversation.cuts)
  const isHole = dense.gap !== undefined && run.page && dense.gap === conversation.hole
  const beyond = isHole ? readBehindHole(run.entry, run.headHash, conversation.cuts) : undefined
  const { taken, state, gap } = beyond ?? dense
  if (beyond) say(turn, { type: 'expired', conv: conversation.id, after: before, before: conversation.hole! })
  conversation.hole = run.page ? gap : undefined
  let onlyOwn = !run.page && taken.length > 0
  for (const { at, bytes, hash } of taken) {
    putRow(turn, conversation, { cursor: at, hash })
    turn.draft.put('entries', { conv: conversation.id, at, header: bytes.subarray(0, HEADER_BYTES) })
    const header = readHeader(bytes)
    if (header.member === conversation.me && isSameDevice(header, core.ports.self)) {
      ownEntry(core, turn, conversation, header)
    } else {
      onlyOwn = false
      const reading = takeEntry(core, turn, conversation, header, bytes, lookUps)
      if (reading) await reading
    }
    if (core.stopped) return
    if (!beyond || at === state.cursor) conversation.hashes.set(at, hash)
  }
  forgetHashes(conversation)
  const { cursor } = state
  if (
    gap === undefined &&
    taken.length > 0 &&
    run.headHash.length > 0 &&
    Buffer.compare(run.headHash, state.hash) !== 0
  ) {
    lies(turn, conversation, 'the chain of this log has another hash at the home', cursor)
  }
  // What came again is acknowledged again: a replica that pushed before its commit and then crashed has forgotten both.
  if (onlyOwn) turn.followed.add(conversation)
  else if (cursor !== before || (gap === undefined && run.entry.length > 0)) turn.acknowledged.add(conversation)
  if (gap !== undefined) askAgain(core, turn, conversation, run.page)
  else if (run.page) {
    conversation.behind = cursor < positionOf(run.headEpoch, run.headN)
    if (conversation.behind) askAgain(core, turn, conversation, true)
  }
}

/** From the cursor: at once after progress, otherwise at most once a second. */
function askAgain(core: Core, turn: Turn, conversation: Conversation, page: boolean): void {
  const { clock } = core.ports
  const { cursor } = conversation.row
  const wait = conversation.askedAtMs + REWIND_AGAIN_MS - clock.monotonic()
  if (cursor === conversation.askedAt && wait > 0) {
    const { session } = core
    clock.after(wait, () => {
      if (core.session === session && conversation.row.cursor === cursor)
        core.poke(conversation, page ? 'pull' : 'rewind')
    })
    return
  }
  conversation.askedAt = cursor
  conversation.askedAtMs = clock.monotonic()
  const set = page ? turn.pulled : turn.rewound
  set.add(conversation)
}

function forgetHashes({ hashes }: Conversation): void {
  for (const oldest of hashes.keys()) {
    if (hashes.size <= HASHES_KEPT) return
    hashes.delete(oldest)
  }
}

/** A promise where something has to be decrypted. What the draft gets of `bytes` are views: it is written in this turn. */
function takeEntry(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  header: EntryHeader,
  bytes: Uint8Array,
  lookUps: LookUps,
): Promise<void> | undefined {
  const before = takeAfterCut(turn, conversation, header)
  if (before === 'as it was') return undefined
  if (header.kind !== KIND_CONTENT && header.kind !== KIND_SUPPLEMENT) return undefined
  const user = conversation.members[header.member]
  if (!user) return void lies(turn, conversation, `an entry of member ${header.member}, who is none`, header.at)
  const author = authorOf(header)
  const known = turn.draft.get('messages', [conversation.id, author, header.k])
  if (known && before === 'unknown')
    return void lies(turn, conversation, `k ${header.k} of ${author} has two numbers`, header.at)
  const { id: conv, me } = conversation
  const { at, k } = header
  const part = partFor(bytes, me, core.ports.self.device) ?? NOTHING
  const unread: UnreadRow = { conv, at, author, k, part, reason: 'undecryptable', asks: 0 }
  const peer = core.people.device(user, header)
  if (peer) return readOne(core, turn, conversation, header, peer, unread, lookUps)
  // Nothing is shown yet: most of the time the author's manifest is a moment away.
  lookUps.wantStrange(user)
  turn.draft.put('unread', { ...unread, reason: 'unknown_device' })
  return undefined
}

async function readOne(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  header: EntryHeader,
  peer: PeerDevice,
  unread: UnreadRow,
  lookUps: LookUps,
): Promise<void> {
  let opened: Opened
  try {
    if (unread.part.length === 0) throw new ParleyError('undecryptable', 'no part for this device')
    opened = await core.ports.cipher.open(peer, { convId: conversation.id, k: header.k }, unread.part)
  } catch (error) {
    if (!(error instanceof ParleyError)) throw error
    return takeUnreadable(core, turn, conversation, header, peer, unread, error, lookUps)
  }
  dropUnread(turn, conversation, header.at)
  takeContent(core, turn, conversation, header, opened)
}

function takeUnreadable(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  header: EntryHeader,
  peer: PeerDevice,
  unread: UnreadRow,
  error: ParleyError,
  lookUps: LookUps,
): void {
  if (error.code === 'conflict' || error.code === 'replayed') {
    // A ciphertext that was moved here from another place: its author never said it here, so there is nothing to ask for.
    lies(turn, conversation, `k ${header.k} of ${unread.author} carries the content of another place`, header.at)
    return
  }
  if (unread.part.length > 0) lookUps.wantFresh(peer)
  if (error.code === 'unsigned_device') lookUps.wantStrange(peer.userId)
  if (header.kind === KIND_SUPPLEMENT) {
    askOldest(core, turn, conversation, unread.author)
    return
  }
  keepUnread(core, turn, conversation, header, { ...unread, reason: 'undecryptable' })
}

function takeContent(core: Core, turn: Turn, conversation: Conversation, header: EntryHeader, opened: Opened): void {
  const { body, seen, stateKey } = opened
  if (seen) compareHead(turn, conversation, seen.at, seen.hash)
  if (stateKey) addStateKey(turn, conversation, header.at, stateKey)
  switch (body.kind) {
    case 'retry':
      forgetPlaceholder(turn, conversation, header)
      answerRetry(core, turn, conversation, body)
      return
    case 'again':
      takeAgain(core, turn, conversation, header, body)
      return
    case 'text':
      keepMessage(core, turn, conversation, header, 'text', bytesOfText(body.text), '')
      return
    case 'data':
      keepMessage(core, turn, conversation, header, 'data', body.data, '')
      return
    case 'unknown':
      keepMessage(core, turn, conversation, header, 'unreadable', NOTHING, 'unsupported_version')
      return
  }
}

/** What was shown as unreadable turned out to be nothing that a person said. */
function forgetPlaceholder(turn: Turn, conversation: Conversation, header: EntryHeader): void {
  turn.draft.delete('messages', [conversation.id, authorOf(header), header.k])
}

function keepMessage(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  header: EntryHeader,
  kind: MessageRow['kind'],
  body: Uint8Array,
  code: string,
): void {
  const { at, k, timeMs } = header
  const author = authorOf(header)
  const late = turn.draft.get('messages', [conversation.id, author, k]) !== undefined
  const row: MessageRow = {
    conv: conversation.id,
    author,
    k,
    at,
    kind,
    body,
    status: 'sequenced',
    code,
    timeMs,
    answered: 0,
  }
  turn.draft.put('messages', row)
  core.people.ensure(turn.draft, conversation.members[header.member]!)
  say(turn, { type: 'message', message: messageOf(row, conversation.members, conversation.me), late })
}

function compareHead(turn: Turn, conversation: Conversation, at: Position, hash: Uint8Array): void {
  const known = conversation.hashes.get(at)
  if (known && Buffer.compare(known, hash) !== 0) {
    lies(turn, conversation, 'the other side has seen another log', at)
  }
}

/** A newer manifest has come: what was kept because nobody knew its author is read now, in order. */
export async function readKept(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  user: UserId,
  lookUps: LookUps,
): Promise<void> {
  for (const unread of all(core.ports.db, 'unread', conversation.id)) {
    if (unread.reason !== 'unknown_device') continue
    const entry = turn.draft.get('entries', [conversation.id, unread.at])
    if (!entry) continue
    const header = readHeader(entry.header)
    if (conversation.members[header.member] !== user) continue
    const peer = core.people.device(user, header)
    if (peer) await readOne(core, turn, conversation, header, peer, unread, lookUps)
    else keepUnread(core, turn, conversation, header, unread)
  }
}

/** Authors whose manifest was missing when this device was last there. */
export function wantKept(core: Core, conversation: Conversation, lookUps: LookUps): void {
  for (const unread of all(core.ports.db, 'unread', conversation.id)) {
    const user = conversation.members[parseAuthor(unread.author).member]
    if (unread.reason === 'unknown_device' && user) lookUps.wantStrange(user)
  }
}

/** A head that the home names, for a conversation that it says this device is behind in. */
export function takeBehindHead(turn: Turn, conversation: Conversation): void {
  conversation.behind = true
  turn.pulled.add(conversation)
}
