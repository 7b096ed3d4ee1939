// The wires of a simulated network. A wire carries messages in order until it breaks, as a stream does; what is on its
// way then is lost. Between relays a wire may also deliver twice or out of order: the rules must not mind.
import type { Clock, Random } from '#protocol'

export type WireFaults = {
  /** One way, ms. */
  readonly latencyMs: readonly [least: number, most: number]
  readonly duplicate: number
  readonly reorder: number
}

export type Wire<T> = {
  send(message: T): void
  /** Nothing arrives before so many ms have passed; then everything does. */
  stall(ms: number): void
  cut(): void
}

/** One direction. `deliver` is never called after `cut`; `clock` is the receiver's. */
export function openWire<T>(clock: Clock, random: Random, faults: WireFaults, deliver: (message: T) => void): Wire<T> {
  let open = true
  let last = 0
  const [least, most] = faults.latencyMs
  const later = (at: number, message: T): void => {
    clock.after(at - clock.monotonic(), () => {
      if (open) deliver(message)
    })
  }
  return {
    send(message) {
      if (!open) return
      const arrives = clock.monotonic() + least + (most - least) * random.fraction()
      const reordered = random.fraction() < faults.reorder
      if (!reordered) last = Math.max(last, arrives)
      later(reordered ? arrives + most : last, message)
      if (random.fraction() < faults.duplicate) later(last + most * random.fraction(), message)
    },
    stall(ms) {
      last = Math.max(last, clock.monotonic() + ms)
    },
    cut() {
      open = false
    },
  }
}
