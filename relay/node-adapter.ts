// The node's links and its few rows, as the relay's rules and store see them.
import { LRUCache } from 'lru-cache'
import type { LinkHandlers, Links, NodeStorage } from '#node'
import { type ConvId, convIdBytes, convIdOf, ParleyError } from '#protocol'
import { CONV_IDS_CACHED_MAX } from './limits.ts'
import type { LinkPort, Relay } from './rules/ports.ts'
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

export type LinkAdapter = {
  readonly port: LinkPort
  /** Hands what arrives to the rules. */
  serve(relay: Relay): void
}

export function linkAdapter(links: Links, fault: (error: unknown) => void): LinkAdapter {
  const ids = convIds()
  const handlersOf = (relay: Relay): LinkHandlers => ({
    up: (region) => relay.linkUp(region),
    down: (region) => relay.linkDown(region),
    items(region, items) {
      try {
        relay.items(
          region,
          items.map(({ id, kind, body }) => ({ conv: ids.toId(id), kind, body })),
        )
      } catch (error) {
        if (error instanceof ParleyError) throw error
        fault(error)
        throw new ParleyError('overloaded', 'this node could not go on with the link', {}, 1_000)
      }
    },
  })
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
