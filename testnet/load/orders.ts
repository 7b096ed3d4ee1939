// What the process that measures asks of one that loads, by messages between the two.

import type { Marked } from './tally.ts'

export type Order =
  /** Pairs whose author lives at the first origin and whose reader at the second; everybody is signed in. */
  | {
      readonly do: 'pairs'
      readonly authors: string
      readonly readers: string
      readonly pairs: number
      readonly bytes: number
    }
  | { readonly do: 'raw-pairs'; readonly origin: string; readonly pairs: number }
  /** `rate`: messages a second of all pairs together. */
  | { readonly do: 'start'; readonly loop: 'closed'; readonly flight: number }
  | { readonly do: 'start'; readonly loop: 'open'; readonly rate: number }
  | { readonly do: 'mark' }
  /** Sends nothing more; answers when nothing is on its way. */
  | { readonly do: 'stop' }
  | { readonly do: 'close' }

export type Asked = { readonly id: number; readonly order: Order }
export type Answer = { readonly id: number; readonly value: unknown } | { readonly id: number; readonly error: string }
export type { Marked }
