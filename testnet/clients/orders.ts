// What a client is told to do, and what it answers. Positions are plain numbers here.

export type Order =
  | { readonly do: 'connect' }
  | { readonly do: 'find'; readonly user: string; readonly name: string }
  /**
   * Sends the lines of a file, as a job; resolves when all are stored. `ahead`: lines without a number at any moment;
   * `allowed`: no line beyond before `allow` says so.
   */
  | {
      readonly do: 'send'
      readonly to: string
      readonly file: string
      readonly job: string
      readonly ahead: number | undefined
      readonly allowed: number | undefined
    }
  | { readonly do: 'allow'; readonly lines: number }
  /** Sends the lines of a file, each one a moment after the one before has its number. */
  | { readonly do: 'send-lone'; readonly to: string; readonly file: string }
  | {
      readonly do: 'until'
      readonly to: string
      readonly job: string
      readonly stage: 'held' | 'sequenced' | 'delivered'
    }
  /** Resolves when so many messages of this process are held or numbered. */
  | { readonly do: 'until-held'; readonly count: number }
  /** Waits until the log has so many entries; then everything goes into the file, messages behind `after` only. */
  | {
      readonly do: 'dump'
      readonly with: string
      readonly entries: number
      readonly after: number
      readonly file: string
    }
  /** What `parley receive` prints next is what comes after now. */
  | { readonly do: 'skip-to-end'; readonly with: string; readonly at: number }
  /** Talks without end, so many lines a second to each, and writes everything down in the journal. */
  | {
      readonly do: 'talk'
      readonly journal: string
      readonly to: readonly Partner[]
      readonly perSecond: number
    }
  /** Resolves when what was said before is durable. */
  | { readonly do: 'pace'; readonly perSecond: number }
  | { readonly do: 'standing' }
  /** SIGKILL to itself, in place of handing this frame to the socket. */
  | { readonly do: 'die'; readonly frames: number }
  | { readonly do: 'progress' }
  | { readonly do: 'times' }
  | { readonly do: 'close' }

/** Lines to one person are a job: after an interruption the profile knows how far it came. */
export type Partner = { readonly user: string; readonly job: string }

/** How it stands with one of them. */
export type Standing = {
  readonly user: string
  /** Lines said. */
  readonly said: number
  /** Those of them without a place. */
  readonly waiting: number
  /** The place of the newest message of both, and what of it the other device has. */
  readonly last: number
  readonly delivered: number
}

/** By k, on the clock that all processes of a machine share. */
export type Times = {
  readonly sent: readonly (readonly [k: number, ms: number])[]
  readonly received: readonly (readonly [k: number, ms: number])[]
  readonly held: number
  readonly connections: readonly (readonly [is: string, ms: number])[]
}

/** Of this process. */
export type Progress = { readonly stored: number; readonly numbered: number }

export type Asked = { readonly id: number; readonly order: Order }
export type Told =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string }
  | { readonly received: number }
  | { readonly faults: string }
  | { readonly ready: true }

/** Milliseconds on a clock that all processes of a machine share. */
export const sharedMs = (): number => Number(process.hrtime.bigint()) / 1e6
