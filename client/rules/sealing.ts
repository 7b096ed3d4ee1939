// Encrypting: ascending, at most AHEAD_MAX k ahead of what has a number, and only when every device that is to read it
// has a session. Until then a content waits as plaintext with its k and tag.
import type { ContentBody, PeerDevice, Sealable } from '#crypto'
import {
  compareVersions,
  KIND_CONTENT,
  KIND_SUPPLEMENT,
  limits,
  type ManifestVersion,
  NOWHERE,
  ParleyError,
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

type Readers = {
  readonly peers: readonly PeerDevice[]
  /** Of each peer. */
  readonly members: readonly number[]
  readonly encryptedFor: ManifestVersion[]
}

/** Everybody's devices but this one; undefined while a manifest or a session is missing (it is being asked for). */
function readersOf(core: Core, turn: Turn, conversation: Conversation, lookUps: LookUps): Readers | undefined {
  const { self, cipher } = core.ports
  const own = deviceText(self)
  const readers = { peers: [] as PeerDevice[], members: [] as number[], encryptedFor: [] as ManifestVersion[] }
  let missing = false
  for (const [member, user] of conversation.members.entries()) {
    const devices = core.people.peers(user)
    if (!devices && user !== self.userId) missing = lookUps.want(user)
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
  return missing ? undefined : readers
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
  let lowestOpen: number | undefined
  for (const slot of conversation.slots.values()) {
    if (isNumbered(slot)) continue
    lowestOpen ??= slot.k
    if (slot.k >= lowestOpen + limits.AHEAD_MAX) return false
    if (!isOpen(slot) || slot.sealed) continue
    if (budget-- === 0) return true
    readers ??= readersFor(core, turn, conversation, lookUps)
    if (!readers || !(await sealOne(core, turn, conversation, slot.k, readers, lookUps))) return false
  }
  return false
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

async function sealOne(
  core: Core,
  turn: Turn,
  conversation: Conversation,
  k: number,
  readers: Readers,
  lookUps: LookUps,
): Promise<boolean> {
  const { cipher } = core.ports
  const message = ownMessage(core, turn, conversation, k)
  const content = message && contentOf(core, turn, conversation, message)
  if (!content) {
    giveUp(core, turn, conversation, k, undefined)
    return true
  }
  let bodies: Uint8Array[]
  try {
    bodies = await cipher.seal(readers.peers, { convId: conversation.id, k }, content)
  } catch (error) {
    if (!(error instanceof ParleyError)) throw error
    if (error.code === 'no_session') {
      for (const reader of readers.peers) lookUps.want(reader.userId)
      return false
    }
    giveUp(core, turn, conversation, k, message)
    return true
  }
  const slot = conversation.slots.get(k)!
  const submission = packSubmission({
    $typeName: 'parley.v1.Submission',
    conv: 0,
    k,
    tag: slot.tag,
    rev: slot.rev,
    kind: message.kind === 'again' ? KIND_SUPPLEMENT : KIND_CONTENT,
    membershipVersion: 0,
    encryptedFor: readers.encryptedFor,
    parts: bodies.map((body, i) => ({
      $typeName: 'parley.v1.Part',
      member: readers.members[i]!,
      device: readers.peers[i]!.device,
      body,
    })),
  })
  turn.draft.put('sealed', { conv: conversation.id, k, submission })
  conversation.slots.set(k, { ...slot, sealed: true })
  return true
}

function contentOf(core: Core, turn: Turn, conversation: Conversation, message: MessageRow): Sealable | undefined {
  const body = bodyOf(core, turn, conversation, message)
  if (!body) return undefined
  const { cursor, hash } = conversation.row
  const seen = cursor === NOWHERE ? undefined : { at: cursor, hash }
  return { body, seen, stateKey: stateKeyFor(core, turn, conversation, message.k) }
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
      return { kind: 'text', text: Buffer.from(message.body).toString() }
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
