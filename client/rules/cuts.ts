// The host of a conversation moved. What is said from then on stands in a new epoch, right behind a cut; what this device
// had seen beyond it has lost its place and comes again under the same k, from whoever still holds it. Until then it is
// shown as unconfirmed, and nothing is shown twice. A cursor goes back here and nowhere else.
import { toBinary } from '@bufbuild/protobuf'
import {
  type Cut,
  type EntryHeader,
  type HostRegister,
  isVoid,
  KIND_SKIP,
  keptOf,
  NOWHERE,
  openHostRegister,
  ParleyError,
  type Position,
  readHeader,
  type SignedRecord,
  SignedRecordSchema,
} from '#protocol'
import { authorOf, type Conversation, type LiveSlot } from './conversation.ts'
import { type Core, lies, messageOf, ownMessage, putRow, say, type Turn } from './core.ts'
import { addStateKey, setSlot, stepCut } from './outbound.ts'
import { rewindPipe } from './pipe.ts'
import { all, type EntryRow, type MessageRow } from './schema.ts'
import { newSlot } from './slot.ts'

const NOTHING = new Uint8Array(0)
const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** Must be the first in its turn: it scans tables. Ascending epochs; what is known is passed over. */
export function takeMoves(core: Core, turn: Turn, conversation: Conversation, records: readonly SignedRecord[]): void {
  const fresh: Cut[] = []
  for (const record of records) {
    const register = read(core, turn, conversation, record)
    if (!register) return
    const known = conversation.cuts.find(({ epoch }) => epoch === register.epoch)
    if (known) {
      if (!sameBytes(known.payload, register.payload)) {
        lies(turn, conversation, `two regions were made host of epoch ${register.epoch}`, register.cut)
      }
      continue
    }
    if (register.epoch < (conversation.cuts.at(-1)?.epoch ?? 1)) continue
    follow(core, turn, conversation, register)
    fresh.push(register)
  }
  if (fresh.length > 0) turn.touched.add(conversation)
}

function read(core: Core, turn: Turn, conversation: Conversation, record: SignedRecord): HostRegister | undefined {
  try {
    const register = openHostRegister(record, core.ports.clock.now())
    if (register.convId === conversation.id && register.byHomeOf === conversation.members[0]) return register
    throw new ParleyError('not_host', 'a host register of something else')
  } catch (error) {
    if (!(error instanceof ParleyError)) throw error
    lies(turn, conversation, `a host register that does not hold: ${error.message}`)
    return undefined
  }
}

function follow(core: Core, turn: Turn, conversation: Conversation, register: HostRegister): void {
  const { cursor, hash } = conversation.row
  const { id: conv } = conversation
  const { epoch, cut, cutHash, payload } = register
  if (cursor === cut && cut !== NOWHERE && !sameBytes(hash, cutHash)) {
    lies(turn, conversation, 'the host moved with another history than this device has', cut)
  }
  turn.draft.put('hosts', { conv, epoch, register: toBinary(SignedRecordSchema, register.record) })
  conversation.cuts = [...conversation.cuts, { epoch, cut, payload }]
  cutOwn(core, turn, conversation)
  const readers = readUpTo(core, conversation)
  let unconfirmed = 0
  for (const entry of voidEntries(core, conversation, cut)) {
    if (loseEntry(core, turn, conversation, entry, readers)) unconfirmed++
  }
  const kept = keptOf(cursor, conversation.cuts)
  if (kept !== cursor) putRow(turn, conversation, { cursor: kept, hash: cutHash })
  for (const at of [...conversation.hashes.keys()]) if (isVoid(at, conversation.cuts)) conversation.hashes.delete(at)
  conversation.hole = undefined
  conversation.askedAt = NOWHERE
  say(turn, { type: 'host-moved', conv, host: register.host, unconfirmed })
}

/** What of one's own lies beyond the cut comes again under the same k, and so does what is not safe yet. */
function cutOwn(core: Core, turn: Turn, conversation: Conversation): void {
  for (const { k, at } of [...conversation.slots.values()]) {
    if (at === NOWHERE) continue
    const fate = isVoid(at, conversation.cuts) ? 'void' : 'kept'
    if (fate === 'void') loseNumber(core, turn, conversation, k, at)
    stepCut(core, turn, conversation, k, fate)
    if (fate === 'void') setSlot(turn, conversation, { ...conversation.slots.get(k)!, at: NOWHERE })
  }
}

/** A state key has no id while the content that carries it has no number. */
function loseNumber(core: Core, turn: Turn, conversation: Conversation, k: number, at: Position): void {
  const message = ownMessage(core, turn, conversation, k)
  if (message) turn.draft.put('messages', { ...message, at: NOWHERE, status: 'waiting' })
  const key = dropStateKey(turn, conversation, at)
  if (key && conversation.row.stateKeyK === 0) putRow(turn, conversation, { stateKeyK: k, stateKey: key })
}

function dropStateKey(turn: Turn, conversation: Conversation, at: Position): Uint8Array | undefined {
  const dropped = conversation.stateKeys.find((known) => known.at === at)
  if (!dropped) return undefined
  turn.draft.delete('stateKeys', [conversation.id, at])
  conversation.stateKeys = conversation.stateKeys.filter((known) => known !== dropped)
  return dropped.key
}

/** Entries that were taken beyond the cut. */
function voidEntries(core: Core, conversation: Conversation, cut: Position): EntryRow[] {
  const beyond = core.ports.db.scan('entries', {
    index: undefined,
    prefix: [conversation.id],
    from: cut + 1,
    reverse: false,
    limit: Number.MAX_SAFE_INTEGER,
  })
  return beyond.filter(({ at }) => isVoid(at, conversation.cuts))
}

