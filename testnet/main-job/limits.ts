// What the main job is made of, and how long it waits. Times in milliseconds.

/** Lines of one phase in one direction: the long form, and the one in the suite. */
export const LINES_LONG = 10_000
export const LINES_SHORT = 1_000
/** With fewer, everything has arrived before a process can be killed in the middle of it. */
export const LINES_MIN = 1_000
/** Messages that go alone, each after the one before has arrived. */
export const LONE_MESSAGES = 200
/** Shares of the receiver's cursor at which a relay is killed. */
export const KILL_AT = [0.2, 0.4, 0.6, 0.8] as const
/** How far the sender is ahead of the receiver meanwhile, as a share of all lines: less than lies between two kills. */
export const KILL_AHEAD_SHARE = 0.1
/** Where times from sending to receiving are measured: lines without a number at any moment. */
export const PACED_AHEAD = 256
/** Lines that a pipe feeds to `parley send` beyond what has been received: it dies with lines that it has not read. */
export const PIPE_AHEAD_SHARE = 0.15
/** What a device can encrypt ahead of what is numbered, so what its home can hold. */
export const HELD_WANTED = 1_024
/** Between two looks at what cannot be waited for. */
export const POLL_MS = 5
/** A pause of the receiver that is longer than this is shown as a stall. */
export const STALL_MS = 2_000
/** The long form takes half of this; what is not done by then has hung. */
export const JOB_MAX_MS = 15 * 60_000
/** The same for the form in the suite. */
export const TEST_MAX_MS = 150_000
