// What bounds clients that are processes of their own. Times in milliseconds.

/** Between the number of a message that goes alone and the next one. */
export const LONE_PAUSE_MS = 10
/** Lines handed to the profile and not stored yet, as `parley send` has them. */
export const UNSTORED_MAX = 256
/** A receiver tells how far it is after so many messages, and after this time. */
export const TOLD_EVERY = 10
export const TOLD_EVERY_MS = 20
/** Messages of one page of a dump. */
export const DUMP_PAGE = 1_000
/** No progress for this long is a failure. */
export const STUCK_MS = 30_000
/** From the start of a client to its answer. */
export const CLIENT_MS = 90_000
/** From the last number until the log itself has it. */
export const LOG_MS = 10_000
/** Somebody who talks without end hands over what is due this often. */
export const TALK_EVERY_MS = 50
/** Lines without a number, for each person one talks to: what is due beyond waits until there is room. */
export const TALK_AHEAD = 128
