import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { describe, it } from 'node:test'
import type { ParleyEvent } from '#client'
import { NOWHERE, type UserId } from '#protocol'
import { type Stopwatch, type Timed, timedReceive, timedSend } from './sdk-timed.ts'

const TO = 'somebody' as UserId
const BYTES = 64
const SEQUENCED = { type: 'state', state: 'sequenced' } as unknown as ParleyEvent
const CONNECTED = { type: 'connection', state: { is: 'connected' } } as unknown as ParleyEvent
const TEXT = { type: 'message', message: { mine: false, kind: 'text' } } as ParleyEvent

/** An SDK whose numbers come some at a time and a turn later, and whose pages are opened before they are told. */
function fakeSdk(pages: readonly number[] = []) {
  const events = new EventEmitter<{ event: [ParleyEvent] }>()
  const work = { sealed: 0, opened: 0 }
  let unnumbered = 0
  const number = (): void => {
    for (; unnumbered > 0; unnumbered--) events.emit('event', SEQUENCED)
  }
  const parley: Timed = {
    on: (name, listener) => events.on(name, listener),
    off: (name, listener) => events.off(name, listener),
    connected: async () => undefined,
    connect: () => {
      setImmediate(() => {
        events.emit('event', CONNECTED)
        for (const page of pages) {
          work.opened += page
          for (let i = 0; i < page; i++) events.emit('event', TEXT)
        }
      })
    },
    async send() {
      work.sealed++
      if (unnumbered++ === 0) setImmediate(number)
      return { until: async () => NOWHERE }
    },
  }
  /** What was done while it ran. */
  const during = { sealed: 0, opened: 0 }
  const watch: Stopwatch = (count) => {
    const before = { ...work }
    return () => {
      Object.assign(during, { sealed: work.sealed - before.sealed, opened: work.opened - before.opened })
      return { count, wallMs: 1, cpuMs: 1 }
    }
  }
  return { parley, work, during, watch }
}

describe('what the row of the SDK counts is done while its stopwatch runs', () => {
  it('sends: nothing is sealed ahead of it, though the warm-up went before', async () => {
    const { parley, work, during, watch } = fakeSdk()
    const order = { bytes: BYTES, ahead: 7 }
    await timedSend(parley, TO, { ...order, count: 20 }, watch)
    const { spent } = await timedSend(parley, TO, { ...order, count: 50 }, watch)
    assert.deepEqual([spent.count, during.sealed, work.sealed], [50, 50, 70])
  })

  it('receives: the first page is in it', async () => {
    const { parley, during, watch } = fakeSdk([16, 16, 8])
    const spent = await timedReceive(parley, { count: 40 }, watch)
    assert.deepEqual([spent.count, during.opened], [40, 40])
  })
})
