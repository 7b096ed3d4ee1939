// What the process that measures asks of one that loads, by messages between the two. Pairs belong to named groups, each with
// counts of its own.
import type { Counts } from './histogram.ts'
import type { DoneWhen } from './pair.ts'
import type { Marked } from './tally.ts'

export type PairsOrder = {
  readonly do: 'pairs'
  readonly group: string
  /** Origins of the homes of authors and readers. */
  readonly authors: string
  readonly readers: string
  readonly pairs: number
  /** Ciphertext of a message. */
  readonly bytes: number
  readonly doneWhen: readonly DoneWhen[]
  /** Which home hosts the conversations: the author's, the reader's, or whichever it comes out. */
  readonly host: 'author' | 'reader' | 'any'
  /** Readers sign in now; or later, by `readers-on`. */
  readonly readersOn: boolean
}

export type OpenLoopOrder = {
  readonly do: 'start'
  readonly group: string
  readonly loop: 'open'
  /** Messages a second of the whole group. */
  readonly rate: number
  /** The process spins rather than send up to 2 ms late. Only where it has a core to itself. */
  readonly precise: boolean
}

export type Order =
  | PairsOrder
  | { readonly do: 'raw-pairs'; readonly group: string; readonly origin: string; readonly pairs: number }
  | { readonly do: 'start'; readonly group: string; readonly loop: 'closed'; readonly flight: number }
  | OpenLoopOrder
  /** So many messages of each pair; answers when they are done. */
  | { readonly do: 'send'; readonly group: string; readonly each: number; readonly flight: number }
  /** Answers with `Marked`. */
  | { readonly do: 'mark'; readonly group: string }
  /** What went wrong so far is nobody's fault who comes now. */
  | { readonly do: 'forget-faults'; readonly group: string }
  /** Sends nothing more; answers when nothing is on its way. */
  | { readonly do: 'stop'; readonly group: string }
  /** Readers sign in and take what they are behind; answers with `CaughtUp` when they have everything. */
  | { readonly do: 'readers-on'; readonly group: string }
  | { readonly do: 'readers-off'; readonly group: string }
  /** Authors, and readers that were on, leave. */
  | { readonly do: 'leave'; readonly group: string }
  /** The first author keeps dialling, signs in and sends one message; answers when it has its number. */
  | { readonly do: 'first-answer'; readonly group: string }
  /** People with one device each. */
  | { readonly do: 'crowd-register'; readonly origin: string; readonly count: number }
  /** The next of them sign in and say nothing. */
  | { readonly do: 'crowd'; readonly count: number }
  /** Sockets without any protocol on them, to a server of ours. */
  | { readonly do: 'sockets'; readonly origin: string; readonly count: number }
  | { readonly do: 'hang-up' }
  /** So many of the crowd lose their sockets and sign in again, evenly spread; answers with `CameBack`. */
  | { readonly do: 'come-back'; readonly count: number; readonly withinMs: number }
  | { readonly do: 'close' }

export type CaughtUp = {
  readonly elapsedMs: number
  readonly entries: number
  readonly pages: number
  /** From a reader's `ready` to its first page, microseconds. */
  readonly firstPage: Counts
}

export type CameBack = {
  readonly elapsedMs: number
  /** From dialling to `ready`, microseconds. */
  readonly signIns: Counts
  readonly refused: number
}

export type Asked = { readonly id: number; readonly order: Order }
export type Answer = { readonly id: number; readonly value: unknown } | { readonly id: number; readonly error: string }
export type { Marked }
