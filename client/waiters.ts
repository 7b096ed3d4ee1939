// Promises about messages that were sent: each waits for its stage and costs nothing when nobody asks.
import { type ConvId, NOWHERE, ParleyError, type Position } from '#protocol'
import type { DeviceEvent } from './rules/ports.ts'

export type Stage = 'held' | 'sequenced' | 'delivered'

type Waiter = {
  readonly stage: Stage
  readonly resolve: (at: Position) => void
  readonly reject: (error: ParleyError) => void
}

export type Waiters = {
  /**
   * Resolves with the message's place (NOWHERE for `held`); rejects when it is cancelled or fails.
   * `delivered`: how far the other side is known to have everything.
   */
  wait(conv: ConvId, k: number, stage: Stage, delivered: Position): Promise<Position>
  hear(event: DeviceEvent): void
  /** The message has another k now. */
  move(conv: ConvId, from: number, to: number): void
  endAll(error: ParleyError): void
}

export function failure(state: 'cancelled' | 'failed', code: string): ParleyError {
  if (state === 'cancelled') return new ParleyError('closing', 'the message was cancelled', { code: 'cancelled' })
  return new ParleyError('conflict', `the message was refused: ${code}`, { code })
}

export function createWaiters(): Waiters {
  const waiting = new Map<ConvId, Map<number, Waiter[]>>()
  const placed = new Map<ConvId, Map<number, Position>>()
  /** The mark may come before the device hears which place its own message has. */
  const reached = new Map<ConvId, Position>()

  const settle = (conv: ConvId, k: number, act: (waiter: Waiter) => boolean): void => {
    const ofConv = waiting.get(conv)
    const left = ofConv?.get(k)?.filter((waiter) => !act(waiter))
    if (!ofConv || !left) return
    if (left.length > 0) ofConv.set(k, left)
    else {
      ofConv.delete(k)
      placed.get(conv)?.delete(k)
    }
  }

  const state = (event: DeviceEvent & { type: 'state' }): void => {
    const { conv, k, at } = event
    if (!waiting.get(conv)?.has(k)) return
    if (event.state === 'cancelled' || event.state === 'failed') {
      const error = failure(event.state, event.code)
      settle(conv, k, (waiter) => {
        waiter.reject(error)
        return true
      })
      return
    }
    settle(conv, k, (waiter) => {
      if (waiter.stage === 'delivered' || (waiter.stage === 'sequenced' && event.state === 'held')) return false
      waiter.resolve(at)
      return true
    })
    if (event.state === 'sequenced' && waiting.get(conv)?.has(k)) {
      if (!placed.has(conv)) placed.set(conv, new Map())
      placed.get(conv)!.set(k, at)
      delivered(conv, reached.get(conv) ?? NOWHERE)
    }
  }

  const delivered = (conv: ConvId, mark: Position): void => {
    const upTo = Math.max(mark, reached.get(conv) ?? NOWHERE)
    reached.set(conv, upTo as Position)
    for (const [k, at] of placed.get(conv) ?? []) {
      if (at > upTo) continue
      settle(conv, k, (waiter) => {
        waiter.resolve(at)
        return true
      })
    }
  }

  return {
    wait: (conv, k, stage, mark) =>
      new Promise((resolve, reject) => {
        delivered(conv, mark)
        const ofConv = waiting.get(conv) ?? new Map<number, Waiter[]>()
        waiting.set(conv, ofConv)
        ofConv.set(k, [...(ofConv.get(k) ?? []), { stage, resolve, reject }])
      }),
    hear(event) {
      if (event.type === 'state') state(event)
      if (event.type === 'delivered') delivered(event.conv, event.upTo)
    },
    move(conv, from, to) {
      const ofConv = waiting.get(conv)
      const waiters = ofConv?.get(from)
      if (!ofConv || !waiters) return
      ofConv.delete(from)
      ofConv.set(to, waiters)
    },
    endAll(error) {
      for (const ofConv of waiting.values())
        for (const waiters of ofConv.values()) for (const { reject } of waiters) reject(error)
      waiting.clear()
      placed.clear()
    },
  }
}
