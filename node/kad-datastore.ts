// What kad-dht sees as its database: records live in the record table, which decides by version floors, and what it
// keeps about content providers (which nobody here asks for, and anybody could fill) is dropped.
import { Record as KadRecord } from '@libp2p/kad-dht'
import { base32nopad } from '@scure/base'
import type { Libp2pInit } from 'libp2p'
import { type Clock, ParleyError } from '#protocol'
import type { KadCallers } from './kad-callers.ts'
import type { Entry } from './record-kinds.ts'
import { idBytes, idText as idTextOf } from './record-kinds.ts'
import type { RecordTable } from './record-table.ts'
import type { Admission, NodeEvents, RecordKind } from './types.ts'

export type Datastore = NonNullable<Libp2pInit['datastore']>

export const KAD_PREFIX = '/parley-dht'
const RECORDS = `${KAD_PREFIX}/record/`
const ID_BYTES = 32

export function kadKey(kind: RecordKind, id: string): Uint8Array {
  return new Uint8Array(Buffer.concat([Buffer.from(`/${kind}/`), idBytes(kind, id)]))
}

export function readKadKey(key: Uint8Array): { kind: RecordKind; id: Uint8Array } {
  for (const kind of ['home', 'region'] as const) {
    const prefix = Buffer.from(`/${kind}/`)
    if (key.length === prefix.length + ID_BYTES && Buffer.compare(key.subarray(0, prefix.length), prefix) === 0) {
      return { kind, id: key.subarray(prefix.length) }
    }
  }
  throw new ParleyError('malformed', 'no such key in this directory')
}

export type KadStoreOptions = {
  readonly table: RecordTable
  readonly clock: Clock
  readonly admission: Admission
  readonly events: NodeEvents
  /** Verifies that the value is a record for exactly this key. */
  open(kind: RecordKind, id: Uint8Array, bytes: Uint8Array): Entry
}

/** `base` keeps everything else, in memory. */
export function kadDatastore(
  base: Datastore,
  options: KadStoreOptions,
  { ensureMayGet }: Pick<KadCallers, 'ensureMayGet'>,
): Datastore {
  const { table, clock } = options

  const put = async (value: Uint8Array): Promise<void> => {
    const record = KadRecord.deserialize(value)
    const { kind, id } = readKadKey(record.key)
    const entry = options.open(kind, id, record.value)
    const voucher = entry.kind === 'home' ? entry.home.homeRegion : entry.region.regionId
    const outcome = options.admission.admitsRecordsOf(voucher) ? table.offer(entry, 'stranger') : 'not_admitted'
    if (outcome === 'newer' || outcome === 'same') return table.flushed()
    const code = outcome === 'older' ? 'too_old' : outcome === 'full' ? 'no_room' : outcome
    options.events.recordRefused(kind, code)
    throw new ParleyError(code, `record not stored: ${outcome}`)
  }

  const get = async (name: string): Promise<Uint8Array> => {
    const key = base32nopad.decode(name.slice(RECORDS.length).toUpperCase())
    const { kind, id } = readKadKey(key)
    ensureMayGet()
    const bytes = await table.bytes(kind, idTextOf(kind, id))
    // Received "now": the record's own not-after says how long it is good, not when it came here.
    if (bytes) return new KadRecord(key, bytes, new Date(clock.now())).serialize()
    const missing = new Error('no such record')
    missing.name = 'NotFoundError'
    throw missing
  }

  const own: Partial<Datastore> = {
    async put(key, value) {
      const name = key.toString()
      if (name.startsWith(RECORDS)) await put(value as Uint8Array)
      else if (!name.startsWith(KAD_PREFIX)) await base.put(key, value)
      return key
    },
    get: async (key, options) => (key.toString().startsWith(RECORDS) ? get(key.toString()) : base.get(key, options)),
    async delete(key, options) {
      if (!key.toString().startsWith(KAD_PREFIX)) await base.delete(key, options)
    },
  }
  return new Proxy(base, {
    get(target, name) {
      const mine = own[name as keyof Datastore]
      if (mine) return mine
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
