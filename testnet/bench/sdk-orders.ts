// What the device of the SDK's row is told to do, and what it answers.

export type SdkOrder =
  /** Writes one text and waits until the other side has it. */
  | { readonly do: 'greet'; readonly to: string }
  /** So many texts of so many bytes, so many ahead of their numbers; done when each has its number. */
  | {
      readonly do: 'send'
      readonly to: string
      readonly count: number
      readonly bytes: number
      readonly ahead: number
    }
  /** Waits until the other side has all of them and has said so. */
  | { readonly do: 'until-delivered' }
  /** Connects and takes what waits at the home; done when so many have come, which is all there are. */
  | { readonly do: 'receive'; readonly count: number }
  /** Closes the profile and opens it again, without a connection; the process stays. */
  | { readonly do: 'leave' }
  | { readonly do: 'connect' }
  | { readonly do: 'close' }

/** Of one order, in the device's own process; CPU time of all its threads. */
export type SdkSpent = { readonly count: number; readonly wallMs: number; readonly cpuMs: number }

export type SdkTold = { readonly ready: true } | { readonly value: SdkSpent | undefined } | { readonly error: string }
