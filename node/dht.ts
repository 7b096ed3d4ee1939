// Look-ups and publishing over kad-dht. Two things are done here instead of by the library: a read collects the peers'
// answers and chooses by itself, ending when enough agree or nothing new comes, so that no lying, refusing or silent
// peer can roll it back, break it or hold it up; and a publish asks each close peer to store as soon as it has shown
// that it answers.

import type { PeerId } from '@libp2p/interface'
import type { KadDHT, QueryEvent, RoutingTable } from '@libp2p/kad-dht'
import { LRUCache } from 'lru-cache'
import { type Clock, ParleyError, sha256, type Timer } from '#protocol'
import { kadKey } from './kad-datastore.ts'
import {
  LOOKUP_AGREE,
  LOOKUP_FIRST_PEER_MS,
  LOOKUP_GRACE_MS,
  LOOKUP_MAX_MS,
  LOOKUP_QUIET_MS,
  LOOKUP_SETTLE_MS,
  PUBLISH_ENOUGH,
  PUBLISH_MAX_MS,
  PUBLISH_QUIET_MS,
  PUBLISH_SEARCH_MAX_MS,
  REPLICATION,
} from './limits.ts'
import { type Entry, idText, openEntry, standingOf } from './record-kinds.ts'
import type { RecordKind } from './types.ts'

/** Verifies each distinct record once, however many peers send it. */
export function createVerifier(
  clock: Clock,
  max: number,
): (kind: RecordKind, id: Uint8Array, bytes: Uint8Array) => Entry {
  const verified = new LRUCache<string, Entry>({ maxSize: max, sizeCalculation: () => 1 })
  return (kind, id, bytes) => {
    const name = Buffer.from(sha256(bytes)).toString('latin1')
    let entry = verified.get(name)
    if (!entry || entry.kind !== kind || entry.notAfterMs <= clock.now()) {
      entry = openEntry(kind, bytes, clock.now())
      verified.set(name, entry)
    }
    if (entry.id !== idText(kind, id)) throw new ParleyError('wrong_root', 'a record for another id')
    return entry
  }
}

export type Dht = {
  /** DHT peers known now. */
  peers(): number
  /** The newest of the answers; undefined when nobody had one in time. */
  lookup(kind: RecordKind, id: string): Promise<Entry | undefined>
  /** Resolves when enough peers have stored it, or all that answered in time were asked. */
  publish(entry: Entry): Promise<number>
  /** Calls back whenever a DHT peer was added. */
  onPeer(callback: () => void): void
}

export type DhtOptions = {
  readonly kad: KadDHT & { readonly routingTable: RoutingTable & Partial<EventTarget> }
  readonly clock: Clock
  readonly open: (kind: RecordKind, id: Uint8Array, bytes: Uint8Array) => Entry
  /** Asks one peer to store; resolves with whether it did, within a bounded time. */
  readonly store: (peer: PeerId, key: Uint8Array, value: Uint8Array) => Promise<boolean>
  /** Whether there is anybody to wait for. */
  readonly expectsPeers: () => boolean
  /** Peers that are always asked to store region records, close or not (bootstrap nodes list them). */
  readonly listKeepers: () => PeerId[]
}

/** Something that waits: for quiet, for a bound, or to be told that it is over. */
function createWait(clock: Clock, maxMs: number): { quiet(ms: number): void; done(): void; over: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>()
  let quietTimer: Timer | undefined
  const done = (): void => {
    quietTimer?.cancel()
    limit.cancel()
    resolve()
  }
  const limit = clock.after(maxMs, done)
  const quiet = (ms: number): void => {
    quietTimer?.cancel()
    quietTimer = clock.after(ms, done)
  }
  return { quiet, done, over: promise }
}

async function drain(events: AsyncIterable<QueryEvent>, each: (event: QueryEvent) => void): Promise<void> {
  try {
    for await (const event of events) each(event)
  } catch {
    // An aborted query, or one peer's refusal, which ends the library's query for all: what came before counts.
  }
}

