// What a relay remembers of one conversation while it is in use. Everything in here is the **pending** state; the rows
// it came from and goes to are written in conversation-rows.ts.
import {
  type ConvId,
  chainHash,
  type DeviceKey,
  type EntryHeader,
  epochOf,
  type Genesis,
  type HostRegister,
  hashBefore,
  isPosition,
  NOWHERE,
  nextOf,
  nOf,
  ParleyError,
  type Position,
  nextPlace as placeBehind,
  positionOf,
  type RegionId,
  type UserId,
} from '#protocol'
import type { Acceptor } from './ballots.ts'
import type { InboxRow } from './inbox.ts'
import { Window } from './window.ts'

/** A submission that a home keeps until it is safe. Its bytes are in the store. */
export type Held = {
  readonly k: number
  readonly tag: Uint8Array
  readonly rev: number
  readonly kind: number
  readonly size: number
  /** Why the host will not take it as it is: the run stops here. Encoded Verdict; undefined while it is on its way. */
  readonly stop: Uint8Array | undefined
}

/** One (member, device, registration) that writes in this conversation. */
export type Author = DeviceKey & {
  readonly key: string
  readonly member: number
  /** Name of its stream of submissions. */
  readonly stream: string
  /** The highest k in the log. */
  last: number
  readonly window: Window
  /** At the author's home: held submissions, ascending by k. */
  readonly run: Held[]
  /** At the author's home: everything up to this k is safe, as far as the device was told. */
  toldSafe: number
}

export type Member = {
  readonly userId: UserId
  region: RegionId
  /** Lives here, and nothing that was said before they came is still on its way. */
  local: boolean
  /** Of a local member: what inboxes.ts keeps; none while every device has everything. */
  inbox: InboxRow | undefined
  /** Whether the store has a row of it. */
  inboxStored: boolean
  inboxDirty: boolean
  /** When `delivered` was told the last time, and when it is due again; ms, monotonic. */
  deliveredMs: number
  deliveredDueMs: number | undefined
  /** Home generation in which they came to be served here the last time; 0 if they never were. */
  since: number
  /** Their new home has said that it has taken everything from here. */
  takenBy: RegionId | undefined
}

/** What this node owes one other region, or has from it, about this conversation. */
export type FeedState = {
  readonly region: RegionId
  /** stream -> everything up to this point is durable over there. */
  readonly acked: Map<string, number>
  /** stream -> a lag row: served from the tables from this point on. */
  readonly lag: Map<string, number>
  /** stream -> what waits in the journal for its acknowledgement, oldest first. */
  readonly window: Map<string, WindowItem[]>
  /** stream -> what the commit being gathered gives it. */
  readonly gathered: Map<string, Gathered>
  /** stream -> what was sent since the link came up. */
  readonly sent: Map<string, number>
  /** Streams for which entries are being read to be sent. */
  readonly reading: Set<string>
}

/** What a commit that is being gathered gives a destination: from..to of a stream. */
export type Gathered = {
  readonly conv: Conversation
  readonly stream: string
  readonly from: number
  to: number
}

/** A commit that concerns (destination, stream), from..to in the stream's own order. */
export type WindowItem = {
  readonly commit: number
  /** Monotonic. */
  readonly sinceMs: number
  readonly conv: Conversation
  readonly stream: string
  readonly from: number
  readonly to: number
  done: boolean
}

export type Register = {
  readonly kind: number
  readonly member: number
  readonly device: number
  readonly version: number
  readonly body: Uint8Array
  /** The commit in which it lies; 0: it was read from the store. */
  readonly gate: number
}

export type Conversation = {
  readonly id: ConvId
  /** Of its rows and its log. */
  readonly partition: string
  readonly genesisBytes: Uint8Array
  readonly genesis: Genesis
  readonly members: readonly Member[]
  host: RegionId
  hostedHere: boolean
  /** Of the newest host register, or the first. */
  epoch: number
  /** Ascending epochs: how it came to be where it is. */
  moves: readonly HostRegister[]
  /** The commit in which the newest of them lies; 0: it was read from the store. */
  movesGate: number
  /** This region takes nothing more of epochs below; 0: it has closed nothing. */
  closedBefore: number
  /** The life of the store in which this epoch began here. */
  life: number
  /** What it said about the register of the epoch `closedBefore`. */
  acceptor: Acceptor
  /** Up to here entries were handed over by another region, and lie in rows of their own; 0: none were. */
  handedOver: Position
  head: Position
  hash: Uint8Array
  /** The head in the newest commit that counts: what may leave this node. */
  settled: Position
  /** Entries up to here are gone from this node. */
  low: Position
  /** Every member region has everything up to here. */
  safe: Position
  readonly authors: Map<string, Author>
  readonly registers: Map<string, Register>
  readonly feeds: Map<RegionId, FeedState>
  /** Time of the newest entry, host's clock, ms. */
  activityMs: number
  /** Since when the host has been sending what does not go on from here, ms. */
  missingSinceMs: number | undefined
  dirty: boolean
  /** What a row says of it that hardly ever changes has changed. */
  stateDirty: boolean
  /** Inbox rows of it changed since the last commit was closed. */
  inboxesDirty: boolean
  /** Listed among the conversations of which something is kept. */
  kept: boolean
  /** Nobody lives here any more, and its rows are yet to go. */
  retiring: boolean
  /** Who holds on to this object between turns: it must not be forgotten and read again meanwhile. */
  pins: number
}

/** Holds on to a conversation between turns. */
export function pin(conv: Conversation): void {
  conv.pins++
}

