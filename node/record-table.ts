// The newest record that this node has accepted for each id, on disk until it expires: the floor below which nothing
// is believed. A DHT peer can answer with a record that was valid last month, and so can a disk that this node asks
// through somebody else; so the floor is kept here, not asked for, and it outlives a restart.
//
// All floors are in memory (a few numbers each), so that every decision is made at once; the records themselves are on
// disk and in a cache. Rows are written behind the decision; `flushed` and the promise of `offer` tell when.
import { LRUCache } from 'lru-cache'
import type { Clock } from '#protocol'
import {
  FLOOR_SWEEP_MS,
  FLOORS_MAX,
  KNOWN_HOMES_MAX,
  KNOWN_REGIONS_MAX,
  STORAGE_PAGE,
  STORAGE_PARALLEL,
} from './limits.ts'
import { type Entry, openEntry, type Standing, standingOf } from './record-kinds.ts'
import type { NodeEvents, NodeStorage, RecordKind } from './types.ts'

const PREFIX = 'record/'
const HASH_BYTES = 32
const ROW_HEADER_BYTES = 4 + 4 + 8 + HASH_BYTES

/** `newer`: taken. `same`: had it. `older`, `conflict` (another one of this version), `full`: not taken. */
export type Offered = 'newer' | 'same' | 'older' | 'conflict' | 'full'

export type RecordTable = {
  /** Decides at once. `stranger`: refused when there is no room for another id, and not kept in memory for nobody. */
  offer(entry: Entry, from: 'self' | 'stranger'): Offered
  /** From memory. */
  known(kind: RecordKind, id: string): Entry | undefined
  /** From memory or disk. */
  load(kind: RecordKind, id: string): Promise<Entry | undefined>
  /** As it came, for whoever verifies it; not looked at and not remembered. */
  bytes(kind: RecordKind, id: string): Promise<Uint8Array | undefined>
  floor(kind: RecordKind, id: string): Standing | undefined
  /** Ids of all records of a kind that have not expired. */
  ids(kind: RecordKind): string[]
  /** How many records this node keeps alive itself: those take nobody else's room. */
  keeping(count: () => number): void
  /** Calls back for each record that was taken as newer. */
  watch(callback: (entry: Entry) => void): void
  /** Resolves when everything offered so far is on disk; rejects when it could not be written. */
  flushed(): Promise<void>
  close(): void
}

function rowOf(entry: Entry): Uint8Array {
  const row = Buffer.alloc(ROW_HEADER_BYTES + entry.bytes.length)
  row.writeUInt32BE(entry.rootEpoch, 0)
  row.writeUInt32BE(entry.version, 4)
  row.writeBigUInt64BE(BigInt(entry.notAfterMs), 8)
  row.write(entry.hash, 16, 'latin1')
  row.set(entry.bytes, ROW_HEADER_BYTES)
  return new Uint8Array(row.buffer, row.byteOffset, row.length)
}

function floorOfRow(row: Uint8Array): Standing {
  const view = Buffer.from(row.buffer, row.byteOffset, row.length)
  return {
    rootEpoch: view.readUInt32BE(0),
    version: view.readUInt32BE(4),
    notAfterMs: Number(view.readBigUInt64BE(8)),
    hash: view.toString('latin1', 16, 16 + HASH_BYTES),
  }
}

async function loadFloors(storage: NodeStorage, nowMs: number): Promise<Map<string, Standing>> {
  const floors = new Map<string, Standing>()
  let after: string | undefined
  for (;;) {
    const page = await storage.range(PREFIX, { after, limit: STORAGE_PAGE })
    for (const [key, row] of page) {
      const floor = floorOfRow(row)
      if (floor.notAfterMs > nowMs) floors.set(key, floor)
      else await storage.delete(key)
    }
    if (page.length < STORAGE_PAGE) return floors
    after = page.at(-1)![0]
  }
}

