// What this node keeps alive in the DHT: each record is published, published again at intervals spread evenly, and soon
// when there were too few peers and new ones appear. The list of what is kept is on disk, so a restart goes on. One record
// costs many messages: they go out one after the other, and strangers who come and go cannot make it more.
import { type Clock, openHomeRecord, openRegionRecord, ParleyError, type Random, type Timer } from '#protocol'
import type { Dht } from './dht.ts'
import {
  PEER_APPEARED_BURST,
  PEER_APPEARED_MS,
  PEER_APPEARED_PER_SECOND,
  PUBLISH_ENOUGH,
  PUBLISH_PARALLEL,
  PUBLISH_RETRY_MAX_MS,
  PUBLISH_RETRY_MS,
  PUBLISH_SHORT_MAX_MS,
  REFRESH_MS,
  REFRESH_TICK_MS,
  RENEW_BEFORE_MS,
  STORAGE_PAGE,
} from './limits.ts'
import { createRateLimiter } from './rate.ts'
import { type Entry, homeEntry, regionEntry } from './record-kinds.ts'
import type { RecordTable } from './record-table.ts'
import type { NodeEvents, NodeStorage, RecordKind, Renewal } from './types.ts'

const PREFIX = 'own/'

type Kept = {
  readonly kind: RecordKind
  readonly id: string
  /** Infinity: it is on its way. */
  dueAt: number
  /** Peers that stored it at the last try. */
  accepted: number
  failures: number
  /** The renewal is tried once per refresh. */
  renewAt: number
}

export type PublisherOptions = {
  readonly table: RecordTable
  readonly dht: Dht
  readonly storage: NodeStorage
  readonly clock: Clock
  readonly random: Random
  readonly renewal: Renewal | undefined
  readonly events: NodeEvents
}

export type Publisher = {
  /** Takes the record into the list, stores it here and on peers. */
  keep(entry: Entry): Promise<number>
  drop(kind: RecordKind, id: string): Promise<void>
  /** Records in the list. */
  size(): number
  close(): void
}

export async function startPublisher(options: PublisherOptions): Promise<Publisher> {
  const { table, dht, storage, clock, random, events } = options
  /** Whoever was not tried for longest stands first. */
  const kept = await loadKept(storage, clock)
  const appearances = createRateLimiter(clock, PEER_APPEARED_PER_SECOND, PEER_APPEARED_BURST, 1)
  let closed = false
  let timer: Timer | undefined
  let appeared: Timer | undefined
  let busy = 0

  const put = async (item: Kept, entry: Entry): Promise<number> => {
    const startedAt = clock.monotonic()
    const accepted = await dht.publish(entry)
    item.accepted = accepted
    item.failures = accepted >= Math.min(PUBLISH_ENOUGH, Math.max(1, dht.peers())) ? 0 : item.failures + 1
    item.dueAt = clock.monotonic() + pauseAfter(item, random)
    events.published(item.kind, accepted, clock.monotonic() - startedAt)
    return accepted
  }

  const again = async (item: Kept): Promise<void> => {
    const entry = await table.load(item.kind, item.id)
    if (!entry) return drop(item.kind, item.id)
    const renewed = item.renewAt <= clock.monotonic() ? await renew(item, entry) : undefined
    await put(item, renewed ?? entry)
  }

  const renew = async (item: Kept, entry: Entry): Promise<Entry | undefined> => {
    item.renewAt = clock.monotonic() + REFRESH_MS
    const left = entry.notAfterMs - clock.now()
    if (left > RENEW_BEFORE_MS * (0.5 + random.fraction() / 2) || !options.renewal) return undefined
    const fresh = await renewedEntry(entry, options.renewal, clock)
    if (!fresh || table.offer(fresh, 'self') !== 'newer') return undefined
    await table.flushed()
    return fresh
  }

  const start = async (item: Kept): Promise<void> => {
    try {
      if (!closed && kept.has(nameOf(item))) await again(item)
    } catch (error) {
      item.dueAt = clock.monotonic() + PUBLISH_RETRY_MAX_MS
      events.storageFailed(error)
    } finally {
      busy--
    }
  }

  const tick = (): void => {
    if (closed) return
    const now = clock.monotonic()
    let afterMs = 0
    for (const which of [isUrgent, () => true]) {
      for (const [name, item] of kept) {
        if (busy >= PUBLISH_PARALLEL) break
        if (item.dueAt > now || !which(item)) continue
        kept.delete(name)
        kept.set(name, item)
        item.dueAt = Number.POSITIVE_INFINITY
        busy++
        clock.after(afterMs, () => void start(item))
        afterMs += REFRESH_TICK_MS / PUBLISH_PARALLEL
      }
    }
    timer = clock.after(REFRESH_TICK_MS, tick)
  }
  timer = clock.after(REFRESH_TICK_MS, tick)

  const wake = (): void => {
    const waitMs = appearances.take('')
    appeared = waitMs > 0 ? clock.after(waitMs, wake) : undefined
    if (appeared) return
    const now = clock.monotonic()
    for (const item of kept.values())
      if (item.accepted < PUBLISH_ENOUGH && item.dueAt !== Number.POSITIVE_INFINITY) item.dueAt = now
    timer?.cancel()
    tick()
  }
  dht.onPeer(() => {
    if (!closed && !appeared) appeared = clock.after(PEER_APPEARED_MS, wake)
  })

  const drop = async (kind: RecordKind, id: string): Promise<void> => {
    const name = nameOf({ kind, id })
    if (kept.delete(name)) await storage.delete(`${PREFIX}${name}`)
  }

  return {
    async keep(entry) {
      const outcome = table.offer(entry, 'self')
      if (outcome !== 'newer' && outcome !== 'same') {
        throw new ParleyError(
          outcome === 'conflict' ? 'conflict' : 'too_old',
          'a newer record, or another one of this version, is known',
        )
      }
      const name = nameOf(entry)
      const item = kept.get(name) ?? newKept(entry.kind, entry.id)
      item.dueAt = Number.POSITIVE_INFINITY
      item.renewAt = clock.monotonic() + REFRESH_MS
      if (!kept.has(name)) await storage.put(`${PREFIX}${name}`, new Uint8Array([1]))
      kept.set(name, item)
      await table.flushed()
      return put(item, entry)
    },
    drop,
    size: () => kept.size,
    close() {
      closed = true
      timer?.cancel()
      appeared?.cancel()
    },
  }
}

