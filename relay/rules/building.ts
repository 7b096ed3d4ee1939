// A conversation that is taken over page by page: rows as they come, and at the end the conversation that they make. One
// that is here already (as a replica that becomes the host, or a host that gets another member) is filled up instead.

import {
  type ConvId,
  type Cut,
  entryPosition,
  HEADER_BYTES,
  type HostRegister,
  NOWHERE,
  openHostRegister,
  ParleyError,
  type Position,
  packSubmission,
  nextPlace as placeBehind,
  positionOf,
  type Range,
  type RegionId,
  readGenesis,
  readHeader,
  type Snapshot,
  type Submissions,
} from '#protocol'
import { authorOrNew, type Conversation, findHeld, nextPlace, putHeld } from './conversation.ts'
import {
  conversationPartition,
  dropHandedOver,
  handedOverKey,
  heldKey,
  hostKey,
  newConversation,
  readEntries,
  registerName,
  writeHeld,
} from './conversation-rows.ts'
import type { Core } from './core.ts'
import { writeRecord } from './epochs.ts'
import type { Resident } from './founding.ts'
import { applySnapshot, ensureFits, mergeEntries } from './handover.ts'
import type { Log } from './log.ts'

export type Building = {
  readonly id: ConvId
  readonly from: RegionId
  /** When the last page came, or the first was asked for. */
  heardMs: number
  /** Everything up to here has come. */
  after: Position
  /** Where the other region stood when it was first asked: what came later is not taken from it. */
  head: Position
  snapshot: Snapshot | undefined
  /** Beyond the head of a conversation that is here already. */
  readonly tail: Uint8Array[]
  /** The highest place of which a row was written. */
  handedOver: Position
  activityMs: number
}

export const newBuilding = (id: ConvId, from: RegionId, heardMs: number): Building => ({
  ...{ id, from, heardMs, after: NOWHERE, head: NOWHERE, snapshot: undefined, tail: [], handedOver: NOWHERE },
  activityMs: 0,
})

/** Who and where the members are, and who hosted what was taken. */
export type Site = {
  readonly genesisBytes: Uint8Array
  readonly members: readonly Resident[]
  readonly host: RegionId
  readonly epoch: number
}

export class Builder {
  readonly #core: Core
  readonly #log: Log

  constructor(core: Core, log: Log) {
    this.#core = core
    this.#log = log
  }

  /** While there is no room; that nothing comes then is nobody's silence. */
  waits(building: Building): boolean {
    const { store, ports } = this.#core
    if (store.hasRoom()) return false
    building.heardMs = ports.clock.monotonic()
    return true
  }

