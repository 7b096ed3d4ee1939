// What the parts of the engine share: the ports, the conversations in memory, and the turn that is under way.
import type { ConvId, DeviceKey, HomeRecord, Position, Timer, UserId } from '#protocol'
import { directConvId, directGenesis, NOWHERE } from '#protocol'
import { authorText, type Conversation, newConversationRow, openConversation, parseAuthor } from './conversation.ts'
import type { Draft } from './draft.ts'
import { type People, storedHomeRecord } from './people.ts'
import type { DeviceEvent, DevicePorts, HomeSession, Message } from './ports.ts'
import type { Rows } from './rows.ts'
import type { ConversationRow, MessageRow } from './schema.ts'

/** Everything that one turn does: written together, then said. */
export type Turn = {
  readonly draft: Draft
  /** Their rows are written once, as they are at the end. */
  readonly changed: Set<Conversation>
  readonly events: DeviceEvent[]
  /** Run after the commit, before the events: answers to callers, requests to the home. */
  readonly after: (() => void)[]
  /** To look at for what can be encrypted and sent. */
  readonly touched: Set<Conversation>
  /** Their cursor moved; or came back as it was, because something was missing. */
  readonly acknowledged: Set<Conversation>
  /** Their cursor moved over what this device said itself: nobody waits for that. */
  readonly followed: Set<Conversation>
  readonly rewound: Set<Conversation>
  readonly pulled: Set<Conversation>
  readonly marks: Set<Conversation>
  /** Encrypt again from this k. */
  readonly resealed: Map<Conversation, number>
}

export function newTurn(draft: Draft): Turn {
  return {
    draft,
    changed: new Set(),
    events: [],
    after: [],
    touched: new Set(),
    acknowledged: new Set(),
    followed: new Set(),
    rewound: new Set(),
    pulled: new Set(),
    marks: new Set(),
    resealed: new Map(),
  }
}

/** What belongs to one signed-in session. */
export type SessionState = {
  readonly home: HomeSession
  /** By the device's own numbers, from 1. */
  readonly mine: Conversation[]
  /** By the home's; undefined: of a kind that this program does not know. */
  readonly theirs: Map<number, Conversation | undefined>
  /** The last ping, and the read marks that its pong confirms. */
  ping: number
  readonly told: { readonly ping: number; readonly conversation: Conversation; readonly at: Position }[]
  /** Their cursors go with the next frame, or with one of their own when this timer is up. */
  readonly followed: Set<Conversation>
  followedTimer: Timer | undefined
}

export function newSession(home: HomeSession): SessionState {
  return { home, mine: [], theirs: new Map(), ping: 0, told: [], followed: new Set(), followedTimer: undefined }
}

/** What a turn is for in which nothing came. */
export type Poke = 'touch' | 'pull' | 'rewind' | 'acknowledge'

export type Core = {
  readonly ports: DevicePorts
  readonly people: People
  readonly rows: Rows
  readonly conversations: Map<ConvId, Conversation>
  /** With whom it is, by user. */
  readonly direct: Map<UserId, Conversation>
  /** This device as an author, by member number. */
  readonly ownAuthor: (member: number) => string
  session: SessionState | undefined
  /** Says why nothing goes on any more. */
  stopped: 'old-copy' | undefined
  /** Lets a turn follow although nothing came. */
  readonly poke: (conversation: Conversation, what: Poke) => void
}

export function putRow(turn: Turn, conversation: Conversation, change: Partial<ConversationRow>): void {
  conversation.row = { ...conversation.row, ...change }
  turn.changed.add(conversation)
}

/** The conversation with that genesis, made when it is new. */
export function conversationOf(core: Core, turn: Turn, genesis: Uint8Array): Conversation {
  const row = newConversationRow(genesis)
  const known = core.conversations.get(row.conv)
  if (known) return known
  const conversation = openConversation(core.ports.db, row, core.ports.self.userId)
  core.conversations.set(row.conv, conversation)
  turn.draft.put('conversations', row)
  for (const member of conversation.members) core.people.ensure(turn.draft, member)
  return conversation
}

export function directWith(core: Core, turn: Turn, user: UserId): Conversation {
  const { userId } = core.ports.self
  let conversation = core.direct.get(user)
  if (!conversation) {
    conversation =
      core.conversations.get(directConvId(userId, user)) ?? conversationOf(core, turn, directGenesis(userId, user))
    core.direct.set(user, conversation)
  }
  return conversation
}

export function homeRecordsOf(core: Core, conversation: Conversation): HomeRecord[] {
  return conversation.members.flatMap((member) => {
    const stored = core.rows.get('contacts', [member])?.home
    return stored ? [storedHomeRecord(stored)] : []
  })
}

export function ownMessage(core: Core, turn: Turn, conversation: Conversation, k: number): MessageRow | undefined {
  return turn.draft.get('messages', [conversation.id, core.ownAuthor(conversation.me), k])
}

export function ownAuthorOf(self: DeviceKey): (member: number) => string {
  const known: string[] = []
  return (member) => {
    known[member] ??= authorText(member, self)
    return known[member]
  }
}

export function messageOf(row: MessageRow, members: readonly UserId[], me: number): Message {
  const { member, device } = parseAuthor(row.author)
  const { conv, k, at, kind, body, status, code, timeMs } = row
  return { conv, from: members[member]!, mine: member === me, member, device, k, at, kind, body, status, code, timeMs }
}

export function say(turn: Turn, event: DeviceEvent): void {
  turn.events.push(event)
}

export function lies(turn: Turn, conversation: Conversation, what: string, at: Position = NOWHERE): void {
  say(turn, { type: 'host-lies', conv: conversation.id, at, what })
}
