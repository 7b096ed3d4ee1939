// How a conversation lies in the store. Partition `c/<convId>`:
//
//   s                          what hardly ever changes: genesis, homes of the members, host, epoch
//   h                          head, hash, low, safe, time of the newest entry
//   e…                         the log, see the store
//   w<author><block>           16 ks of an author's window, see window.ts
//   r<author><k>               a held submission (at the author's home): rev, kind, stop, bytes
//   m<kind><member><device>    a register
//   a<epoch>                   a host register
//   b<place>                   an entry that another region handed over
//
// Partition `k`, key convId: conversations of which entries are kept. Partition `i/<userId>`, key convId: the inbox row. Partition `f/<regionId>`, key `<convId> <stream>`: a lag row.
import {
  type ConvId,
  convIdBytes,
  earlier,
  entryPosition,
  NOWHERE,
  nextPlace,
  ParleyError,
  type Position,
  type RegionId,
  readGenesis,
  regionIdBytes,
  regionIdOf,
  type UserId,
} from '#protocol'
import type { RangeOptions, Store } from '../store/types.ts'
import { type BallotNumber, newAcceptor } from './ballots.ts'
import { ByteReader, ByteWriter, putU53 } from './bytes.ts'
import {
  type Author,
  authorOf,
  type Conversation,
  type FeedState,
  type Held,
  type Member,
  type Register,
} from './conversation.ts'
import { readStored } from './epochs.ts'
import type { Founding } from './founding.ts'

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

export const conversationPartition = (id: ConvId): string => `c/${id}`
export const inboxPartition = (user: UserId): string => `i/${user}`
export const feedPartition = (region: RegionId): string => `f/${region}`
/** Names of streams: the log, `s<author>` the submissions of one device, `g<register>` a register, the host registers. */
export const LOG_STREAM = 'l'
export const HOST_STREAM = 'h'
export const registerStream = (name: string): string => `g${name}`
/** Partition of the conversations of which something is kept: where a restart and the retention look. */
export const KEPT = 'k'
export const STATE_KEY = 's'
export const HEAD_KEY = 'h'
export const POSITION_KEY = '!'
export const heldKey = (author: Author, k: number): string => `r${author.key}${hex(k, 8)}`
export const blockKey = (author: Author, block: number): string => `w${author.key}${hex(block, 8)}`
export const hostKey = (epoch: number): string => `a${hex(epoch, 8)}`
export const handedOverKey = (at: Position): string => `b${hex(at, 14)}`
/** What was handed over up to `end` goes; it begins where the conversation does. */
export function dropHandedOver(store: Store, conv: Conversation, end: Position): void {
  for (let at = conv.low; at < earlier(end, conv.handedOver); ) {
    at = nextPlace(at, conv.moves)
    store.delete(conv.partition, handedOverKey(at))
  }
}

export const registerName = (r: { kind: number; member: number; device: number }): string =>
  hex(r.kind, 2) + hex(r.member, 8) + hex(r.device, 2)
export const lagKey = (conv: ConvId, stream: string): string => `${conv} ${stream}`

export function readLagKey(key: string): { conv: ConvId; stream: string } {
  const space = key.indexOf(' ')
  return { conv: key.slice(0, space) as ConvId, stream: key.slice(space + 1) }
}

export function writeNumber(value: number): Uint8Array {
  const row = new Uint8Array(8)
  putU53(row, 0, value)
  return row
}
export const readNumber = (bytes: Uint8Array): number => new ByteReader(bytes).u53()

export function newFeedState(region: RegionId): FeedState {
  return {
    region,
    acked: new Map(),
    lag: new Map(),
    window: new Map(),
    gathered: new Map(),
    sent: new Map(),
    reading: new Set(),
  }
}

