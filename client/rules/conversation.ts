// A conversation as the engine holds it in memory: the durable row, the outbox without its bytes, and what belongs to
// the present session.
import { fromBinary } from '@bufbuild/protobuf'
import {
  type ConvId,
  type Cut,
  convIdBytes,
  convIdOfGenesis,
  type DeviceKey,
  type EntryHeader,
  HostRegisterBodySchema,
  NOWHERE,
  ParleyError,
  type Position,
  positionOf,
  type RegisterUpdate,
  readGenesis,
  SignedRecordSchema,
  type UserId,
} from '#protocol'
import { AUTHORS_KEPT, STATE_KEYS_KEPT } from '../limits.ts'
import { newPipe, type Pipe } from './pipe.ts'
import {
  all,
  type ConversationRow,
  type DbReader,
  type MessageRow,
  type OutboxRow,
  type StateKeyRow,
} from './schema.ts'

export type LiveSlot = OutboxRow & { readonly sealed: boolean }

export type Conversation = {
  readonly id: ConvId
  row: ConversationRow
  /** By member number. */
  readonly members: readonly UserId[]
  readonly me: number
  /** Not done yet, ascending. */
  readonly slots: Map<number, LiveSlot>
  /** Every k below it has its bytes, or needs none. */
  unsealedFrom: number
  readonly pipe: Pipe
  /** The home said so; may come before the number does. */
  safeK: number
  /** The lowest stale k that waits for a newer manifest, and the versions it waits for. */
  stale: Stale | undefined
  /** The home has said so, and the page that reaches its head has not come yet. */
  behind: boolean
  /** Where the last page began that did not follow the cursor: when it does so again, what is between has expired. */
  hole: Position | undefined
  /** The device's own small number for it in this session, 0 = not named yet. */
  ref: number
  /** The last cursor that was sent back as a rewind or pull without effect, and when. */
  askedAt: Position
  askedAtMs: number
  /** A read mark whose state key has not been read yet. */
  keptMark: RegisterUpdate | undefined
  /** Ascending: where the log moved to another host. */
  cuts: readonly Cut[]
  /** Newest first, at most STATE_KEYS_KEPT. */
  stateKeys: readonly StateKeyRow[]
  /** The newest hashes of the chain, to compare what others have seen with. */
  readonly hashes: Map<Position, Uint8Array>
}

export type Stale = {
  readonly k: number
  readonly rev: number
  readonly needs: ReadonlyMap<UserId, { readonly rootEpoch: number; readonly version: number }>
}

export function newConversationRow(genesis: Uint8Array): ConversationRow {
  const conv = convIdOfGenesis(genesis)
  return {
    conv,
    genesis,
    cursor: NOWHERE,
    hash: convIdBytes(conv),
    lastK: 0,
    burnt: 0,
    stateKey: undefined,
    stateKeyK: 0,
    delivered: NOWHERE,
    peerRead: NOWHERE,
    ownRead: NOWHERE,
    ownReadTold: NOWHERE,
    asked: 0,
  }
}

/** `not_member` when the genesis does not name `self`. */
export function openConversation(db: DbReader, row: ConversationRow, self: UserId): Conversation {
  const genesis = readGenesis(row.genesis)
  if (genesis.kind !== 'direct')
    throw new ParleyError('bad_argument', 'a conversation of a kind that is not known here')
  const me = genesis.members.indexOf(self)
  if (me < 0) throw new ParleyError('not_member', 'a conversation of other people', { conv: row.conv })
  const sealed = new Set(all(db, 'sealed', row.conv).map(({ k }) => k))
  const slots = new Map<number, LiveSlot>()
  for (const slot of all(db, 'outbox', row.conv)) slots.set(slot.k, { ...slot, sealed: sealed.has(slot.k) })
  return {
    id: row.conv,
    row,
    members: genesis.members,
    me,
    slots,
    unsealedFrom: 1,
    pipe: newPipe(),
    safeK: 0,
    stale: undefined,
    behind: false,
    hole: undefined,
    ref: 0,
    askedAt: NOWHERE,
    askedAtMs: Number.NEGATIVE_INFINITY,
    keptMark: undefined,
    cuts: all(db, 'hosts', row.conv).map(({ register }) => storedCut(register)),
    stateKeys: db.scan('stateKeys', {
      index: undefined,
      prefix: [row.conv],
      from: undefined,
      reverse: true,
      limit: STATE_KEYS_KEPT,
    }),
    hashes: new Map(),
  }
}

/** Of a host register that was verified before it was stored. */
function storedCut(bytes: Uint8Array): Cut {
  const { payload } = fromBinary(SignedRecordSchema, bytes)
  const { epoch, cutEpoch, cutN } = fromBinary(HostRegisterBodySchema, payload)
  return { epoch, cut: positionOf(cutEpoch, cutN), payload }
}

/** The lowest k that is not safe, one above the last when all are. */
export function lowestNotSafe({ slots, row }: Conversation): number {
  for (const k of slots.keys()) return k
  return row.lastK + 1
}

/** `number.epoch.version`. */
export const deviceText = (key: DeviceKey): string =>
  `${key.device}.${key.registrationEpoch}.${key.registrationVersion}`

export function parseDevice(text: string): DeviceKey {
  const [device, registrationEpoch, registrationVersion] = text.split('.').map(Number)
  return { device: device!, registrationEpoch: registrationEpoch!, registrationVersion: registrationVersion! }
}

export function isSameDevice(a: DeviceKey, b: DeviceKey): boolean {
  return (
    a.device === b.device &&
    a.registrationEpoch === b.registrationEpoch &&
    a.registrationVersion === b.registrationVersion
  )
}

export const authorText = (member: number, key: DeviceKey): string => `${member}.${deviceText(key)}`

type Author = { readonly member: number; readonly device: DeviceKey }

const authors = new Map<string, Author>()

/** Read once: every message names its author, and there are few. */
export function parseAuthor(author: string): Author {
  let known = authors.get(author)
  if (!known) {
    const dot = author.indexOf('.')
    known = { member: Number(author.slice(0, dot)), device: parseDevice(author.slice(dot + 1)) }
    if (authors.size >= AUTHORS_KEPT) authors.clear()
    authors.set(author, known)
  }
  return known
}

let last: (Author & { readonly text: string }) | undefined

/** Of an entry; most of the time its author is that of the entry before. */
export function authorOf(header: EntryHeader): string {
  if (last && last.member === header.member && isSameDevice(last.device, header)) return last.text
  const text = authorText(header.member, header)
  last = { ...parseAuthor(text), text }
  return text
}

/** Of rows that a person reads: what carries on behind the scenes is not shown. */
export function isShown(row: MessageRow): boolean {
  return row.kind !== 'retry' && row.kind !== 'again'
}
