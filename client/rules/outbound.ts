// What this device says: a k is given out and bound to a content, and what becomes of it is carried out here as the
// step of slot.ts decides. Encrypting and sending follow at the end of the turn (sealing.ts, wire-out.ts).
import {
  type EntryHeader,
  isVoid,
  NOWHERE,
  ParleyError,
  type Position,
  positionOf,
  type UserId,
  type Verdict,
  type Version,
} from '#protocol'
import { BEHIND_AGAIN_MS, STATE_KEYS_KEPT, WAIT_AGAIN_MS, WAITING_MAX } from '../limits.ts'
import type { Conversation, LiveSlot } from './conversation.ts'
import { lowestNotSafe } from './conversation.ts'
import { type Core, directWith, lies, ownMessage, putRow, say, type Turn } from './core.ts'
import { answered, isUnanswered, sendExtra, takeBehind } from './pipe.ts'
import type { MessageKind } from './schema.ts'
import { isOpen, newSlot, type SlotEffect, type SlotEvent, stepSlot } from './slot.ts'

/** The line of a job that a message is: stored with its k, so that an interrupted job goes on where it was. */
export type JobLine = { readonly name: string; readonly line: number }

type Facts = { readonly at: Position; readonly code: string; readonly timeMs: number | undefined }
const HELD: SlotEvent = { type: 'held' }
const SAFE: SlotEvent = { type: 'safe' }
const NO_FACTS: Facts = { at: NOWHERE, code: '', timeMs: undefined }

/** One transaction's part: the next k, its tag, the content; ciphertext and ratchet step follow in the same turn. */
export function newOwn(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  kind: MessageKind,
  body: Uint8Array,
): number {
  const { id, me, row } = conversation
  const k = row.lastK + 1
  const tag = core.ports.cipher.makeTag({ convId: id, k })
  const slot: LiveSlot = { ...newSlot, conv: id, k, tag, skipTag: undefined, at: NOWHERE, sealed: false }
  putRow(turn, conversation, { lastK: k })
  setSlot(turn, conversation, slot)
  turn.draft.put('messages', {
    conv: id,
    author: core.ownAuthor(me),
    k,
    at: NOWHERE,
    kind,
    body,
    status: 'waiting',
    code: '',
    timeMs: core.ports.clock.now(),
    answered: 0,
  })
  turn.touched.add(conversation)
  return k
}

export function sendTo(
  core: Core,
  turn: Turn,
  to: UserId,
  content: { readonly kind: 'text' | 'data'; readonly body: Uint8Array },
  job: JobLine | undefined,
): { conversation: Conversation; k: number } {
  const conversation = directWith(core, turn, to)
  if (conversation.slots.size >= WAITING_MAX) {
    throw new ParleyError('no_room', 'too much waits to be sent to this person', { limit: `${WAITING_MAX}` })
  }
  const contact = core.people.ensure(turn.draft, to)
  if (!contact.accepted) turn.draft.put('contacts', { ...contact, accepted: true })
  const k = newOwn(core, turn, conversation, content.kind, content.body)
  if (job) turn.draft.put('jobs', { name: job.name, line: job.line, conv: conversation.id, k })
  return { conversation, k }
}

/** Whether there was still something to cancel; whether it worked is told by what is numbered. */
export function cancel(core: Core, turn: Turn, conversation: Conversation, k: number): boolean {
  const slot = conversation.slots.get(k)
  if (!slot || !isOpen(slot)) return false
  apply(core, turn, conversation, k, { type: 'cancel' }, NO_FACTS)
  return true
}

export function setSlot(turn: Turn, conversation: Conversation, slot: LiveSlot): void {
  conversation.slots.set(slot.k, slot)
  if (!slot.sealed && isOpen(slot)) conversation.unsealedFrom = Math.min(conversation.unsealedFrom, slot.k)
  const { conv, k, state, rev, skipRev, stands, tag, skipTag, at } = slot
  turn.draft.put('outbox', { conv, k, state, rev, skipRev, stands, tag, skipTag, at })
}