/** True when a message of somebody else is unconfirmed now. */
function loseEntry(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  entry: EntryRow,
  readers: readonly Position[],
): boolean {
  const { id: conv } = conversation
  const header = readHeader(entry.header)
  const author = authorOf(header)
  turn.draft.delete('entries', [conv, entry.at])
  if (author === core.ownAuthor(conversation.me)) {
    if (!conversation.slots.has(header.k)) revive(core, turn, conversation, header)
    return false
  }
  const unread = turn.draft.get('unread', [conv, entry.at])
  if (unread) turn.draft.delete('unread', [conv, entry.at])
  if (unread && unread.asks > 0) putRow(turn, conversation, { asked: Math.max(0, conversation.row.asked - 1) })
  // What was never read is read when it comes again.
  if (!unread) {
    const wasRead =
      turn.draft.get('voided', [conv, author, header.k])?.wasRead === true || readers[header.member]! >= entry.at
    turn.draft.put('voided', { conv, author, k: header.k, tag: header.tag.slice(), waits: true, wasRead })
  }
  const message = turn.draft.get('messages', [conv, author, header.k])
  if (!message || message.at !== entry.at) return false
  turn.draft.put('messages', { ...message, status: 'unconfirmed' })
  return true
}

/** By member: how far the named readers of this profile have come in what the person says. */
function readUpTo(core: Core, conversation: Conversation): Position[] {
  const rows = all(core.ports.db, 'self').filter(({ name }) => name.startsWith('reader '))
  return conversation.members.map((user) => {
    const places = rows.filter(({ name }) => name.endsWith(` ${user}`)).map(({ value }) => readPlace(value))
    return Math.max(NOWHERE, ...places) as Position
  })
}

const readPlace = (value: Uint8Array): number => Number(Buffer.from(value).readBigUInt64BE())

/** More than anybody encrypts one message again before it is numbered: each time somebody's devices have changed. */
const REVS_OF_AN_EPOCH = 256

/**
 * Every member region had it, and all of them lost it: it is said again out of the history, since no later k of this
 * device can be numbered before it.
 */
function revive(core: Core, turn: Turn, conversation: Conversation, header: EntryHeader): void {
  const { k, at } = header
  const tag = header.tag.slice()
  lies(turn, conversation, `k ${k} was safe and has lost its place`, at)
  const skip = header.kind === KIND_SKIP || ownMessage(core, turn, conversation, k) === undefined
  // How often it was encrypted before is forgotten: other bytes must not go under a rev that went out.
  const rev = REVS_OF_AN_EPOCH * (conversation.cuts.at(-1)?.epoch ?? 1)
  const slot: LiveSlot = {
    ...newSlot,
    ...(skip ? { state: 'skipping', skipRev: rev } : { rev }),
    conv: conversation.id,
    k,
    tag: skip ? core.ports.cipher.makeTag({ convId: conversation.id, k }) : tag,
    skipTag: skip
      ? header.kind === KIND_SKIP
        ? tag
        : core.ports.cipher.makeTag({ convId: conversation.id, k })
      : undefined,
    at: NOWHERE,
    sealed: false,
  }
  loseNumber(core, turn, conversation, k, at)
  setSlot(turn, conversation, slot)
  const ascending = [...conversation.slots].sort(([a], [b]) => a - b)
  conversation.slots.clear()
  for (const [name, value] of ascending) conversation.slots.set(name, value)
  rewindPipe(conversation.pipe, k)
}

type Again = 'unknown' | 'as it was' | 'otherwise'

/** An entry of somebody else has come, perhaps again after a cut: `as it was` is done with, the others are to be read. */
export function takeAfterCut(turn: Turn, conversation: Conversation, header: EntryHeader): Again {
  const { id: conv } = conversation
  if (conversation.cuts.length === 0) return 'unknown'
  const author = authorOf(header)
  const row = turn.draft.get('voided', [conv, author, header.k])
  const voided = row?.waits ? row : undefined
  const message = turn.draft.get('messages', [conv, author, header.k])
  const lost = message?.status === 'unconfirmed' ? message : undefined
  if (voided) turn.draft.put('voided', { ...voided, waits: false })
  if (lost) moveStateKey(turn, conversation, lost.at, header.at)
  if (voided && sameBytes(voided.tag, header.tag)) {
    if (lost) confirm(turn, conversation, { ...lost, status: 'sequenced' }, header)
    return 'as it was'
  }
  if (!lost) return voided ? 'otherwise' : 'unknown'
  if (header.kind === KIND_SKIP) {
    confirm(turn, conversation, { ...lost, kind: 'gone', body: NOTHING, status: 'cancelled' }, header)
    return 'as it was'
  }
  const { at, timeMs } = header
  turn.draft.put('messages', { ...lost, kind: 'unreadable', body: NOTHING, status: 'sequenced', at, timeMs })
  return 'otherwise'
}

function confirm(turn: Turn, conversation: Conversation, row: MessageRow, header: EntryHeader): void {
  const { at, timeMs } = header
  const placed: MessageRow = { ...row, at, timeMs }
  turn.draft.put('messages', placed)
  say(turn, { type: 'confirmed', message: messageOf(placed, conversation.members, conversation.me) })
}

function moveStateKey(turn: Turn, conversation: Conversation, from: Position, to: Position): void {
  const key = dropStateKey(turn, conversation, from)
  if (key) addStateKey(turn, conversation, to, key)
}
