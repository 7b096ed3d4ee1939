// What the device of the SDK's row is told to do, and what it answers.

export type SdkOrder =
  /** Writes one text and waits until the other side has it. */
  | { readonly do: 'greet'; readonly to: string }
  /** So many texts of so many bytes, so many ahead of their numbers; done when each has its number. `warmUp` go before. */
  | {
      readonly do: 'send'
      readonly to: string
      readonly warmUp: number
      readonly count: number
      readonly bytes: number
      readonly ahead: number
    }
  /** Connects and takes what waits at the home; done when so many have come after the first ones. */
  | { readonly do: 'receive'; readonly warmUp: number; readonly count: number }
  | { readonly do: 'connect' }
  | { readonly do: 'close' }

/** Of one order, in the device's own process; CPU time of all its threads. */
export type SdkSpent = { readonly count: number; readonly wallMs: number; readonly cpuMs: number }

export type SdkTold = { readonly ready: true } | { readonly value: SdkSpent | undefined } | { readonly error: string }
