// The wires of a simulated network. A wire is one direction of a stream: in order, once, until it breaks. So loss is a
// stream that breaks with something on its way; duplication and another order come from what is sent again on the
// next stream while the other side still hears the old one.
import type { Clock, Random } from '#protocol'

export type WireFaults = {
  /** One way, ms. */
  readonly latencyMs: readonly [least: number, most: number]
}

export type Wire<T> = {
  send(message: T): void
  /** Nothing arrives before so many ms have passed; then everything does. */
  stall(ms: number): void
  /** What is sent from now on is lost; what is on its way still arrives, up to here or to `cut`. */
  breaks(): void
  cut(): void
}

/** `deliver` is never called after `cut`; `clock` is the receiver's. */
export function openWire<T>(clock: Clock, random: Random, faults: WireFaults, deliver: (message: T) => void): Wire<T> {
  let open = true
  let broken = false
  let last = 0
  const [least, most] = faults.latencyMs
  return {
    send(message) {
      if (broken) return
      const now = clock.monotonic()
      last = Math.max(last, now + least + (most - least) * random.fraction())
      clock.after(last - now, () => {
        if (open) deliver(message)
      })
    },
    stall(ms) {
      last = Math.max(last, clock.monotonic() + ms)
    },
    breaks() {
      broken = true
    },
    cut() {
      broken = true
      open = false
    },
  }
}