  /** One page; `then` hears whether that was all. */
  page(building: Building, range: Range, existing: Conversation | undefined, then: (done: boolean) => void): void {
    if (this.waits(building)) return
    if (!building.snapshot) {
      if (!range.snapshot) throw new ParleyError('malformed', 'a handover without a snapshot')
      building.snapshot = range.snapshot
      building.head = positionOf(range.headEpoch, range.headN)
    }
    const isAtEnd = building.after >= building.head || lowOf(building.snapshot) >= building.head
    // Perhaps trimmed since it was begun: nothing is believed to have come that has not.
    if (!isAtEnd && range.entry.length === 0) throw new ParleyError('conflict', 'a handover that ends before its head')
    const entries = range.entry.filter((entry) => entryPosition(entry) <= building.head).map((entry) => entry.slice())
    this.#core.load(this.#known(entries, existing), (known) => {
      for (const entry of entries) this.#put(building, entry, known.get(entryPosition(entry)), existing)
      const last = entries.at(-1)
      if (last) {
        building.after = entryPosition(last)
        building.activityMs = readHeader(last).timeMs
      }
      then(!last || building.after >= building.head)
    })
  }

  /** What of these is here already, by place. */
  async #known(
    entries: readonly Uint8Array[],
    existing: Conversation | undefined,
  ): Promise<ReadonlyMap<Position, Uint8Array>> {
    const [first, last] = [entries[0], entries.at(-1)]
    if (!existing || !first || !last) return new Map()
    const before = (entryPosition(first) - 1) as Position
    const known = await readEntries(this.#core.store, existing, before, entryPosition(last), Number.POSITIVE_INFINITY)
    return new Map(known.map((entry) => [entryPosition(entry), entry]))
  }

  #put(building: Building, entry: Uint8Array, known: Uint8Array | undefined, existing: Conversation | undefined): void {
    const at = entryPosition(entry)
    // What everybody got while it was being read over there is not kept anew.
    if (at <= lowOf(building.snapshot!)) return
    if (existing && at > existing.head) {
      building.tail.push(entry)
      return
    }
    if (known && !sameHeader(known, entry)) return
    const whole = known ? mergeEntries(known, entry) : entry
    if (whole === known) return
    this.#core.store.put(conversationPartition(building.id), handedOverKey(at), whole)
    if (at > building.handedOver) building.handedOver = at
  }

  /** A conversation that was not here. Throws a ParleyError for what does not fit together. */
  build(building: Building, site: Site): Conversation {
    const { convs, ports } = this.#core
    const snapshot = building.snapshot!
    const moves = this.#movesOf(building.id, site.genesisBytes, snapshot)
    const newest = moves.at(-1)
    const founding = {
      ...{ id: building.id, genesisBytes: site.genesisBytes, genesis: readGenesis(site.genesisBytes) },
      members: site.members,
      host: newest?.host ?? site.host,
      epoch: newest?.epoch ?? site.epoch,
    }
    const conv = newConversation(founding, ports.region, this.#core.isOrphaned(founding) ? 1 : this.#core.life())
    applySnapshot(conv, snapshot, building.head)
    const left = convs.get(building.id)
    if (left) this.#clear(left)
    conv.activityMs = building.activityMs
    conv.handedOver = building.handedOver
    this.#putMoves(conv, moves)
    convs.adopt(conv)
    this.#takeRest(conv, snapshot)
    return conv
  }

  /** It was left, and whoever comes back came before all of it had gone. */
  #clear(left: Conversation): void {
    const { store } = this.#core
    if (left.low < left.head) store.trim(left.partition, left.head, left.head)
    dropHandedOver(store, left, left.handedOver)
    for (const author of left.authors.values())
      for (const { k } of author.run) store.delete(left.partition, heldKey(author, k))
  }

  #putMoves(conv: Conversation, moves: readonly HostRegister[]): void {
    conv.moves = moves
    for (const move of moves) this.#core.store.put(conv.partition, hostKey(move.epoch), writeRecord(move.record))
  }

  #movesOf(id: ConvId, genesisBytes: Uint8Array, snapshot: Snapshot): HostRegister[] {
    const genesis = readGenesis(genesisBytes)
    const decides = genesis.kind === 'direct' ? genesis.members[0] : undefined
    const moves = snapshot.hostRegisters.map((record) => openHostRegister(record, this.#core.ports.clock.now()))
    let before: Cut | undefined
    for (const move of moves) {
      const fits = move.convId === id && move.byHomeOf === decides && move.epoch > (before?.epoch ?? 1)
      if (!fits) throw new ParleyError('not_host', 'a handover with host registers of something else')
      before = move
    }
    return moves
  }

  /** Host registers of epochs later than any that is known here; none when what is here is not gone on with. */
  newerMoves(conv: Conversation, { id, snapshot }: Building): HostRegister[] {
    const low = lowOf(snapshot!)
    if (placeBehind(conv.head, conv.moves) <= low) return []
    return this.#movesOf(id, conv.genesisBytes, snapshot!).filter(({ epoch }) => epoch > conv.epoch)
  }

  /** One that is here gets what it lacks. */
  extend(conv: Conversation, building: Building): void {
    const snapshot = building.snapshot!
    const low = lowOf(snapshot)
    if (placeBehind(conv.head, conv.moves) <= low) {
      this.#ensureRead(conv, building.from)
      this.#startOver(conv, building, snapshot)
    }
    for (const entry of building.tail) {
      const header = readHeader(entry)
      if (header.at <= conv.head) continue
      const author = header.member < conv.members.length ? authorOrNew(conv, header.member, header) : undefined
      if (!author || header.at !== nextPlace(conv) || header.k !== author.last + 1) {
        throw new ParleyError('conflict', 'a handover that does not go on from what is here')
      }
      this.#log.take(conv, author, header, entry)
    }
    if (building.head > low && low < conv.low) conv.low = low
    if (building.handedOver > conv.handedOver) conv.handedOver = building.handedOver
    this.#takeRest(conv, snapshot)
    this.#core.convs.moved(conv)
    // What is held here may be safe by now.
    this.#log.cursorMoved(conv)
  }

  /** No region makes this one forget what its people have not got. */
  #ensureRead(conv: Conversation, from: RegionId): void {
    const { ports, inboxes, life } = this.#core
    const { directory } = ports
    // Of a store that went back nobody knows what has been read since.
    if (conv.life < life()) return
    for (const member of conv.members) {
      const livesHere = directory.knownHome(member.userId)?.homeRegion === ports.region
      // Where they lived since it is known what they have got.
      const isBack = !member.local && directory.formerHome(member.userId)?.region === from
      if (livesHere && !isBack && inboxes.lowest(conv, member) < conv.head)
        throw new ParleyError('conflict', 'a handover without what has not been read here')
    }
  }

  /**
   * What goes on from here is kept nowhere any more, since everybody had it: what is here, of a time when somebody lived
   * here, is had by everybody too.
   */
  #startOver(conv: Conversation, building: Building, snapshot: Snapshot): void {
    const { store } = this.#core
    const moves = this.#movesOf(building.id, conv.genesisBytes, snapshot)
    ensureFits(conv, snapshot, building.head)
    if (conv.low < conv.head) store.trim(conv.partition, conv.head, conv.head)
    dropHandedOver(store, conv, conv.handedOver)
    const newest = moves.at(-1)
    if (newest && newest.epoch > conv.epoch) {
      Object.assign(conv, { epoch: newest.epoch, host: newest.host })
      this.#putMoves(conv, moves)
    }
    applySnapshot(conv, snapshot, building.head)
    conv.handedOver = NOWHERE
    for (const entry of building.tail) {
      conv.handedOver = entryPosition(entry)
      store.put(conv.partition, handedOverKey(conv.handedOver), entry)
    }
    building.handedOver = conv.handedOver
  }

  #takeRest(conv: Conversation, snapshot: Snapshot): void {
    for (const { kind, member, device, version, body } of snapshot.registers) {
      const register = { kind, member, device, version: Number(version), body: body.slice() }
      if (
        member >= conv.members.length ||
        register.version <= (conv.registers.get(registerName(register))?.version ?? 0)
      )
        continue
      this.#core.convs.putRegister(conv, register)
    }
    for (const held of snapshot.held) this.#takeHeld(conv, held)
  }

  /** What the former home had said `held` of is held here from now on. */
  #takeHeld(conv: Conversation, { author: key, items }: Submissions): void {
    if (!key || key.member >= conv.members.length) return
    const author = authorOrNew(conv, key.member, key)
    if (items.length > 0) conv.authors.set(author.key, author)
    for (const item of items) {
      const { k, rev, kind } = item
      if (findHeld(author, k)) continue
      const bytes = packSubmission(item)
      const held = { k, rev, kind, tag: item.tag.slice(), size: bytes.length, stop: undefined }
      putHeld(author, held)
      this.#core.store.put(conv.partition, heldKey(author, k), writeHeld(held, bytes))
    }
  }
}

const lowOf = ({ low }: Snapshot): Position => (low ? positionOf(low.epoch, low.n) : NOWHERE)

const sameHeader = (a: Uint8Array, b: Uint8Array): boolean =>
  Buffer.compare(a.subarray(0, HEADER_BYTES), b.subarray(0, HEADER_BYTES)) === 0