/** Steps one k and carries the effects out. */
function apply(core: Core, turn: Turn, conversation: Conversation, k: number, event: SlotEvent, facts: Facts): void {
  const slot = conversation.slots.get(k)
  if (!slot) return
  const { slot: next, effects } = stepSlot(slot, event)
  // What goes is not written once more before.
  if (next !== slot && effects[0] !== 'drop-bytes') {
    setSlot(turn, conversation, facts.at === NOWHERE ? next : { ...next, at: facts.at })
  }
  for (let i = 0; i < effects.length; i++) carryOut(core, turn, conversation, k, effects[i]!, facts)
}

/** A forced cut: the number of k lies beyond it, or stands and is not safe yet. */
export function stepCut(core: Core, turn: Turn, conversation: Conversation, k: number, fate: 'void' | 'kept'): void {
  apply(core, turn, conversation, k, { type: 'cut', fate }, NO_FACTS)
}

function carryOut(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  k: number,
  effect: SlotEffect,
  facts: Facts,
): void {
  switch (effect) {
    case 'encrypt-again':
      turn.resealed.set(conversation, Math.min(k, turn.resealed.get(conversation) ?? k))
      turn.touched.add(conversation)
      return
    case 'skip':
      makeSkip(core, turn, conversation, k, facts.code)
      return
    case 'show-held':
      show(core, turn, conversation, k, { status: 'held' })
      return
    case 'show-sequenced':
      show(core, turn, conversation, k, { status: 'sequenced', at: facts.at }, facts.timeMs)
      keepStateKey(turn, conversation, k, facts.at)
      settle(core, turn, conversation, k)
      return
    case 'show-skipped': {
      const failed = ownMessage(core, turn, conversation, k)?.code !== ''
      show(core, turn, conversation, k, { status: failed ? 'failed' : 'cancelled', at: facts.at }, facts.timeMs)
      if (conversation.row.stateKeyK === k) putRow(turn, conversation, { stateKeyK: 0 })
      settle(core, turn, conversation, k)
      return
    }
    case 'drop-bytes':
      conversation.slots.delete(k)
      turn.draft.delete('outbox', [conversation.id, k])
      turn.draft.delete('sealed', [conversation.id, k])
      return
    case 'look-up':
      // Own entries below the cursor have been taken as numbered already; what is missing lies ahead of it.
      turn.pulled.add(conversation)
      return
    case 'send':
      sendExtra(conversation.pipe, k)
      turn.touched.add(conversation)
      return
    case 'old-copy':
      core.stopped = 'old-copy'
      say(turn, { type: 'old-copy', conv: conversation.id, k })
      return
    case 'host-lies':
      lies(turn, conversation, `k ${k} has a content that this device never sent`, facts.at)
      return
  }
}

function makeSkip(core: Core, turn: Turn, conversation: Conversation, k: number, code: string): void {
  const slot = conversation.slots.get(k)!
  if (!slot.skipTag) {
    setSlot(turn, conversation, { ...slot, skipTag: core.ports.cipher.makeTag({ convId: conversation.id, k }) })
  }
  const message = ownMessage(core, turn, conversation, k)
  if (message && code !== '') turn.draft.put('messages', { ...message, code })
  sendExtra(conversation.pipe, k)
  turn.touched.add(conversation)
}

type Shown = { readonly status: 'held' | 'sequenced' | 'cancelled' | 'failed'; readonly at?: Position }

function show(core: Core, turn: Turn, conversation: Conversation, k: number, shown: Shown, timeMs?: number): void {
  const message = ownMessage(core, turn, conversation, k)
  if (!message) return
  turn.draft.put('messages', { ...message, ...shown, timeMs: timeMs ?? message.timeMs })
  if (message.kind === 'retry' || message.kind === 'again') return
  const { status: state } = shown
  say(turn, { type: 'state', conv: conversation.id, k, state, at: shown.at ?? message.at, code: message.code })
}