export function newConversation(founding: Founding, here: RegionId, life: number): Conversation {
  const feeds = new Map<RegionId, FeedState>()
  for (const member of founding.members) {
    if (member.region !== here) feeds.set(member.region, newFeedState(member.region))
  }
  return {
    id: founding.id,
    partition: conversationPartition(founding.id),
    genesisBytes: founding.genesisBytes,
    genesis: founding.genesis,
    members: founding.members.map((m) => ({
      ...m,
      local: m.region === here,
      since: m.region === here ? (m.since ?? 1) : 0,
      inbox: undefined,
      inboxStored: false,
      inboxDirty: false,
      deliveredMs: Number.NEGATIVE_INFINITY,
      takenBy: undefined,
      deliveredDueMs: undefined,
    })),
    host: founding.host,
    hostedHere: founding.host === here,
    epoch: founding.epoch,
    moves: [],
    movesGate: 0,
    closedBefore: 0,
    life,
    acceptor: newAcceptor,
    handedOver: NOWHERE,
    missingSinceMs: undefined,
    head: NOWHERE,
    settled: NOWHERE,
    hash: convIdBytes(founding.id),
    low: NOWHERE,
    safe: NOWHERE,
    authors: new Map(),
    registers: new Map(),
    feeds,
    activityMs: 0,
    dirty: true,
    stateDirty: true,
    inboxesDirty: false,
    pins: 0,
    kept: false,
    retiring: false,
  }
}

const STATE_VERSION = 5

export function writeState(conv: Conversation, here: RegionId): Uint8Array {
  const out = new ByteWriter().u8(STATE_VERSION).lp(conv.genesisBytes).u32(conv.members.length)
  for (const member of conv.members) out.raw(regionIdBytes(member.region))
  out.raw(regionIdBytes(conv.host)).u32(conv.epoch)
  if (hasMoved(conv, here)) writeMoved(out, conv, here)
  return out.done()
}

/** Lives here, and what was said before they came is still on its way. */
const isAwaited = ({ region, local }: Member, here: RegionId): boolean => region === here && !local

const hasMoved = (conv: Conversation, here: RegionId): boolean =>
  conv.moves.length > 0 ||
  conv.life > 1 ||
  conv.closedBefore > 0 ||
  conv.handedOver > NOWHERE ||
  conv.members.some((member) => member.since > 1 || isAwaited(member, here))

function writeBallot(out: ByteWriter, number: BallotNumber | undefined): void {
  out.u32(number?.round ?? 0)
  if (number) out.raw(regionIdBytes(number.region))
}

function readBallot(from: ByteReader): BallotNumber | undefined {
  const round = from.u32()
  return round === 0 ? undefined : { round, region: regionIdOf(from.raw(32)) }
}

function writeMoved(out: ByteWriter, conv: Conversation, here: RegionId): void {
  const { members, closedBefore, acceptor, handedOver, life } = conv
  for (const member of members) out.u8(isAwaited(member, here) ? 1 : 0)
  out.u53(handedOver).u32(closedBefore)
  writeBallot(out, acceptor.promised)
  writeBallot(out, acceptor.accepted?.number)
  out.lp(acceptor.accepted?.value ?? new Uint8Array(0)).u32(life)
  for (const { since } of members) out.u32(since)
}

function readMoved(from: ByteReader, conv: Conversation): void {
  for (const member of conv.members) if (from.u8() === 1) member.local = false
  conv.handedOver = from.u53() as Position
  conv.closedBefore = from.u32()
  const promised = readBallot(from)
  const number = readBallot(from)
  const value = from.lp().slice()
  conv.acceptor = { promised, accepted: number && { number, value } }
  conv.life = from.u32()
  for (const member of conv.members) member.since = from.u32()
}

/** Of activity, as a host may say it: what leaves room for a bit beside it. */
const LATEST_MS = 2 ** 51

