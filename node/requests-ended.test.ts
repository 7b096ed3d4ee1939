import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ParleyError, SimulatedClock } from '#protocol'
import { testRegion } from './fixtures.ts'
import { silentEvents } from './node.ts'
import { createRequests } from './requests.ts'

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