export function createDht({ kad, clock, open, store, listKeepers, expectsPeers }: DhtOptions): Dht {
  const table = kad.routingTable
  /** What the routing table holds: the library tells of changes only. */
  const near = new Map<string, PeerId>()
  const detail = (event: Event): PeerId => (event as CustomEvent<PeerId>).detail
  table.addEventListener?.('peer:add', (event) => near.set(detail(event).toString(), detail(event)))
  table.addEventListener?.('peer:remove', (event) => near.delete(detail(event).toString()))
  const onPeer = (callback: () => void): void => table.addEventListener?.('peer:add', callback)

  const firstPeer = async (): Promise<void> => {
    if (table.size > 0 || !expectsPeers()) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = clock.after(LOOKUP_FIRST_PEER_MS, resolve)
    const added = (): void => resolve()
    table.addEventListener?.('peer:add', added)
    await promise
    table.removeEventListener?.('peer:add', added)
    timer.cancel()
  }

  const lookup = async (kind: RecordKind, id: string): Promise<Entry | undefined> => {
    await firstPeer()
    if (table.size === 0) return undefined
    const key = kadKey(kind, id)
    const raw = key.subarray(key.length - 32)
    const wait = createWait(clock, LOOKUP_MAX_MS)
    const stop = new AbortController()
    const answered = new Map<string, string>()
    let best: Entry | undefined
    let ended = false
    const answer = (from: string, bytes: Uint8Array): void => {
      const entry = openOrNot(() => open(kind, raw, bytes))
      if (!entry || answered.has(from)) return
      answered.set(from, `${entry.rootEpoch}.${entry.version}.${entry.notAfterMs}.${entry.hash}`)
      if (!best || standingOf(entry, best) === 'newer') best = entry
      const name = `${best.rootEpoch}.${best.version}.${best.notAfterMs}.${best.hash}`
      const agree = [...answered.values()].filter((other) => other === name).length
      wait.quiet(agree >= LOOKUP_AGREE ? LOOKUP_SETTLE_MS : LOOKUP_QUIET_MS)
    }
    const query = drain(kad.get(key, { signal: stop.signal }), (event) => {
      if (event.name === 'PEER_RESPONSE' && event.record) answer(event.from.toString(), event.record.value)
    })
    void query.then(() => {
      ended = true
      wait.done()
    })
    await wait.over
    if (!best && !ended) await new Promise<void>((resolve) => void clock.after(LOOKUP_GRACE_MS, resolve))
    stop.abort()
    return best
  }

  const publish = async (entry: Entry): Promise<number> => {
    await firstPeer()
    const key = kadKey(entry.kind, entry.id)
    const wait = createWait(clock, PUBLISH_MAX_MS)
    const asked = new Map<string, PeerId>()
    let open = 0
    let accepted = 0
    let found = false
    const settle = (): void => {
      if (accepted >= PUBLISH_ENOUGH || (found && open === 0)) wait.done()
    }
    const ask = (peer: PeerId): void => {
      const name = peer.toString()
      if (asked.has(name)) return
      asked.set(name, peer)
      open++
      void store(peer, key, entry.bytes).then((stored) => {
        open--
        if (stored) accepted++
        settle()
      })
    }
    if (entry.kind === 'region') for (const peer of listKeepers()) ask(peer)
    void closePeers(key, ask).then(() => {
      found = true
      settle()
    })
    await wait.over
    return accepted
  }

  /**
   * Calls `ask` for the close peers. In a network of fewer than REPLICATION nodes each of them is close and is asked at
   * once; in a larger one the first quiet moment shows which are, and late ones are asked when they come.
   */
  const closePeers = async (key: Uint8Array, ask: (peer: PeerId) => void): Promise<void> => {
    if (table.size < REPLICATION) for (const peer of [...near.values()]) ask(peer)
    const search = createWait(clock, PUBLISH_SEARCH_MAX_MS)
    const first: PeerId[] = []
    let collecting = true
    const query = drain(kad.getClosestPeers(key), (event) => {
      if (event.name !== 'PEER_RESPONSE') return
      if (!collecting || table.size < REPLICATION) {
        ask(event.from)
        return
      }
      first.push(event.from)
      search.quiet(PUBLISH_QUIET_MS)
    })
    void query.then(search.done)
    await search.over
    collecting = false
    for (const peer of closest(key, first)) ask(peer)
    if (first.length === 0) await query
  }

  return { peers: () => table.size, lookup, publish, onPeer }
}

/** By distance between hashes, as Kademlia has it. */
function closest(key: Uint8Array, peers: readonly PeerId[]): PeerId[] {
  if (peers.length <= REPLICATION) return [...peers]
  const target = sha256(key)
  const far = (peer: PeerId): string =>
    Buffer.from(sha256(peer.toMultihash().bytes).map((byte, i) => byte ^ target[i]!)).toString('hex')
  return [...peers].sort((a, b) => (far(a) < far(b) ? -1 : 1)).slice(0, REPLICATION)
}

function openOrNot(open: () => Entry): Entry | undefined {
  try {
    return open()
  } catch {
    return undefined
  }
}