/** Without the region's own nobody finds its nodes, and what nobody has yet cannot wait for what many have. */
const isUrgent = ({ kind, failures }: Kept): boolean => kind === 'region' || failures > 0

const nameOf = ({ kind, id }: { kind: RecordKind; id: string }): string => `${kind}/${id}`

function newKept(kind: RecordKind, id: string): Kept {
  return { kind, id, dueAt: 0, accepted: 0, failures: 0, renewAt: 0 }
}

/** After a restart everything is due: how fast it goes out is bounded by PUBLISH_PARALLEL. */
async function loadKept(storage: NodeStorage, clock: Clock): Promise<Map<string, Kept>> {
  const kept = new Map<string, Kept>()
  let after: string | undefined
  for (;;) {
    const page = await storage.range(PREFIX, { after, limit: STORAGE_PAGE })
    for (const [key] of page) {
      const name = key.slice(PREFIX.length)
      const [kind, id] = name.split('/') as [RecordKind, string]
      kept.set(name, { ...newKept(kind, id), dueAt: clock.monotonic(), renewAt: clock.monotonic() })
    }
    if (page.length < STORAGE_PAGE) return kept
    after = page.at(-1)![0]
  }
}

function pauseAfter(item: Kept, random: Random): number {
  if (item.failures === 0) return REFRESH_MS * (0.5 + random.fraction() / 2)
  const mostMs = item.accepted === 0 ? PUBLISH_RETRY_MAX_MS : PUBLISH_SHORT_MAX_MS
  return Math.min(mostMs, PUBLISH_RETRY_MS * 2 ** Math.min(item.failures - 1, 16)) * (0.5 + random.fraction() / 2)
}

async function renewedEntry(entry: Entry, renewal: Renewal, clock: Clock): Promise<Entry | undefined> {
  if (entry.kind === 'home') {
    const record = await renewal.home(entry.home)
    return record && homeEntry(openHomeRecord(record, clock.now()))
  }
  const record = await renewal.region(entry.region)
  return record && regionEntry(openRegionRecord(record, clock.now()))
}
