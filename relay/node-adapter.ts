// The node's links and its few rows, as the relay's rules and store see them.
import { LRUCache } from 'lru-cache'
import type { LinkHandlers, Links, NodeStorage } from '#node'
import { type Clock, type ConvId, convIdBytes, convIdOf, ParleyError, type RegionId } from '#protocol'
import { createTurns, type Step, type Turns } from './gateway/turns.ts'
import { CONV_IDS_CACHED_MAX, TURN_LINK_BYTES } from './limits.ts'
import type { Item, LinkPort, Relay } from './rules/ports.ts'
import type { Store } from './store/types.ts'

const NODE_ROWS = 'node'

/** The node's rows lie in the relay's store: one journal, one fence. */
export function nodeStorage(store: Store): NodeStorage {
  return {
    get: (key) => store.get(NODE_ROWS, key),
    async put(key, value) {
      store.put(NODE_ROWS, key, value)
      await store.flushed()
    },
    async delete(key) {
      store.delete(NODE_ROWS, key)
      await store.flushed()
    },
    range(prefix, { after, limit }) {
      const from = after === undefined || after < prefix ? prefix : `${after}\0`
      return store.range(NODE_ROWS, { from, to: `${prefix}\xff`, limit, reverse: false })
    },
  }
}

/** Text and bytes of conversation ids: bech32m for every item would cost more than sending it. */
function convIds() {
  const bytesOf = new LRUCache<ConvId, Uint8Array>({ maxSize: CONV_IDS_CACHED_MAX, sizeCalculation: () => 1 })
  const idOf = new LRUCache<string, ConvId>({ maxSize: CONV_IDS_CACHED_MAX, sizeCalculation: () => 1 })
  return {
    toBytes(conv: ConvId): Uint8Array {
      let bytes = bytesOf.get(conv)
      if (!bytes) {
        bytes = convIdBytes(conv)
        bytesOf.set(conv, bytes)
      }
      return bytes
    },
    toId(bytes: Uint8Array): ConvId {
      const name = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
      let conv = idOf.get(name)
      if (!conv) {
        conv = convIdOf(bytes)
        idOf.set(name, conv)
      }
      return conv
    },
  }
}

/** One that is up; nobody waits for the rest of what was said over one that is not. */
type Line = { readonly region: RegionId; isUp: boolean }

/**
 * Hands a batch to the rules in pieces, when it is the region's turn: however much comes over links, devices and other
 * regions wait no longer than for a turn. Until all of it was handed over the region has no credit for more.
 */
function hearing(relay: Relay, turns: Turns<Line>, fault: (error: unknown) => void) {
  const step = (
    line: Line,
    items: readonly Item[],
    from: number,
    done: (error?: unknown) => void,
  ): Step | undefined => {
    if (!line.isUp) {
      done()
      return undefined
    }
    let to = from
    for (let bytes = 0; to < items.length && bytes < TURN_LINK_BYTES; to++) bytes += items[to]!.body.length
    try {
      relay.items(line.region, from === 0 && to === items.length ? items : items.slice(from, to))
    } catch (error) {
      if (!(error instanceof ParleyError)) fault(error)
      const why = 'this node could not go on with the link'
      done(error instanceof ParleyError ? error : new ParleyError('overloaded', why, {}, 1_000))
      return undefined
    }
    if (to < items.length) return () => step(line, items, to, done)
    done()
    return undefined
  }
  return (line: Line, items: readonly Item[], bytes: number): void | Promise<void> => {
    let over = false
    let failed: unknown
    let settle: ((error: unknown) => void) | undefined
    turns.say(line, bytes, () =>
      step(line, items, 0, (error) => {
        over = true
        failed = error
        settle?.(error)
      }),
    )
    if (over && failed) throw failed
    if (over) return
    return new Promise<void>((resolve, reject) => {
      settle = (error) => (error ? reject(error) : resolve())
    })
  }
}

export type LinkAdapter = {
  readonly port: LinkPort
  /** Hands what arrives to the rules. */
  serve(relay: Relay): void
}

export type LinkAdapterPorts = {
  readonly links: Links
  readonly clock: Pick<Clock, 'monotonic'>
  /** Calls back after sockets were read. */
  readonly schedule: (callback: () => void) => void
  readonly fault: (error: unknown) => void
}

export function linkAdapter({ links, clock, schedule, fault }: LinkAdapterPorts): LinkAdapter {
  const ids = convIds()
  // Nobody has to be held: what is not handed over yet is what a region has no credit for.
  const turns = createTurns<Line>({ clock, schedule, hold: () => undefined, release: () => undefined })
  const lines = new Map<RegionId, Line>()
  const lineOf = (region: RegionId): Line => {
    const line = lines.get(region) ?? { region, isUp: true }
    lines.set(region, line)
    return line
  }
  const handlersOf = (relay: Relay): LinkHandlers => {
    const hear = hearing(relay, turns, fault)
    return {
      up: (region) => relay.linkUp(region),
      down(region) {
        lineOf(region).isUp = false
        lines.delete(region)
        relay.linkDown(region)
      },
      items(region, items) {
        let bytes = 0
        const said = items.map(({ id, kind, body }) => {
          bytes += body.length
          return { conv: ids.toId(id), kind, body }
        })
        return hear(lineOf(region), said, bytes)
      },
    }
  }
  return {
    port: {
      send: (region, { conv, kind, body }) => void links.send(region, { id: ids.toBytes(conv), kind, body }),
      flush: () => links.flush(),
      isUp: (region) => links.isUp(region),
      backlog: (region) => links.backlog(region),
      want: (region) => links.want(region),
      close: (region, reason) => links.close(region, reason),
    },
    serve: (relay) => links.serve(handlersOf(relay)),
  }
}
