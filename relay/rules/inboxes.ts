// The inboxes of this region's people: a party of its own beside the conversations, though it lives on the same node.
// A conversation tells it "there is something after this place"; devices tell it how far they have come; and it tells the
// conversation what its reader has, so that entries can go. Only ids and places cross between the two.
//
// A row appears in the commit that puts somebody behind, and goes in the one in which everybody has everything. How far
// devices have come meanwhile is written now and then: a lost cursor only delivers again.
import type { ConvId, Position, UserId } from '#protocol'
import type { Store } from '../store/types.ts'
import type { Conversation, Member } from './conversation.ts'
import { inboxPartition } from './conversation-rows.ts'
import {
  cursorOf,
  deviceTexts,
  highestCursor,
  isDone,
  lowestCursor,
  moveCursor,
  newInboxRow,
  readInboxRow,
  writeInboxRow,
} from './inbox.ts'
import type { DirectoryPort } from './ports.ts'

/** `findHome` also sees to it that the account of somebody who lives here is in memory. */
export type AccountsPort = Pick<DirectoryPort, 'knownHome' | 'knownManifest' | 'findHome'>

export class Inboxes {
  readonly #store: Store
  readonly #directory: AccountsPort
  /** Rows that appeared, went or changed beyond a cursor since the last commit was closed. */
  readonly #dirty = new Set<Conversation>()
  /** Rows of which only cursors moved since they were written. */
  readonly #moved = new Map<Member, Conversation>()

  constructor(store: Store, directory: AccountsPort) {
    this.#store = store
    this.#directory = directory
  }

  /** Before a conversation is used: the account and the row of a member who lives here. */
  async load(conv: Conversation, member: Member): Promise<void> {
    if (!this.#directory.knownManifest(member.userId))
      await this.#directory.findHome(member.userId).catch(() => undefined)
    const row = await this.#store.get(inboxPartition(member.userId), conv.id)
    if (!row) return
    member.inbox = readInboxRow(row)
    member.inboxStored = true
  }

  #changed(conv: Conversation, member: Member): void {
    member.inboxDirty = true
    if (conv.inboxesDirty) return
    conv.inboxesDirty = true
    this.#dirty.add(conv)
  }

  #dropIfDone(conv: Conversation, member: Member): boolean {
    if (!member.inbox || !isDone(member.inbox, this.#directory.knownManifest(member.userId), conv.head)) return false
    member.inbox = undefined
    this.#moved.delete(member)
    this.#changed(conv, member)
    return true
  }

  /** Whoever is told elsewhere needs no row here any more. */
  leave(conv: Conversation, member: Member): void {
    member.inbox = undefined
    member.inboxStored = true
    this.#moved.delete(member)
    this.#changed(conv, member)
  }

  /** Everything after `before` is to be read. */
  arrived(conv: Conversation, member: Member, before: Position): void {
    // Also of a row that this store kept from an earlier time.
    this.leave(conv, member)
    if (before < conv.head) this.fellBehind(conv, member, before)
  }

  /** Something came after `before`. */
  fellBehind(conv: Conversation, member: Member, before: Position): void {
    if (member.inbox) {
      member.inbox.activityMs = conv.activityMs
      return
    }
    member.inbox = newInboxRow(before, conv.activityMs)
    this.#changed(conv, member)
  }

  cursorOf(conv: Conversation, member: Member, device: string): Position {
    return cursorOf(member.inbox, device, conv.head)
  }

  /** A device has everything up to `at`, durably. False when that is no news. */
  acknowledged(conv: Conversation, member: Member, device: string, at: Position): boolean {
    if (!member.inbox || !moveCursor(member.inbox, device, at)) return false
    if (!this.#dropIfDone(conv, member)) this.#moved.set(member, conv)
    return true
  }

  /** What all devices of the person have. */
  lowest(conv: Conversation, member: Member): Position {
    return lowestCursor(member.inbox, this.#directory.knownManifest(member.userId), conv.head)
  }

  /** What at least one device has. */
  highest(conv: Conversation, member: Member): Position {
    return highestCursor(member.inbox, conv.head)
  }

  /** Something waits here for somebody who lives elsewhere by now: their new home has to hear of it. */
  waitsForNobody(conv: Conversation): boolean {
    return conv.members.some(({ inbox, region, userId }) => {
      const home = inbox && this.#directory.knownHome(userId)
      return home !== undefined && home.homeRegion !== region
    })
  }

  /** Registers changed, and only `told` of the person's devices were told. */
  unmark(conv: Conversation, member: Member, told: ReadonlySet<string>): void {
    const manifest = this.#directory.knownManifest(member.userId)
    const absent = manifest ? deviceTexts(manifest).filter((device) => !told.has(device)) : []
    if (absent.length === 0) return
    member.inbox ??= newInboxRow(conv.head, conv.activityMs)
    for (const device of absent) member.inbox.unmarked.add(device)
    this.#changed(conv, member)
  }

  isUnmarked(member: Member, device: string): boolean {
    return member.inbox?.unmarked.has(device) ?? false
  }

  /** A device was told the registers as they are. */
  marked(conv: Conversation, member: Member, device: string): void {
    if (member.inbox?.unmarked.delete(device) && !this.#dropIfDone(conv, member)) this.#changed(conv, member)
  }

  /** Now and then: what moved is written too. */
  sweep(): void {
    for (const [member, conv] of this.#moved) if (member.inbox) this.#changed(conv, member)
    this.#moved.clear()
  }

  /** Writes what changed into the commit that is being closed. */
  closing(): void {
    for (const conv of this.#dirty) {
      conv.inboxesDirty = false
      for (const member of conv.members) this.#close(conv, member)
    }
    this.#dirty.clear()
  }

  #close(conv: Conversation, member: Member): void {
    if (!member.inboxDirty) return
    member.inboxDirty = false
    const had = member.inboxStored
    member.inboxStored = member.inbox !== undefined
    if (member.inbox) this.#store.put(inboxPartition(member.userId), conv.id, writeInboxRow(member.inbox))
    else if (had) this.#store.delete(inboxPartition(member.userId), conv.id)
  }

  hasChanges(): boolean {
    return this.#dirty.size > 0
  }

  /** Something of this conversation is not written yet. */
  isChanging(conv: Conversation): boolean {
    return conv.inboxesDirty || conv.members.some((member) => this.#moved.has(member))
  }

  /** Conversations of a person whose rows are not in the store yet. */
  unwritten(user: UserId): ConvId[] {
    return [...this.#dirty].filter((conv) => conv.members.some((m) => m.userId === user)).map((conv) => conv.id)
  }
}
