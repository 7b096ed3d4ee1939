// What a checker sees of a network, and what it is.
import type { ConversationRow, DeviceEvent, EntryRow, MessageRow, OutboxRow } from '#client/rules'
import type { ConvId, RegionId, RelayItem, UserId } from '#protocol'

/** What a person did. */
export type Said = {
  readonly by: UserId
  readonly to: UserId
  readonly conv: ConvId
  readonly k: number
  readonly text: string
}

/** Something that a home lets out to a device: one verdict, or one entry. `at` is 0 where there is none. */
export type Told = {
  readonly what: 'entry' | 'sequenced' | 'safe' | 'held' | 'past' | 'behind' | 'wait' | 'moved' | 'stale' | 'final'
  /** The region that says it. */
  readonly home: RegionId
  readonly user: UserId
  readonly conv: ConvId
  readonly k: number
  readonly at: number
  readonly tag: string
  /** Of an entry: who wrote it. */
  readonly member?: number
  /** When another process owned the disk by then: how much the disk had kept when that one took over. */
  readonly deposedAt: number | undefined
}

/** Something that a device lets out to its home. */
export type Sent =
  | {
      readonly what: 'submission'
      readonly user: UserId
      readonly conv: ConvId
      readonly k: number
      readonly rev: number
      readonly kind: number
      readonly tag: string
      readonly body: string
    }
  | {
      readonly what: 'cursor'
      readonly user: UserId
      readonly conv: ConvId
      readonly at: number
      readonly rewind: boolean
    }

/** Something that a region lets out to another. */
export type Between = {
  readonly from: RegionId
  readonly to: RegionId
  readonly conv: ConvId
  readonly item: RelayItem
  /** As in Told. */
  readonly deposedAt: number | undefined
}

/** How a conversation moved, as a home told a device. */
export type Moved = {
  readonly conv: ConvId
  readonly epoch: number
  readonly host: RegionId
  /** What stands in epochs below and beyond this place is void. */
  readonly cut: number
  readonly cutHash: Uint8Array
  readonly payload: Uint8Array
}

export type DeviceState = {
  readonly user: UserId
  readonly name: string
  readonly region: RegionId
  /** gone: it was destroyed, or its profile was an old copy: what it shows says nothing. */
  readonly fate: 'alive' | 'gone'
  /** Where it said that its home has no longer what comes next: an old copy, of what was taken after it was made. */
  readonly expired: ReadonlySet<ConvId>
  /** How often it signed in. */
  readonly sessions: number
  readonly messages: readonly MessageRow[]
  readonly entries: readonly EntryRow[]
  readonly outbox: readonly OutboxRow[]
  readonly conversations: readonly ConversationRow[]
}

export type RelayState = {
  readonly region: RegionId
  readonly name: string
  readonly rows: ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>
  readonly records: number
  /** Undefined when it is down. */
  readonly memory: { readonly conversations: number; readonly windowItems: number; readonly keys: number } | undefined
}

export type Final = { readonly devices: readonly DeviceState[]; readonly relays: readonly RelayState[] }

/** What a checker may ask about the world while it runs. */
export type Outside = {
  readonly nameOf: (id: UserId | RegionId) => string
  /** Everywhere somebody has lived, the home of the first generation first. */
  readonly homesOf: (user: UserId) => readonly RegionId[]
  /** How the conversation moved, as far as any device was told; ascending epochs. */
  readonly movesOf: (conv: ConvId) => readonly Moved[]
  /** By member number. */
  readonly membersOf: (conv: ConvId) => readonly UserId[]
  readonly bytesOf: (conv: ConvId) => Uint8Array
  /**
   * Whether the disk of the region has ever surely kept a key of the conversation: `e…` an entry, `r…` a held
   * submission, `k<member> <k>` the entry of an author's k. `before`: among the first so many keys that it kept.
   */
  readonly kept: (region: RegionId, conv: ConvId, key: string, before?: number) => boolean
  /** What the database of a person's device holds now, durably. */
  readonly cursorOf: (user: UserId, conv: ConvId) => number
  readonly slotOf: (user: UserId, conv: ConvId, k: number) => OutboxRow | undefined
  /** Says that something was reached. */
  readonly count: (what: string) => void
}

export type Checker = {
  readonly id: string
  readonly explain: string
  said(said: Said): void
  cancelled(user: UserId, conv: ConvId, k: number): void
  observe(user: UserId, event: DeviceEvent): void
  /** Something leaves a home. */
  told(told: Told): void
  /** A verdict has come to a device. */
  heard(told: Told): void
  sent(sent: Sent): void
  between(between: Between): void
  /** After quiescence: what is wrong, in words. Also says what was found on the way. */
  check(final: Final): string[]
}

export const silent: Omit<Checker, 'id' | 'explain'> = {
  said: () => {},
  cancelled: () => {},
  observe: () => {},
  told: () => {},
  heard: () => {},
  sent: () => {},
  between: () => {},
  check: () => [],
}