/** The state key that this content carried now has an id: the place where it stands. */
function keepStateKey(turn: Turn, conversation: Conversation, k: number, at: Position): void {
  const { stateKeyK, stateKey } = conversation.row
  if (stateKeyK !== k || !stateKey) return
  putRow(turn, conversation, { stateKeyK: 0, stateKey: undefined })
  addStateKey(turn, conversation, at, stateKey)
}

export function addStateKey(turn: Turn, conversation: Conversation, at: Position, key: Uint8Array): void {
  if (conversation.stateKeys.some((known) => known.at === at)) return
  const row = { conv: conversation.id, at, key }
  turn.draft.put('stateKeys', row)
  conversation.stateKeys = [...conversation.stateKeys, row].sort((a, b) => b.at - a.at).slice(0, STATE_KEYS_KEPT)
  turn.marks.add(conversation)
}

function settle(core: Core, turn: Turn, conversation: Conversation, k: number): void {
  turn.touched.add(conversation)
  if (k <= conversation.safeK) apply(core, turn, conversation, k, SAFE, NO_FACTS)
}

function isSameTag(mine: Uint8Array | undefined, tag: Uint8Array): boolean {
  if (mine === undefined || mine.length !== tag.length) return false
  for (let i = 0; i < tag.length; i++) if (mine[i] !== tag[i]) return false
  return true
}

/** A number for k, from a verdict or from the entry itself (then with the host's time). */
function numbered(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  k: number,
  at: Position,
  tag: Uint8Array,
  timeMs: number | undefined,
): void {
  const facts: Facts = { at, code: '', timeMs }
  const slot = conversation.slots.get(k)
  const isContent = slot !== undefined && isSameTag(slot.tag, tag)
  if (slot && (isContent || isSameTag(slot.skipTag, tag))) {
    if (slot.at !== NOWHERE && slot.at !== at) {
      lies(turn, conversation, `k ${k} has two numbers`, at)
      return
    }
    apply(core, turn, conversation, k, { type: 'sequenced', tag: isContent ? 'content' : 'skip' }, facts)
    return
  }
  if (!slot && isDone(core, turn, conversation, k, at, tag)) return
  const mine = core.ports.cipher.ownsTag({ convId: conversation.id, k }, tag)
  carryOut(core, turn, conversation, k, mine ? 'old-copy' : 'host-lies', facts)
}

/** A k whose bytes were dropped: its number and, where the entry has been read, its tag are still known. */
function isDone(core: Core, turn: Turn, conversation: Conversation, k: number, at: Position, tag: Uint8Array): boolean {
  if (k > conversation.row.lastK) return false
  const message = ownMessage(core, turn, conversation, k)
  if (!message || message.at !== at) return false
  const entry = turn.draft.get('entries', [conversation.id, at])
  return !entry || isSameTag(entry.header.subarray(27, 35), tag)
}

/** An entry of this device, read in the log. */
export function ownEntry(core: Core, turn: Turn, conversation: Conversation, header: EntryHeader): void {
  answered(conversation.pipe, header.k)
  numbered(core, turn, conversation, header.k, header.at, header.tag, header.timeMs)
  const message = ownMessage(core, turn, conversation, header.k)
  if (message && message.at === header.at && message.timeMs !== header.timeMs) {
    turn.draft.put('messages', { ...message, timeMs: header.timeMs })
  }
}

function revOf({ slots }: Conversation, k: number): number {
  const slot = slots.get(k)
  return slot ? Math.max(slot.rev, slot.skipRev) : 0
}

