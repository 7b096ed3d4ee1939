// The inboxes of this region's people: a party of its own beside the conversations, though it may live on the same node.
// A conversation tells it "there is something after this place"; devices tell it how far they have come; and it tells the
// conversation what its reader has, so that entries can go. Only ids and places cross between the two.
import type { ConvId, Position, UserId } from '#protocol'
import type { Store } from '../store/types.ts'
import { inboxPartition } from './conversation-rows.ts'
import {
  cursorOf,
  deviceTexts,
  highestCursor,
  type InboxRow,
  isDone,
  lowestCursor,
  moveCursor,
  newInboxRow,
  readInboxRow,
  writeInboxRow,
} from './inbox.ts'
import type { DirectoryPort } from './ports.ts'

/** Where a log ends, and when that came. */
export type Head = { readonly id: ConvId; readonly head: Position; readonly activityMs: number }

export class Inboxes {
  readonly #store: Store
  readonly #directory: Pick<DirectoryPort, 'knownManifest'>
  /** Rows of the conversations that are in use; none while every device has everything. */
  readonly #rows = new Map<ConvId, Map<UserId, InboxRow>>()
  /** Changed since the last commit was closed. */
  readonly #dirty = new Map<ConvId, Set<UserId>>()

  constructor(store: Store, directory: Pick<DirectoryPort, 'knownManifest'>) {
    this.#store = store
    this.#directory = directory
  }

  /** Before a conversation is used: the row of a member who lives here. */
  async load(user: UserId, conv: ConvId): Promise<void> {
    const row = await this.#store.get(inboxPartition(user), conv)
    if (row) this.#put(user, conv, readInboxRow(row))
  }

  /** A conversation goes out of use; its rows are in the store. */
  drop(conv: ConvId): void {
    this.#rows.delete(conv)
  }

  #row(user: UserId, conv: ConvId): InboxRow | undefined {
    return this.#rows.get(conv)?.get(user)
  }

  #put(user: UserId, conv: ConvId, row: InboxRow): void {
    const rows = this.#rows.get(conv)
    if (rows) rows.set(user, row)
    else this.#rows.set(conv, new Map([[user, row]]))
  }

  #changed(user: UserId, conv: ConvId): void {
    const users = this.#dirty.get(conv)
    if (users) users.add(user)
    else this.#dirty.set(conv, new Set([user]))
  }

  #dropIfDone(user: UserId, { id, head }: Head, row: InboxRow): void {
    if (isDone(row, this.#directory.knownManifest(user), head)) this.#rows.get(id)?.delete(user)
    this.#changed(user, id)
  }

  /** Something came after `before`. */
  fellBehind(user: UserId, { id, activityMs }: Head, before: Position): void {
    const row = this.#row(user, id)
    if (row) row.activityMs = activityMs
    else this.#put(user, id, newInboxRow(before, activityMs))
    this.#changed(user, id)
  }

  cursorOf(user: UserId, conv: Head, device: string): Position {
    return cursorOf(this.#row(user, conv.id), device, conv.head)
  }

  /** A device has everything up to `at`, durably. False when that is no news. */
  acknowledged(user: UserId, conv: Head, device: string, at: Position): boolean {
    const row = this.#row(user, conv.id)
    if (!row || !moveCursor(row, device, at)) return false
    this.#dropIfDone(user, conv, row)
    return true
  }

  /** What all devices of the person have. */
  lowest(user: UserId, conv: Head): Position {
    return lowestCursor(this.#row(user, conv.id), this.#directory.knownManifest(user), conv.head)
  }

  /** What at least one device has. */
  highest(user: UserId, conv: Head): Position {
    return highestCursor(this.#row(user, conv.id), conv.head)
  }

  /** Registers changed, and only `told` of the person's devices were told. */
  unmark(user: UserId, conv: Head, told: ReadonlySet<string>): void {
    const manifest = this.#directory.knownManifest(user)
    const absent = manifest ? deviceTexts(manifest).filter((device) => !told.has(device)) : []
    if (absent.length === 0) return
    const row = this.#row(user, conv.id) ?? newInboxRow(conv.head, conv.activityMs)
    for (const device of absent) row.unmarked.add(device)
    this.#put(user, conv.id, row)
    this.#changed(user, conv.id)
  }

  isUnmarked(user: UserId, conv: ConvId, device: string): boolean {
    return this.#row(user, conv)?.unmarked.has(device) ?? false
  }

  /** A device was told the registers as they are. */
  marked(user: UserId, conv: Head, device: string): void {
    const row = this.#row(user, conv.id)
    if (row?.unmarked.delete(device)) this.#dropIfDone(user, conv, row)
  }

  /** Writes what changed into the commit that is being closed. */
  closing(): void {
    for (const [conv, users] of this.#dirty) {
      for (const user of users) {
        const row = this.#row(user, conv)
        if (row) this.#store.put(inboxPartition(user), conv, writeInboxRow(row))
        else this.#store.delete(inboxPartition(user), conv)
      }
    }
    this.#dirty.clear()
  }

  hasChanges(): boolean {
    return this.#dirty.size > 0
  }

  isChanging(conv: ConvId): boolean {
    return this.#dirty.has(conv)
  }

  /** Conversations of a person whose rows are not in the store yet. */
  unwritten(user: UserId): ConvId[] {
    return [...this.#dirty].filter(([, users]) => users.has(user)).map(([conv]) => conv)
  }
}
