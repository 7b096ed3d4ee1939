// What the home says: frames, notices, and answers to what was looked up. Records are learnt only as far as they hold.
import {
  encodeHomeRecord,
  type Home,
  type HomeFrame,
  type HomeRecord,
  type Manifest,
  type Notice,
  openHomeRecord,
  openManifest,
  ParleyError,
  type UserId,
} from '#protocol'
import type { Conversation } from './conversation.ts'
import { type Core, conversationOf, putRow, type SessionState, say, type Turn } from './core.ts'
import { takeMoves } from './cuts.ts'
import { readKept, takeBehindHead, takeEntries } from './inbound.ts'
import type { Answer, LookUps } from './look-ups.ts'
import { takeRegister } from './marks.ts'
import { takeVerdict } from './outbound.ts'
import { ensureTogether } from './people.ts'
import type { Prekeys } from './prekeys.ts'

const GENESIS_DIRECT = 1

export type FrameParts = { readonly core: Core; readonly lookUps: LookUps; readonly prekeys: Prekeys }

/** Throws a ParleyError when the home broke the rules of the session. */
export async function takeFrame(parts: FrameParts, turn: Turn, frame: HomeFrame): Promise<void> {
  const { core, lookUps } = parts
  const session = core.session!
  for (const { ref, genesis, homeRecords } of frame.names) {
    if (ref !== session.theirs.size + 1) throw new ParleyError('bad_name', 'names are not dense')
    const conversation = genesis[0] === GENESIS_DIRECT ? conversationOf(core, turn, genesis) : undefined
    session.theirs.set(ref, conversation)
    for (const record of homeRecords) if (!isKnown(core, conversation, record)) learnRecord(core, turn, record)
  }
  for (const { conv, registers } of frame.moves) {
    const conversation = named(session, conv)
    if (conversation) takeMoves(core, turn, conversation, registers)
  }
  for (const verdict of frame.verdicts) {
    const conversation = session.mine[verdict.conv - 1]
    if (!conversation) throw new ParleyError('bad_name', 'a verdict about a conversation without a name')
    takeVerdict(core, turn, conversation, verdict)
    if (core.stopped) return
  }
  for (const behind of frame.behind) {
    const conversation = named(session, behind.conv)
    if (conversation) takeBehindHead(turn, conversation)
  }
  for (const run of frame.entries) {
    const conversation = named(session, run.conv)
    if (conversation) await takeEntries(core, turn, conversation, run, lookUps)
    if (core.stopped) return
  }
  for (const update of frame.registers) {
    const conversation = named(session, update.conv)
    if (conversation) takeRegister(core, turn, conversation, update)
  }
  for (const notice of frame.notices) await takeNotice(parts, turn, notice)
  if (frame.pong > 0) takePong(turn, session, frame.pong)
}

/** By the home's number; undefined for a kind of conversation that this program does not know. */
function named({ theirs }: SessionState, ref: number): Conversation | undefined {
  if (!theirs.has(ref)) throw new ParleyError('bad_name', 'a number that names no conversation')
  return theirs.get(ref)
}

function takePong(turn: Turn, { told }: SessionState, number: number): void {
  while (told[0] && told[0].ping <= number) {
    const { conversation, at } = told.shift()!
    if (at > conversation.row.ownReadTold) putRow(turn, conversation, { ownReadTold: at })
  }
}

/** Every name brings the records of the members: what was verified before is not verified again. */
function isKnown({ rows }: Core, conversation: Conversation | undefined, record: HomeRecord): boolean {
  const bytes = encodeHomeRecord(record)
  const isStored = (user: UserId): boolean => {
    const stored = rows.get('contacts', [user])?.home
    return stored !== undefined && Buffer.compare(stored, bytes) === 0
  }
  return conversation?.members.some(isStored) === true
}

/** A record that does not hold is the home's mistake, not a reason to stop: what is known stays. */
function learnRecord(core: Core, turn: Turn, record: HomeRecord): void {
  try {
    learnHome(core, turn, openHomeRecord(record, core.ports.clock.now()))
  } catch (error) {
    if (!(error instanceof ParleyError)) throw error
  }
}

function learnHome(core: Core, turn: Turn, home: Home): void {
  const change = core.people.learnHome(turn.draft, home)
  if (change) say(turn, { type: 'contact-changed', user: home.userId, change })
}

async function learnManifest({ core, lookUps }: FrameParts, turn: Turn, manifest: Manifest): Promise<void> {
  const { userId } = manifest
  const change = core.people.learnManifest(turn.draft, manifest)
  if (change) say(turn, { type: 'contact-changed', user: userId, change })
  for (const conversation of core.conversations.values()) {
    if (!conversation.members.includes(userId)) continue
    turn.touched.add(conversation)
    await readKept(core, turn, conversation, userId, lookUps)
  }
}

async function takeNotice(parts: FrameParts, turn: Turn, { what }: Notice): Promise<void> {
  const { clock } = parts.core.ports
  if (what.case === 'prekeysLow') parts.prekeys.take(turn, what.value)
  if (what.case === 'homeRecord') learnRecord(parts.core, turn, what.value)
  if (what.case !== 'manifest') return
  try {
    const manifest = openManifest(what.value, clock.now())
    // Only of people whom this device talks to: a home cannot fill the contacts.
    if (parts.core.rows.get('contacts', [manifest.userId])) await learnManifest(parts, turn, manifest)
  } catch (error) {
    if (!(error instanceof ParleyError)) throw error
  }
}

/** Of the directory. Anything but a ParleyError is a fault and ends the engine. */
export async function takeAnswer(parts: FrameParts, turn: Turn, answer: Answer): Promise<void> {
  const { core, lookUps } = parts
  const user = answer.type === 'bundle' ? answer.peer.userId : answer.user
  try {
    if (answer.type === 'failed') throw answer.error
    if (answer.type === 'bundle') {
      await core.ports.cipher.setUp(answer.peer, answer.bundle)
      lookUps.setUp(answer.peer)
    } else await takeFound(parts, turn, answer)
  } catch (error) {
    if (!(error instanceof ParleyError)) throw error
    lookUps.failed(user)
    say(turn, { type: 'look-up-failed', user, code: error.code, message: error.message })
    return
  }
  for (const conversation of core.conversations.values()) {
    if (conversation.members.includes(user)) turn.touched.add(conversation)
  }
}

async function takeFound(parts: FrameParts, turn: Turn, found: Answer & { type: 'found' }): Promise<void> {
  const { user, home, manifest } = found
  ensureTogether(user, home, manifest)
  learnHome(parts.core, turn, home)
  await learnManifest(parts, turn, manifest)
  if (!parts.lookUps.satisfies(user, manifest)) {
    throw new ParleyError('too_old', 'the newest manifest that was found is older than one that is in use', {
      id: user,
    })
  }
  parts.lookUps.answered(user)
}
