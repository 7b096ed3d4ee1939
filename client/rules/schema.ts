// What a device keeps, as tables. One description serves the encrypted database, the one in memory and their contract.
import type { ConvId, Position, UserId } from '#protocol'
import type { SlotState } from './slot.ts'

/** Settings, keys and registers of the device itself: packed bytes by name. */
export type SelfRow = { readonly name: string; readonly value: Uint8Array }

export type ContactRow = {
  readonly user: UserId
  /** What the owner of this profile calls the person; '' when nothing was said. */
  readonly name: string
  /** Added, or answered: not a stranger any more. */
  readonly accepted: boolean
  /** The 60 digits were compared. */
  readonly verified: boolean
  /** HomeRecord, serialised; the newest that was seen, which is the floor for every later one. */
  readonly home: Uint8Array | undefined
  /** SignedRecord of the manifest, serialised; a floor like `home`. */
  readonly manifest: Uint8Array | undefined
}

/** Every device that a verified manifest of the person has named; `gone` = the newest does not. */
export type DeviceRow = {
  readonly user: UserId
  /** `number.epoch.version`: (device, registration). */
  readonly device: string
  readonly identityKey: Uint8Array
  readonly signalRegistrationId: number
  readonly gone: boolean
}

export type ConversationRow = {
  readonly conv: ConvId
  readonly genesis: Uint8Array
  /** Everything up to here has been taken, durably, with the hash of the chain at that place. */
  readonly cursor: Position
  readonly hash: Uint8Array
  /** The last k that this device gave out. */
  readonly lastK: number
  /** Ratchet steps burnt by encrypting again since the sessions were set up. */
  readonly burnt: number
  /** The state key of this device's own that waits for a number, and the k of the content that carries it (0: none). */
  readonly stateKey: Uint8Array | undefined
  readonly stateKeyK: number
  /** How far the others' home says that they have everything, how far they say that they have read, how far oneself. */
  readonly delivered: Position
  readonly peerRead: Position
  readonly ownRead: Position
  /** `ownRead` that a home has surely heard. */
  readonly ownReadTold: Position
  /** Entries asked for again and not answered yet. */
  readonly asked: number
}

export type OutboxRow = {
  readonly conv: ConvId
  readonly k: number
  readonly state: SlotState
  readonly rev: number
  readonly skipRev: number
  readonly stands: 'content' | 'skip' | undefined
  readonly tag: Uint8Array
  readonly skipTag: Uint8Array | undefined
  readonly at: Position
}

/** Submission of a content, serialised, with conv 0: the bytes that are sent, however often. None: it waits as plaintext. */
export type SealedRow = { readonly conv: ConvId; readonly k: number; readonly submission: Uint8Array }

export const MESSAGE_KINDS = ['text', 'data', 'retry', 'again', 'unreadable', 'gone'] as const
export type MessageKind = (typeof MESSAGE_KINDS)[number]
/** `unconfirmed`: its place was cut off when the host moved, and it does not stand in the new epoch yet. */
export type MessageStatus = 'waiting' | 'held' | 'sequenced' | 'unconfirmed' | 'cancelled' | 'failed'

export type MessageRow = {
  readonly conv: ConvId
  /** `member.number.epoch.version`: who wrote it. Together with k the identity of the message. */
  readonly author: string
  readonly k: number
  /** NOWHERE until it has a number. */
  readonly at: Position
  readonly kind: MessageKind
  /** text: UTF-8; data: as it is; retry, again: what they refer to, packed. */
  readonly body: Uint8Array
  readonly status: MessageStatus
  /** Why it failed, '' otherwise. */
  readonly code: string
  /** The host's time once it has a number, the own clock before. */
  readonly timeMs: number
  /** How often the author has answered for it. */
  readonly answered: number
}

/** The log as it came: with these headers anybody can compute the heads again. */
export type EntryRow = { readonly conv: ConvId; readonly at: Position; readonly header: Uint8Array }

/** SignedRecord of a host register, serialised: what opened an epoch of this conversation. */
export type HostRow = { readonly conv: ConvId; readonly epoch: number; readonly register: Uint8Array }

/** What was taken from a log and then cut off: it comes again, and is the same if its tag is. */
export type VoidedRow = {
  readonly conv: ConvId
  readonly author: string
  readonly k: number
  readonly tag: Uint8Array
  /** It has not come again yet. */
  readonly waits: boolean
  /** A reader of this profile had come past it: it is not handed out a second time. */
  readonly wasRead: boolean
}

export type UnreadRow = {
  readonly conv: ConvId
  readonly at: Position
  readonly author: string
  readonly k: number
  /** The ciphertext as it came; empty when there was none for this device. */
  readonly part: Uint8Array
  /** unknown_device: no manifest seen so far names the author; undecryptable: asked for again. */
  readonly reason: 'unknown_device' | 'undecryptable'
  readonly asks: number
}

export type StateKeyRow = { readonly conv: ConvId; readonly at: Position; readonly key: Uint8Array }
export type JobRow = { readonly name: string; readonly conv: ConvId; readonly line: number; readonly k: number }
/** Private key material of the cipher, by the cipher's own names. */
export type KeyRow = { readonly kind: string; readonly key: string; readonly value: Uint8Array }

export type Tables = {
  self: SelfRow
  contacts: ContactRow
  devices: DeviceRow
  conversations: ConversationRow
  outbox: OutboxRow
  sealed: SealedRow
  messages: MessageRow
  entries: EntryRow
  hosts: HostRow
  voided: VoidedRow
  unread: UnreadRow
  stateKeys: StateKeyRow
  jobs: JobRow
  keys: KeyRow
}