/** 64 bytes: so many need no memory of their own. */
export function writeHead(conv: Conversation): Uint8Array {
  const row = new Uint8Array(64)
  putU53(row, 0, conv.head)
  row.set(conv.hash, 8)
  putU53(row, 40, conv.low)
  putU53(row, 48, conv.safe)
  putU53(row, 56, 2 * Math.min(conv.activityMs, LATEST_MS) + (conv.kept ? 1 : 0))
  return row
}

function readState(id: ConvId, bytes: Uint8Array, here: RegionId): Conversation {
  const from = new ByteReader(bytes)
  const version = from.u8()
  if (version !== STATE_VERSION) {
    throw new ParleyError('store_damaged', `the store was written by another version of Parley (${version})`)
  }
  const genesisBytes = from.lp().slice()
  const genesis = readGenesis(genesisBytes)
  const users = genesis.kind === 'direct' ? genesis.members : []
  const regions = Array.from({ length: from.u32() }, () => regionIdOf(from.raw(32)))
  const members = users.map((userId, i) => ({ userId, region: regions[i]! }))
  const host = regionIdOf(from.raw(32))
  const conv = newConversation({ id, genesisBytes, genesis, members, host, epoch: from.u32() }, here, 1)
  if (!from.atEnd) readMoved(from, conv)
  // Only who hosts it now is remembered of a conversation that left: nobody is owed anything.
  if (!conv.members.some(({ region }) => region === here)) conv.feeds.clear()
  conv.dirty = false
  conv.stateDirty = false
  return conv
}

function readHead(conv: Conversation, bytes: Uint8Array): void {
  const from = new ByteReader(bytes)
  conv.head = from.u53() as Position
  conv.settled = conv.head
  conv.hash = from.raw(32).slice()
  conv.low = from.u53() as Position
  conv.safe = from.u53() as Position
  const last = from.u53()
  conv.activityMs = Math.floor(last / 2)
  conv.kept = last % 2 === 1
}

export function writeHeld(held: Held, submission: Uint8Array): Uint8Array {
  const stop = held.stop ?? new Uint8Array(0)
  return new ByteWriter().u8(1).u32(held.rev).u8(held.kind).raw(held.tag).lp(stop).raw(submission).done()
}

export function readHeld(k: number, bytes: Uint8Array): { held: Held; submission: Uint8Array } {
  const from = new ByteReader(bytes)
  from.u8()
  const rev = from.u32()
  const kind = from.u8()
  const tag = from.raw(8).slice()
  const stop = from.lp().slice()
  const submission = from.rest()
  return { held: { k, rev, kind, tag, size: submission.length, stop: stop.length ? stop : undefined }, submission }
}

function writtenAuthor(conv: Conversation, key: string): Author {
  const number = (from: number, to: number): number => Number.parseInt(key.slice(from, to), 16)
  return authorOf(conv, number(1, 9), {
    device: number(9, 11),
    registrationEpoch: number(11, 19),
    registrationVersion: number(19, 27),
  })
}

export function writeRegister(register: Omit<Register, 'gate'>): Uint8Array {
  return new ByteWriter().u53(register.version).raw(register.body).done()
}

function readRegister(key: string, bytes: Uint8Array): Register {
  const from = new ByteReader(bytes)
  const number = (start: number, end: number): number => Number.parseInt(key.slice(start, end), 16)
  return {
    kind: number(1, 3),
    member: number(3, 11),
    device: number(11, 13),
    version: from.u53(),
    body: from.rest().slice(),
    gate: 0,
  }
}

/** Rows of a partition from `from` up to `to`, page by page. */
export async function* rowsOf(
  store: Store,
  partition: string,
  from: string,
  to: string,
): AsyncGenerator<[string, Uint8Array]> {
  const PAGE = 256
  let start = from
  for (;;) {
    const options: RangeOptions = { from: start, to, limit: PAGE, reverse: false }
    const rows = await store.range(partition, options)
    yield* rows
    const last = rows[rows.length - 1]
    if (rows.length < PAGE || !last) return
    start = `${last[0]}\0`
  }
}

