// What bounds the load generator.
import { limits } from '#protocol'

/** What one read of a socket brings at most; one buffer for all sockets. */
export const READ_BUFFER_BYTES = 256 * 1024
/** The largest frame that is taken. */
export const FRAME_MAX_BYTES = 2 * limits.FRAME_MAX_BYTES
/** Ciphertext of a 256-byte text: after the first reply, and before it (with a Kyber key exchange around it). */
export const TEXT_BYTES = 362
export const FIRST_TEXT_BYTES = 2_054
/** What the forwarder without protocol or store passes on. */
export const RAW_FRAME_BYTES = 400
/** Messages of one pair whose times are remembered; more are never in flight. */
export const TIMES_KEPT = 4_096
/** What a device asks for when it is behind. */
export const PULL_BYTES = limits.PAGE_MAX_BYTES
/** Sign-ins and registrations under way at once, of one process. */
export const AT_ONCE = 32
/** A child that does not answer for so long has failed. */
export const ANSWER_MAX_MS = 300_000
/** Between two tries to reach a relay that is starting. */
export const FIRST_ANSWER_EVERY_MS = 5
/** A generator with an open loop sleeps while nothing is due for longer than this, and spins otherwise. */
export const SLEEP_LEAST_MS = 2
/** What is not done so long after the last message was sent is a fault. */
export const STOP_MAX_MS = 60_000
/** After which an author that was told to wait, or where to go on, sends again. */
export const RETRY_MS = 200
/** After which an author says that it has its own messages, when nothing else is to be said. */
export const FOLLOWED_MS = 1_000
/** What one frame of a device holds at most: both well within what a home takes. */
export const SUBMISSIONS_A_FRAME = 512
export const SUBMISSION_BYTES_A_FRAME = limits.FRAME_MAX_BYTES / 2