export type TableName = keyof Tables
/** `conversation`: the id of one, in tables with rows for each message; a database may write it shorter. */
export type ColumnType = 'conversation' | 'text' | 'integer' | 'boolean' | 'blob'
export type TableShape<Row> = {
  readonly columns: { readonly [C in keyof Row]-?: ColumnType }
  readonly key: readonly (keyof Row & string)[]
  readonly indexes: { readonly [name: string]: readonly (keyof Row & string)[] }
}

export const schema: { readonly [T in TableName]: TableShape<Tables[T]> } = {
  self: { columns: { name: 'text', value: 'blob' }, key: ['name'], indexes: {} },
  contacts: {
    columns: { user: 'text', name: 'text', accepted: 'boolean', verified: 'boolean', home: 'blob', manifest: 'blob' },
    key: ['user'],
    indexes: {},
  },
  devices: {
    columns: { user: 'text', device: 'text', identityKey: 'blob', signalRegistrationId: 'integer', gone: 'boolean' },
    key: ['user', 'device'],
    indexes: {},
  },
  conversations: {
    columns: {
      conv: 'text',
      genesis: 'blob',
      cursor: 'integer',
      hash: 'blob',
      lastK: 'integer',
      burnt: 'integer',
      stateKey: 'blob',
      stateKeyK: 'integer',
      delivered: 'integer',
      peerRead: 'integer',
      ownRead: 'integer',
      ownReadTold: 'integer',
      asked: 'integer',
    },
    key: ['conv'],
    indexes: {},
  },
  outbox: {
    columns: {
      conv: 'conversation',
      k: 'integer',
      state: 'text',
      rev: 'integer',
      skipRev: 'integer',
      stands: 'text',
      tag: 'blob',
      skipTag: 'blob',
      at: 'integer',
    },
    key: ['conv', 'k'],
    indexes: {},
  },
  sealed: { columns: { conv: 'conversation', k: 'integer', submission: 'blob' }, key: ['conv', 'k'], indexes: {} },
  messages: {
    columns: {
      conv: 'conversation',
      author: 'text',
      k: 'integer',
      at: 'integer',
      kind: 'text',
      body: 'blob',
      status: 'text',
      code: 'text',
      timeMs: 'integer',
      answered: 'integer',
    },
    key: ['conv', 'author', 'k'],
    indexes: { place: ['conv', 'at', 'author', 'k'] },
  },
  entries: { columns: { conv: 'conversation', at: 'integer', header: 'blob' }, key: ['conv', 'at'], indexes: {} },
  hosts: { columns: { conv: 'text', epoch: 'integer', register: 'blob' }, key: ['conv', 'epoch'], indexes: {} },
  voided: {
    columns: { conv: 'text', author: 'text', k: 'integer', tag: 'blob', waits: 'boolean', wasRead: 'boolean' },
    key: ['conv', 'author', 'k'],
    indexes: {},
  },
  unread: {
    columns: {
      conv: 'text',
      at: 'integer',
      author: 'text',
      k: 'integer',
      part: 'blob',
      reason: 'text',
      asks: 'integer',
    },
    key: ['conv', 'at'],
    indexes: { author: ['conv', 'author', 'k'] },
  },
  stateKeys: { columns: { conv: 'text', at: 'integer', key: 'blob' }, key: ['conv', 'at'], indexes: {} },
  jobs: { columns: { name: 'text', conv: 'text', line: 'integer', k: 'integer' }, key: ['name'], indexes: {} },
  keys: { columns: { kind: 'text', key: 'text', value: 'blob' }, key: ['kind', 'key'], indexes: {} },
}

export type KeyValue = string | number

export type ScanOptions = {
  /** The primary key when undefined. */
  readonly index: string | undefined
  /** Values of the first columns of the key or index: rows that have exactly these. */
  readonly prefix: readonly KeyValue[]
  /** Inclusive bound for the next column: lowest when ascending, highest when `reverse`. */
  readonly from: KeyValue | undefined
  readonly reverse: boolean
  readonly limit: number
}

export type DbReader = {
  get<T extends TableName>(table: T, key: readonly KeyValue[]): Tables[T] | undefined
  /** In the order of the key or index. */
  scan<T extends TableName>(table: T, options: ScanOptions): Tables[T][]
}

export type DbWriter = DbReader & {
  put<T extends TableName>(table: T, row: Tables[T]): void
  delete<T extends TableName>(table: T, key: readonly KeyValue[]): void
}

/** What a transaction is given. */
export type DbTransaction = DbWriter & {
  /** A row that stands there as `was`: what is the same value in both need not be written again. */
  replace<T extends TableName>(table: T, was: Tables[T], row: Tables[T]): void
  /** Every row whose key begins with `prefix` and whose next column is a number from `from` to `to`, both included. */
  deleteRun<T extends TableName>(table: T, prefix: readonly KeyValue[], from: number, to: number): void
}

/** Synchronous, one owner. What `change` wrote is durable when `transaction` returns, and nothing of it when it throws. */
export type DeviceDb = DbReader & {
  transaction<R>(change: (tx: DbTransaction) => R): R
}

/** Every row whose key begins with `prefix`, ascending. */
export function all<T extends TableName>(db: DbReader, table: T, ...prefix: KeyValue[]): Tables[T][] {
  const limit = Number.MAX_SAFE_INTEGER
  return db.scan(table, { index: undefined, prefix, from: undefined, reverse: false, limit })
}