export function takeVerdict(core: Core, turn: Turn, conversation: Conversation, verdict: Verdict): void {
  const { k, rev, outcome, tag } = verdict
  const { pipe } = conversation
  turn.touched.add(conversation)
  // It is about what was sent before, and no answer to what is on its way now.
  if ((outcome.case === 'stale' || outcome.case === 'final') && rev < revOf(conversation, k)) return
  if (outcome.case !== 'behind' && outcome.case !== 'safe' && outcome.case !== 'wait') answered(pipe, k)
  switch (outcome.case) {
    case 'held':
      apply(core, turn, conversation, k, HELD, NO_FACTS)
      return
    case 'sequenced': {
      const at = positionOf(outcome.value.epoch, outcome.value.n)
      if (!isVoid(at, conversation.cuts)) numbered(core, turn, conversation, k, at, tag, undefined)
      return
    }
    case 'safe':
      takeSafe(core, turn, conversation, k)
      return
    case 'behind':
      takeBehindVerdict(core, conversation, k)
      return
    case 'past':
      apply(core, turn, conversation, k, { type: 'past' }, NO_FACTS)
      return
    case 'wait':
      takeWait(core, conversation, k, outcome.value.retryAfterMs)
      return
    case 'stale':
      takeStale(turn, conversation, k, rev, outcome.value.newest)
      return
    case 'final':
      apply(core, turn, conversation, k, { type: 'final', rev }, { ...NO_FACTS, code: outcome.value.code })
      return
    case 'moved':
    case undefined:
      return
  }
}

function takeSafe(core: Core, turn: Turn, conversation: Conversation, upTo: number): void {
  conversation.safeK = Math.max(conversation.safeK, upTo)
  for (const k of conversation.slots.keys()) {
    if (k > upTo) break
    apply(core, turn, conversation, k, SAFE, NO_FACTS)
  }
}

/** One that is not acted on may have been the only answer to what it was about: it is looked at again. */
function takeBehindVerdict(core: Core, conversation: Conversation, k: number): void {
  const { pipe } = conversation
  const { clock } = core.ports
  const { session } = core
  if (takeBehind(pipe, k, lowestNotSafe(conversation), conversation.row.lastK, clock.monotonic())) return
  if (pipe.behindAgain) return
  pipe.behindAgain = true
  clock.after(BEHIND_AGAIN_MS, () => {
    if (core.session !== session || !pipe.behindAgain) return
    pipe.behindAgain = false
    if (!isUnanswered(pipe, k)) return
    takeBehindVerdict(core, conversation, k)
    core.poke(conversation, 'touch')
  })
}

/** The home's business; but if it did not keep the submission, only the device can send it again. */
function takeWait(core: Core, conversation: Conversation, k: number, afterMs: number): void {
  const { clock, random } = core.ports
  const { session } = core
  clock.after(Math.ceil(Math.max(WAIT_AGAIN_MS, afterMs) * (1 + random.fraction() / 2)), () => {
    if (core.session !== session || !conversation.pipe.inFlight.has(k)) return
    sendExtra(conversation.pipe, k)
    core.poke(conversation, 'touch')
  })
}

/** Encrypting again needs the manifests that the host knows: at once if they are here, else when they have come. */
function takeStale(
  turn: Turn,
  conversation: Conversation,
  k: number,
  rev: number,
  newest: readonly (Version & { readonly member: number })[],
): void {
  const slot = conversation.slots.get(k)
  if (!slot || !isOpen(slot) || rev < slot.rev) return
  const needs = new Map(conversation.stale?.needs)
  for (const { member, rootEpoch, version } of newest) {
    const user = conversation.members[member]
    if (user) needs.set(user, { rootEpoch, version })
  }
  const lower = conversation.stale && conversation.stale.k < k ? conversation.stale : { k, rev }
  conversation.stale = { k: lower.k, rev: lower.rev, needs }
  turn.touched.add(conversation)
}

/** What the stale k becomes once nothing is missing any more. */
export function endStale(core: Core, turn: Turn, conversation: Conversation): void {
  const stale = conversation.stale
  if (!stale) return
  conversation.stale = undefined
  apply(core, turn, conversation, stale.k, { type: 'stale', rev: stale.rev }, NO_FACTS)
}

/** A content that cannot be encrypted at all is given up like one that the host refuses. */
export function giveUp(core: Core, turn: Turn, conversation: Conversation, k: number, code: string): void {
  const slot = conversation.slots.get(k)
  if (slot) apply(core, turn, conversation, k, { type: 'final', rev: slot.rev }, { ...NO_FACTS, code })
}