/** What is let go of twice would be forgotten under somebody who still holds it, and live on beside what is read anew. */
export function unpin(conv: Conversation): void {
  if (conv.pins === 0) throw new Error('a conversation was let go of that nobody held')
  conv.pins--
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

export function authorKey(member: number, device: DeviceKey): string {
  return hex(member, 8) + hex(device.device, 2) + hex(device.registrationEpoch, 8) + hex(device.registrationVersion, 8)
}

export function knownAuthor(conv: Conversation, member: number, device: DeviceKey): Author | undefined {
  for (const author of conv.authors.values())
    if (author.member === member && isSameDevice(author, device)) return author
  return undefined
}

/** Listed from then on: only for a device that its home vouches for, or they would be without end. */
export function authorOf(conv: Conversation, member: number, device: DeviceKey): Author {
  const author = authorOrNew(conv, member, device)
  conv.authors.set(author.key, author)
  return author
}

/** A new one is listed when something of it is taken. */
export function authorOrNew(conv: Conversation, member: number, device: DeviceKey): Author {
  return knownAuthor(conv, member, device) ?? newAuthor(member, device)
}

function newAuthor(member: number, device: DeviceKey): Author {
  const key = authorKey(member, device)
  return {
    key,
    member,
    stream: `s${key}`,
    device: device.device,
    registrationEpoch: device.registrationEpoch,
    registrationVersion: device.registrationVersion,
    last: 0,
    window: new Window(),
    run: [],
    toldSafe: 0,
  }
}

export function isSameDevice(a: DeviceKey, b: DeviceKey): boolean {
  return (
    a.device === b.device &&
    a.registrationVersion === b.registrationVersion &&
    a.registrationEpoch === b.registrationEpoch
  )
}

/** What was asked of this region: to take, acknowledge and push nothing more until the next host register. */
export const isClosed = (conv: Conversation): boolean => conv.closedBefore > conv.epoch

/** A place that somebody else names. Throws `malformed` if there is none such. */
export function saidPlace(at: { readonly epoch: number; readonly n: number }): Position {
  if (!isPosition(at.epoch, at.n)) throw new ParleyError('malformed', 'no such place')
  return positionOf(at.epoch, at.n)
}

/** The place that the next entry takes. */
export function nextPlace(conv: Conversation): Position {
  if (conv.moves.length > 0) return placeBehind(conv.head, conv.moves)
  return epochOf(conv.head) === conv.epoch ? nextOf(conv.head) : positionOf(conv.epoch, 1)
}

/** The hash of the log with this entry as the next. */
export function hashWith(conv: Conversation, entry: Uint8Array): Uint8Array {
  return chainHash(conv.moves.length > 0 ? hashBefore(conv.head, conv.hash, conv.moves) : conv.hash, entry)
}

/** Throws when the host says another one. */
export function checkHash(conv: Conversation, hash: Uint8Array, said: Uint8Array): void {
  if (said.length === 0 || Buffer.compare(hash, said) === 0) return
  throw new ParleyError('conflict', 'the host has another history than it sent before', { conversation: conv.id })
}

/**
 * Takes an entry that is the next: log head, hash chain and the author's k table move together. `hash` is that of the
 * log with it.
 */
export function advance(
  conv: Conversation,
  author: Author,
  header: EntryHeader,
  entry: Uint8Array,
  hash: Uint8Array = hashWith(conv, entry),
): void {
  if (header.at !== nextPlace(conv)) throw new Error('an entry was taken out of order')
  if (header.k !== author.last + 1) throw new Error(`k ${header.k} was numbered after ${author.last}`)
  if (author.last === 0) conv.authors.set(author.key, author)
  conv.hash = hash
  if (conv.low === conv.head && conv.head === NOWHERE) conv.low = positionOf(epochOf(header.at), 0)
  conv.head = header.at
  conv.activityMs = header.timeMs
  author.last = header.k
  author.window.add(header.k, epochOf(header.at), nOf(header.at), header.tag)
}

export function feedOf(conv: Conversation, region: RegionId): FeedState {
  const feed = conv.feeds.get(region)
  if (!feed) throw new Error('the conversation owes this region nothing')
  return feed
}

export function memberOf(conv: Conversation, user: UserId): number | undefined {
  const i = conv.members.findIndex((m) => m.userId === user)
  return i < 0 ? undefined : i
}

export function heldAt(author: Author, k: number): number {
  const { run } = author
  let low = 0
  let high = run.length
  while (low < high) {
    const mid = (low + high) >> 1
    if (run[mid]!.k < k) low = mid + 1
    else high = mid
  }
  return low
}

export function findHeld(author: Author, k: number): Held | undefined {
  const held = author.run[heldAt(author, k)]
  return held?.k === k ? held : undefined
}

export function putHeld(author: Author, held: Held): void {
  const at = heldAt(author, held.k)
  author.run.splice(at, author.run[at]?.k === held.k ? 1 : 0, held)
}

/** The lowest k above what the log has that the run lacks: the only new k that a home takes. */
export function nextFree(author: Author): number {
  let k = author.last + 1
  for (let i = heldAt(author, k); i < author.run.length && author.run[i]!.k === k; i++) k++
  return k
}

/** A replica that keeps something only until its host says that it is safe. */
export function wantsSafe(conv: Conversation): boolean {
  if (conv.safe < conv.settled) return true
  for (const author of conv.authors.values()) if (author.run[0] && author.run[0].k <= author.last) return true
  return false
}
