// Where key material lives. libsignal reads and writes in the middle of an operation; a ratchet step must become
// durable together with the message it belongs to. So the port is synchronous and knows nothing of transactions:
// callers hand in a staged overlay, run the operation, and put `changes()` into one transaction with the message.

export type KeyTable =
  | 'session' // libsignal session records, by peer device
  | 'prekey' // private halves of one-time EC prekeys, by id
  | 'kyber' // of one-time Kyber prekeys
  | 'signed' // of signed EC prekeys
  | 'last-resort' // of last-resort Kyber prekeys
  | 'used' // set-ups seen under a last-resort key
  | 'prekey-state' // counters and ages

/** What becomes bytes only when they are needed: a session moves with every message, and packing it is much of the work. */
export type Unpacked = { pack(): Uint8Array }

/** Reads see every earlier write of the same storage. Values are never changed in place by either side. */
export type KeyStorage = {
  get(table: KeyTable, key: string): Uint8Array | undefined
  /** The value as it was set, where it has not become bytes yet. */
  unpacked(table: KeyTable, key: string): Unpacked | undefined
  /** `undefined` deletes. */
  set(table: KeyTable, key: string, value: Uint8Array | Unpacked | undefined): void
}

export type KeyChange = { readonly table: KeyTable; readonly key: string; readonly value: Uint8Array | undefined }

export type StagedKeyStorage = {
  readonly storage: KeyStorage
  /** What was written since the start or the last `reset`, one change a key. */
  changes(): KeyChange[]
  /** Writes everything to the storage below, as it is. */
  passOn(): void
  /** Forgets what was written: because it was committed below, or because it must not be. */
  reset(): void
}

type Staged = { readonly table: KeyTable; readonly key: string; readonly value: Uint8Array | Unpacked | undefined }

const nameOf = (table: KeyTable, key: string): string => `${table}\0${key}`

export function packed(value: Uint8Array | Unpacked): Uint8Array {
  return value instanceof Uint8Array ? value : value.pack()
}

export function memoryKeyStorage(): KeyStorage {
  const rows = new Map<string, Uint8Array>()
  return {
    get: (table, key) => rows.get(nameOf(table, key)),
    unpacked: () => undefined,
    set(table, key, value) {
      if (value) rows.set(nameOf(table, key), packed(value).slice())
      else rows.delete(nameOf(table, key))
    },
  }
}

/** Reads fall through to `base`, writes are kept here until the caller takes them. */
export function stagedKeyStorage(base: KeyStorage): StagedKeyStorage {
  const tables = new Map<KeyTable, Map<string, Staged>>()
  const all = (): Staged[] => [...tables.values()].flatMap((staged) => [...staged.values()])
  return {
    storage: {
      get(table, key) {
        const change = tables.get(table)?.get(key)
        return change ? change.value && packed(change.value) : base.get(table, key)
      },
      unpacked(table, key) {
        const change = tables.get(table)?.get(key)
        if (!change) return base.unpacked(table, key)
        return change.value instanceof Uint8Array ? undefined : change.value
      },
      set(table, key, value) {
        let staged = tables.get(table)
        if (!staged) {
          staged = new Map()
          tables.set(table, staged)
        }
        staged.set(key, { table, key, value: value instanceof Uint8Array ? value.slice() : value })
      },
    },
    changes: () => all().map((change) => ({ ...change, value: change.value && packed(change.value) })),
    passOn() {
      for (const { table, key, value } of all()) base.set(table, key, value)
      tables.clear()
    },
    reset: () => tables.clear(),
  }
}

export function applyKeyChanges(storage: KeyStorage, changes: readonly KeyChange[]): void {
  for (const { table, key, value } of changes) storage.set(table, key, value)
}