export async function collect<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const out: T[] = []
  for await (const row of rows) out.push(row)
  return out
}

/** The pending state of a conversation, or undefined when this node has none. */
export async function loadConversation(store: Store, id: ConvId, here: RegionId): Promise<Conversation | undefined> {
  const partition = conversationPartition(id)
  const state = await store.get(partition, STATE_KEY)
  if (!state) return undefined
  const conv = readState(id, state, here)
  const head = await store.get(partition, HEAD_KEY)
  if (head) readHead(conv, head)
  if (conv.epoch > 1)
    for await (const [, value] of rowsOf(store, partition, 'a', 'b')) conv.moves = [...conv.moves, readStored(value)]
  for await (const [key, value] of rowsOf(store, partition, 'm', 's')) {
    if (key[0] === 'm') {
      const register = readRegister(key, value)
      conv.registers.set(registerName(register), register)
    } else if (key[0] === 'r') {
      writtenAuthor(conv, key).run.push(readHeld(Number.parseInt(key.slice(27), 16), value).held)
    }
  }
  for await (const [key, value] of rowsOf(store, partition, 'w', 'x')) {
    const author = writtenAuthor(conv, key)
    author.window.read(Number.parseInt(key.slice(27), 16), value)
    author.last = author.window.last
  }
  for (const feed of conv.feeds.values()) {
    for await (const [key, value] of rowsOf(store, feedPartition(feed.region), `${id} `, `${id}!`)) {
      const { stream } = readLagKey(key)
      const from = readNumber(value)
      feed.lag.set(stream, from)
      // What is gone was acknowledged by everybody, and so is, of submissions, what stands in the replica.
      const surely = stream === LOG_STREAM ? conv.low : (conv.authors.get(stream.slice(1))?.last ?? 0)
      feed.acked.set(stream, Math.max(from - 1, surely))
    }
    // What is not owed by a lag row was acknowledged: nothing of a conversation that is not loaded waits in a window.
    if (!feed.lag.has(LOG_STREAM)) feed.acked.set(LOG_STREAM, conv.head)
  }
  return conv
}

/** Entries after `after` that are not gone, ascending, up to `to`, cut at `maxBytes` but for the first. */
export function readEntries(
  store: Store,
  conv: Conversation,
  after: Position,
  to: Position,
  maxBytes: number,
): Promise<Uint8Array[]> {
  const from = after < conv.low ? conv.low : after
  if (from < conv.handedOver) return readHandedOver(store, conv, from, to, maxBytes)
  return store.entries(conv.partition, from, to, maxBytes)
}

/** What was handed over takes the place of what stands in the log at the same place: it may have more parts. */
async function readHandedOver(
  store: Store,
  conv: Conversation,
  after: Position,
  to: Position,
  maxBytes: number,
): Promise<Uint8Array[]> {
  const byPlace = new Map<number, Uint8Array>()
  for (const entry of await store.entries(conv.partition, after, to, maxBytes)) byPlace.set(entryPosition(entry), entry)
  let bytes = 0
  const [from, end] = [handedOverKey((after + 1) as Position), handedOverKey((to + 1) as Position)]
  for await (const [, entry] of rowsOf(store, conv.partition, from, end)) {
    if (bytes > 0 && bytes + entry.length > maxBytes) break
    byPlace.set(entryPosition(entry), entry)
    bytes += entry.length
  }
  // Either read may have been cut: what is dense from the start is whole.
  const out: Uint8Array[] = []
  let size = 0
  let head = after
  const places = [...byPlace.keys()].sort((a, b) => a - b)
  for (const at of places) {
    const entry = byPlace.get(at)!
    const follows = head <= conv.low || at === nextPlace(head, conv.moves)
    if (!follows || (size > 0 && size + entry.length > maxBytes)) break
    out.push(entry)
    size += entry.length
    head = at as Position
  }
  return out
}