export async function openRecordTable(storage: NodeStorage, clock: Clock, events: NodeEvents): Promise<RecordTable> {
  const floors = await loadFloors(storage, clock.now())
  const cache = {
    home: new LRUCache<string, Entry>({ maxSize: KNOWN_HOMES_MAX, sizeCalculation: () => 1 }),
    region: new LRUCache<string, Entry>({ max: KNOWN_REGIONS_MAX }),
  }
  const writer = createWriter(storage, events)
  const watchers: ((entry: Entry) => void)[] = []
  let own = (): number => 0
  const keyOf = (kind: RecordKind, id: string): string => `${PREFIX}${kind}/${id}`

  const sweep = (): void => {
    const now = clock.now()
    for (const [key, floor] of floors) {
      if (floor.notAfterMs > now) continue
      floors.delete(key)
      writer.put(key, undefined)
    }
    timer = clock.after(FLOOR_SWEEP_MS, sweep)
  }
  let timer = clock.after(FLOOR_SWEEP_MS, sweep)

  const alive = (entry: Entry | undefined): Entry | undefined =>
    entry && entry.notAfterMs > clock.now() ? entry : undefined

  const table: RecordTable = {
    offer(entry, from) {
      const key = keyOf(entry.kind, entry.id)
      const floor = floors.get(key)
      const order = floor ? standingOf(entry, floor) : 'newer'
      const kept = cache[entry.kind]
      // Of a region, what it has revoked has to be known the moment somebody comes with it.
      const isUsed = from === 'self' || entry.kind === 'region' || kept.has(entry.id)
      if (order === 'same' && isUsed) kept.set(entry.id, entry)
      if (order !== 'newer') return order
      if (!floor && from === 'stranger' && floors.size - own() >= FLOORS_MAX) return 'full'
      floors.set(key, {
        rootEpoch: entry.rootEpoch,
        version: entry.version,
        notAfterMs: entry.notAfterMs,
        hash: entry.hash,
      })
      if (isUsed) kept.set(entry.id, entry)
      writer.put(key, rowOf(entry))
      for (const watcher of watchers) watcher(entry)
      return 'newer'
    },
    known: (kind, id) => alive(cache[kind].get(id)),
    async load(kind, id) {
      const key = keyOf(kind, id)
      for (;;) {
        const cached = alive(cache[kind].get(id))
        if (cached) return cached
        const floor = floors.get(key)
        if (!floor) return undefined
        const row = writer.pending(key) ?? (await storage.get(key))
        // A newer one may have come while the disk was asked.
        if (floors.get(key) !== floor || alive(cache[kind].get(id))) continue
        const entry = row && alive(openKept(kind, row.subarray(ROW_HEADER_BYTES), clock.now()))
        if (entry) cache[kind].set(id, entry)
        return entry
      }
    },
    async bytes(kind, id) {
      const key = keyOf(kind, id)
      const floor = floors.get(key)
      if (!floor || floor.notAfterMs <= clock.now()) return undefined
      const cached = cache[kind].peek(id)
      if (cached) return cached.bytes
      return (writer.pending(key) ?? (await storage.get(key)))?.subarray(ROW_HEADER_BYTES)
    },
    floor: (kind, id) => floors.get(keyOf(kind, id)),
    ids: (kind) => {
      const prefix = keyOf(kind, '')
      const now = clock.now()
      return [...floors]
        .filter(([key, floor]) => key.startsWith(prefix) && floor.notAfterMs > now)
        .map(([key]) => key.slice(prefix.length))
    },
    keeping: (count) => {
      own = count
    },
    watch: (callback) => {
      watchers.push(callback)
    },
    flushed: () => writer.flushed(),
    close: () => timer.cancel(),
  }
  const regions = table.ids('region').slice(0, KNOWN_REGIONS_MAX)
  for (let i = 0; i < regions.length; i += STORAGE_PARALLEL)
    await Promise.all(regions.slice(i, i + STORAGE_PARALLEL).map((id) => table.load('region', id)))
  return table
}

function openKept(kind: RecordKind, bytes: Uint8Array, nowMs: number): Entry | undefined {
  try {
    return openEntry(kind, bytes, nowMs)
  } catch {
    return undefined
  }
}

type Writer = {
  put(key: string, row: Uint8Array | undefined): void
  pending(key: string): Uint8Array | undefined
  flushed(): Promise<void>
}

/** Writes in rounds: what comes while one is written is the next, the newest value of each key only. */
function createWriter(storage: NodeStorage, events: NodeEvents): Writer {
  let dirty = new Map<string, Uint8Array | undefined>()
  let writing = new Map<string, Uint8Array | undefined>()
  /** The round that is being written, and the one that takes what is dirty now. */
  let current: Promise<void> | undefined
  let next: Promise<void> | undefined

  const round = async (): Promise<void> => {
    writing = dirty
    dirty = new Map()
    const rows = [...writing]
    try {
      for (let i = 0; i < rows.length; i += STORAGE_PARALLEL) {
        await Promise.all(
          rows.slice(i, i + STORAGE_PARALLEL).map(([key, row]) => (row ? storage.put(key, row) : storage.delete(key))),
        )
      }
    } catch (error) {
      // Whoever asks next tries again.
      dirty = new Map([...writing, ...dirty])
      events.storageFailed(error)
      throw error
    } finally {
      writing = new Map()
      current = undefined
    }
  }
  const nextRound = (): Promise<void> => {
    const before = current?.catch(() => undefined) ?? Promise.resolve()
    next ??= before.then(() => {
      next = undefined
      current = round()
      return current
    })
    return next
  }
  return {
    put(key, row) {
      dirty.set(key, row)
      // Whoever needs to know asks `flushed`; the failure has been reported.
      nextRound().catch(() => undefined)
    },
    pending: (key) => dirty.get(key) ?? writing.get(key),
    // Not what comes later: while records keep coming there is always some of that.
    flushed: () => (dirty.size > 0 ? nextRound() : (current ?? Promise.resolve())),
  }
}
