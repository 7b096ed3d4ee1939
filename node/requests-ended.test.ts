import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ParleyError, SimulatedClock } from '#protocol'
import { servingSide, testRegion } from './fixtures.ts'
import { REQUESTS_PER_PEER_MAX, REQUESTS_SERVED_PER_PEER_MAX } from './limits.ts'
import type { PeerStream } from './link-network.ts'
import { silentEvents } from './node.ts'
import { createRequests } from './requests.ts'
import { frame } from './wire.ts'

test('a stream that ends before anything was asked on it refuses at once, not after the patience', async () => {
  const { regionId } = testRegion()
  const requests = createRequests({
    network: {
      serve: () => undefined,
      dial: async () => ({
        peerId: 'peer',
        peerKey: new Uint8Array(32),
        open(events) {
          queueMicrotask(() => events.closed(new ParleyError('unreachable', 'gone')))
          return { write: () => true, end: () => undefined }
        },
      }),
    },
    links: { regionOf: () => regionId, peerOf: () => 'peer', reach: async () => true },
    // A clock that stands still: nothing times out.
    clock: new SimulatedClock(0),
    events: silentEvents,
  })
  await assert.rejects(requests.request(regionId, 'records', new Uint8Array(1), 1_000), { code: 'unreachable' })
})

test('who asks on without waiting for answers is cut off', () => {
  const { accept } = servingSide(undefined)
  let [refused, ended] = [0, 0]
  let heard: Parameters<PeerStream['open']>[0] | undefined
  accept({
    peerId: 'peer',
    peerKey: new Uint8Array(32),
    open(events) {
      heard = events
      return { write: () => ++refused > 0, end: () => void ended++ }
    },
  })
  const empty = (count: number): Uint8Array => Buffer.concat(Array<Uint8Array>(count).fill(frame(new Uint8Array(0))))
  heard!.received(empty(REQUESTS_SERVED_PER_PEER_MAX + REQUESTS_PER_PEER_MAX))
  assert.deepEqual([refused, ended], [REQUESTS_PER_PEER_MAX, 0])
  heard!.received(empty(10_000))
  assert.deepEqual([refused, ended], [REQUESTS_PER_PEER_MAX, 1])
})
