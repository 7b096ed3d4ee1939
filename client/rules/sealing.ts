// Encrypting: ascending, at most AHEAD_MAX k ahead of what has a number, and only when every device that is to read it
// has a session. Until then a content waits as plaintext with its k and tag.
import type { ContentBody, PeerDevice, SealedRun, Sealing } from '#crypto'
import {
  compareVersions,
  KIND_CONTENT,
  KIND_SUPPLEMENT,
  limits,
  type ManifestVersion,
  NOWHERE,
  ParleyError,
  type Part,
  type Position,
  packSubmission,
} from '#protocol'
import { SEAL_PER_TURN } from '../limits.ts'
import { type Conversation, deviceText } from './conversation.ts'
import { type Core, ownMessage, putRow, type Turn } from './core.ts'
import type { LookUps } from './look-ups.ts'
import { endStale, giveUp, setSlot } from './outbound.ts'
import { rewindPipe } from './pipe.ts'
import { referred } from './retry.ts'
import type { MessageRow } from './schema.ts'
import { isNumbered, isOpen } from './slot.ts'
import { textOfBytes } from './texts.ts'

type Readers = {
  readonly peers: readonly PeerDevice[]
  /** Of each peer. */
  readonly members: readonly number[]
  readonly encryptedFor: ManifestVersion[]
  /** Nothing can be encrypted for any device of some member, so what is said to them would reach nobody. */
  readonly lacking: boolean
}

/** Everybody's devices but this one; undefined while a manifest or a session is missing (it is being asked for). */
function readersOf(core: Core, turn: Turn, conversation: Conversation, lookUps: LookUps): Readers | undefined {
  const { self, cipher } = core.ports
  const own = deviceText(self)
  const readers = { peers: [] as PeerDevice[], members: [] as number[], encryptedFor: [] as ManifestVersion[] }
  let missing = false
  let lacking = false
  for (const [member, user] of conversation.members.entries()) {
    const devices = core.people.peers(user)
    if (!devices && user !== self.userId) missing = lookUps.want(user)
    if (devices?.length === 0) lacking = true
    for (const peer of devices ?? []) {
      if (user === self.userId && deviceText(peer) === own) continue
      if (lookUps.isFreshWanted(peer) || !cipher.hasSession(peer)) missing = lookUps.want(user)
      else {
        readers.peers.push(peer)
        readers.members.push(member)
      }
    }
    const version = core.people.version(turn.draft, user)
    if (version) readers.encryptedFor.push({ $typeName: 'parley.v1.ManifestVersion', member, ...version })
  }
  return missing ? undefined : { ...readers, lacking }
}

function isStaleStill(core: Core, turn: Turn, conversation: Conversation, lookUps: LookUps): boolean {
  if (!conversation.stale) return false
  let waits = false
  for (const [user, needed] of conversation.stale.needs) {
    const known = core.people.version(turn.draft, user)
    if (known && compareVersions(known, needed) >= 0) continue
    waits = true
    lookUps.wantNewer(user, needed)
  }
  if (!waits) endStale(core, turn, conversation)
  return waits
}

/** This and all later contents without a number lose their bytes and get new ones, one rev higher. */
function unseal(turn: Turn, conversation: Conversation, from: number): number {
  let count = 0
  for (const slot of conversation.slots.values()) {
    if (slot.k < from || !isOpen(slot) || !slot.sealed) continue
    const rev = slot.k === from ? slot.rev : slot.rev + 1
    setSlot(turn, conversation, { ...slot, rev, sealed: false })
    turn.draft.delete('sealed', [conversation.id, slot.k])
    count++
  }
  rewindPipe(conversation.pipe, from)
  putRow(turn, conversation, { burnt: conversation.row.burnt + count })
  return count
}

/** True when more could be encrypted, in a later turn. */
export async function sealWaiting(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  lookUps: LookUps,
): Promise<boolean> {
  if (isStaleStill(core, turn, conversation, lookUps)) return false
  const from = turn.resealed.get(conversation)
  let budget = SEAL_PER_TURN
  if (from !== undefined) budget += unseal(turn, conversation, from)
  let readers: Readers | undefined
  for (;;) {
    const waiting = nextUnsealed(conversation, budget + 1)
    const more = waiting.length > budget
    if (more) waiting.length = budget
    if (waiting.length === 0) return more
    readers ??= readersFor(core, turn, conversation, lookUps)
    if (!readers) return false
    if (readers.lacking) {
      for (const k of waiting) giveUp(core, turn, conversation, k, 'malformed')
      return more
    }
    const failed = await sealRun(core, turn, conversation, waiting, readers)
    if (failed === undefined) return more
    if (failed.code === 'no_session') {
      for (const reader of readers.peers) lookUps.want(reader.userId)
      return false
    }
    giveUp(core, turn, conversation, failed.k, failed.code)
    budget -= waiting.indexOf(failed.k) + 1
  }
}

