// Where people and regions live: verified records from memory, disk and the DHT, none older than one seen before.
import { LRUCache } from 'lru-cache'
import {
  type Clock,
  type Home,
  openHomeRecord,
  openRegionRecord,
  ParleyError,
  type Region,
  type RegionId,
  type UserId,
} from '#protocol'
import type { Dht } from './dht.ts'
import { LOOKUPS_MAX, NEGATIVE_MAX, NEGATIVE_MS } from './limits.ts'
import type { RegionBook } from './link-network.ts'
import type { Publisher } from './publisher.ts'
import { type Entry, homeEntry, regionEntry } from './record-kinds.ts'
import type { RecordTable } from './record-table.ts'
import type { Directory, NodeEvents, RecordKind } from './types.ts'

export type DirectoryOptions = {
  readonly table: RecordTable
  readonly dht: Dht
  readonly publisher: Publisher
  readonly clock: Clock
  readonly events: NodeEvents
}

const asHome = (entry: Entry | undefined): Home | undefined => (entry?.kind === 'home' ? entry.home : undefined)
const asRegion = (entry: Entry | undefined): Region | undefined => (entry?.kind === 'region' ? entry.region : undefined)

export function createDirectory(options: DirectoryOptions): Directory & RegionBook {
  const { table, dht, publisher, clock, events } = options
  const absent = new LRUCache<string, number>({ max: NEGATIVE_MAX })
  const running = new Map<string, Promise<Entry | undefined>>()
  const rootEpochs = new LRUCache<RegionId, number>({ max: NEGATIVE_MAX })

  table.watch((entry) => absent.delete(`${entry.kind}/${entry.id}`))

  const take = (entry: Entry): boolean => {
    const outcome = table.offer(entry, 'self')
    if (outcome !== 'newer' && outcome !== 'same')
      events.recordRefused(entry.kind, outcome === 'conflict' ? 'conflict' : 'too_old')
    return outcome === 'newer' || outcome === 'same'
  }

  const ask = async (kind: RecordKind, id: string): Promise<Entry | undefined> => {
    const startedAt = clock.monotonic()
    const found = await dht.lookup(kind, id)
    if (found) take(found)
    // The table has the newest of what came now and what was known before; what is older than a floor is no answer.
    const entry = await table.load(kind, id)
    if (!entry && dht.peers() > 0) absent.set(`${kind}/${id}`, clock.monotonic() + NEGATIVE_MS)
    events.lookedUp(kind, entry !== undefined, clock.monotonic() - startedAt)
    return entry
  }

  const askOnce = (kind: RecordKind, id: string): Promise<Entry | undefined> => {
    const name = `${kind}/${id}`
    const under = running.get(name)
    if (under) return under
    if (running.size >= LOOKUPS_MAX)
      throw new ParleyError('overloaded', 'too many look-ups at once', { limit: `${LOOKUPS_MAX}` }, NEGATIVE_MS)
    const query = ask(kind, id).finally(() => running.delete(name))
    running.set(name, query)
    return query
  }

  const find = async (kind: RecordKind, id: string, fresh: boolean): Promise<Entry | undefined> => {
    if (!fresh) {
      const kept = table.known(kind, id) ?? (await table.load(kind, id))
      if (kept) return kept
      const until = absent.get(`${kind}/${id}`)
      if (until !== undefined && until > clock.monotonic()) return undefined
    }
    return askOnce(kind, id)
  }

  return {
    knownHome: (user) => asHome(table.known('home', user)),
    knownRegion: (region) => asRegion(table.known('region', region)),
    findHome: async (user, found = { fresh: false }) => asHome(await find('home', user, found.fresh)),
    findRegion: async (region, found = { fresh: false }) => asRegion(await find('region', region, found.fresh)),
    learnHome: (home) => take(homeEntry(home)),
    learnRegion: (region) => take(regionEntry(region)),
    learnHomeRecord(record) {
      const home = openHomeRecord(record, clock.now())
      if (!take(homeEntry(home))) throw new ParleyError('too_old', 'a newer home record is known')
      return home
    },
    learnRegionRecord(record) {
      const region = openRegionRecord(record, clock.now())
      if (!take(regionEntry(region))) throw new ParleyError('too_old', 'a newer region record is known')
      return region
    },
    publishHome: async (record) => ({ accepted: await publisher.keep(homeEntry(openHomeRecord(record, clock.now()))) }),
    publishRegion: async (record) => ({
      accepted: await publisher.keep(regionEntry(openRegionRecord(record, clock.now()))),
    }),
    withdrawHome: (user: UserId) => publisher.drop('home', user),
    async regions(limit) {
      const entries = await Promise.all(
        table
          .ids('region')
          .slice(0, limit)
          .map((id) => table.load('region', id)),
      )
      return entries.flatMap((entry) => asRegion(entry) ?? [])
    },
    flushed: () => table.flushed(),
    rootEpoch: (region) => Math.max(rootEpochs.get(region) ?? 0, table.floor('region', region)?.rootEpoch ?? 0),
    noteRootEpoch: (region, rootEpoch) => {
      rootEpochs.set(region, Math.max(rootEpoch, rootEpochs.get(region) ?? 0))
    },
  }
}