/** What waits for its bytes, ascending, at most so many. */
function nextUnsealed(conversation: Conversation, max: number): number[] {
  const { slots, row } = conversation
  const ks: number[] = []
  const lowest = lowestWithoutNumber(conversation)
  const end = Math.min(row.lastK, lowest + limits.AHEAD_MAX - 1)
  for (let k = Math.max(lowest, conversation.unsealedFrom); k <= end && ks.length < max; k++) {
    const slot = slots.get(k)
    if (slot && isOpen(slot) && !slot.sealed) ks.push(k)
    else if (ks.length === 0) conversation.unsealedFrom = k + 1
  }
  return ks
}

function lowestWithoutNumber({ slots, row }: Conversation): number {
  for (const slot of slots.values()) if (!isNumbered(slot)) return slot.k
  return row.lastK + 1
}

function readersFor(core: Core, turn: Turn, conversation: Conversation, lookUps: LookUps): Readers | undefined {
  if (conversation.row.burnt + limits.AHEAD_MAX > limits.REENCRYPT_MAX) {
    for (const user of conversation.members) {
      for (const peer of core.people.peers(user) ?? []) if (user !== core.ports.self.userId) lookUps.wantFresh(peer)
    }
    putRow(turn, conversation, { burnt: 0 })
  }
  return readersOf(core, turn, conversation, lookUps)
}

/** The first that could not be encrypted, if there is one: what comes after it was not tried. */
async function sealRun(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  waiting: readonly number[],
  readers: Readers,
): Promise<{ readonly k: number; readonly code: string } | undefined> {
  const { cursor, hash } = conversation.row
  const seen = cursor === NOWHERE ? undefined : { at: cursor, hash }
  const messages: MessageRow[] = []
  const items: Sealing[] = []
  for (const k of waiting) {
    const message = ownMessage(core, turn, conversation, k)
    const body = message && bodyOf(core, turn, conversation, message)
    if (!body) {
      giveUp(core, turn, conversation, k, 'not_found')
      continue
    }
    const stateKey = stateKeyFor(core, turn, conversation, k)
    messages.push(message)
    items.push({ place: { convId: conversation.id, k }, content: { body, seen, stateKey } })
  }
  const { sealed, error } = await sealItems(core, readers, items)
  for (let i = 0; i < sealed.length; i++) keepSealed(turn, conversation, messages[i]!, sealed[i]!, readers)
  if (!error || sealed.length === messages.length) return undefined
  return { k: messages[sealed.length]!.k, code: error.code }
}

/** What the cipher throws concerns what was to be encrypted, and is no reason for the engine to end. */
async function sealItems(core: Core, { peers }: Readers, items: readonly Sealing[]): Promise<SealedRun> {
  try {
    return await core.ports.cipher.seal(peers, items)
  } catch (error) {
    if (!(error instanceof ParleyError)) throw error
    return { sealed: [], error }
  }
}

function keepSealed(
  turn: Turn,
  conversation: Conversation,
  { k, kind }: MessageRow,
  bodies: readonly Uint8Array[],
  { peers, members, encryptedFor }: Readers,
): void {
  const slot = conversation.slots.get(k)!
  const parts: Part[] = []
  for (let i = 0; i < bodies.length; i++) {
    parts.push({ $typeName: 'parley.v1.Part', member: members[i]!, device: peers[i]!.device, body: bodies[i]! })
  }
  const submission = packSubmission({
    $typeName: 'parley.v1.Submission',
    conv: 0,
    k,
    tag: slot.tag,
    rev: slot.rev,
    kind: kind === 'again' ? KIND_SUPPLEMENT : KIND_CONTENT,
    membershipVersion: 0,
    encryptedFor,
    parts,
  })
  turn.draft.put('sealed', { conv: conversation.id, k, submission })
  conversation.slots.set(k, { ...slot, sealed: true })
}

/** The first content of one who knows no state key carries a new one; so does the next if that one never counts. */
function stateKeyFor(core: Core, turn: Turn, conversation: Conversation, k: number): Uint8Array | undefined {
  const { stateKeyK, stateKey } = conversation.row
  if (stateKeyK === k) return stateKey
  if (stateKeyK !== 0 || conversation.stateKeys.length > 0) return undefined
  const key = stateKey ?? core.ports.cipher.newStateKey()
  putRow(turn, conversation, { stateKey: key, stateKeyK: k })
  return key
}

function bodyOf(core: Core, turn: Turn, conversation: Conversation, message: MessageRow): ContentBody | undefined {
  switch (message.kind) {
    case 'text':
      return { kind: 'text', text: textOfBytes(message.body) }
    case 'data':
      return { kind: 'data', data: message.body }
    case 'retry': {
      const { at, k } = referred(message.body)
      return { kind: 'retry', at, k }
    }
    case 'again': {
      const { at, k } = referred(message.body)
      const original = ownMessage(core, turn, conversation, k)
      const stateKey = stateKeyAt(conversation, at)
      if (original?.kind === 'text' || original?.kind === 'data') {
        const said = bodyOf(core, turn, conversation, original)
        if (said?.kind === 'text' || said?.kind === 'data') return { kind: 'again', k, said, stateKey }
      }
      return { kind: 'again', k, said: { kind: 'gone' }, stateKey }
    }
    case 'unreadable':
    case 'gone':
      return undefined
  }
}

function stateKeyAt(conversation: Conversation, at: Position): Uint8Array | undefined {
  return conversation.stateKeys.find((known) => known.at === at)?.key
}
