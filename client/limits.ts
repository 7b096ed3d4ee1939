// Every number that bounds what a client keeps, sends or waits for, with its unit. What goes over a wire is bounded in
// #protocol's limits; relations between the two are asserted below.
import { limits } from '#protocol'

/** Inputs (calls, frames, answers) that one turn takes before it commits. */
export const TURN_INPUTS_MAX = 256
/** Contents encrypted in one turn: what is waiting behind them is answered in between. */
export const SEAL_PER_TURN = 256
/** Calls and frames that wait for a turn; a frame beyond ends the session, a call beyond is refused. */
export const QUEUE_MAX = 65_536
/** Plaintext that one conversation lets wait for a number: what comes beyond is refused as `no_room`. */
export const WAITING_MAX = 100_000

/** A second `behind` is acted on after this time at the latest. */
export const BEHIND_AGAIN_MS = 1_000
/** A rewind for the same cursor, or a pull that brought nothing, is repeated after this time. */
export const REWIND_AGAIN_MS = 1_000
/** A submission that was told to wait goes again after this time, or later if the home says so. */
export const WAIT_AGAIN_MS = 1_000
/** That the device has its own entries is said after this time at the latest, when nothing else is to be said. */
export const FOLLOWED_MS = 1_000
/** Bytes of submissions in one frame. */
export const FRAME_FILL_BYTES = 256 * 1024

/** Entries of one conversation that have been asked for again and not been answered. */
export const ASKED_MAX = 256
/** How often one entry is asked for again. */
export const ASKS_PER_ENTRY_MAX = 2
/** How often an author answers for one k. */
export const AGAIN_PER_K_MAX = 3

/** State keys of a conversation that registers are tried with. */
export const STATE_KEYS_KEPT = 16
/** Rows that are kept in memory because they are needed again soon: bytes of all of them together. */
export const ROWS_KEPT_BYTES = 8 * 1024 * 1024
/** Of the file that says how a profile's passphrase is stretched. */
export const PARAMETERS_MAX_BYTES = 4 * 1024
/** Authors of messages whose names are kept taken apart. */
export const AUTHORS_KEPT = 1_024
/** Devices of one person that are gone and can still be read, those registered last: with the session of each. */
export const GONE_DEVICES_MAX = 64
/** Hashes of a conversation's chain that are kept in memory, to compare what others have seen with. */
export const HASHES_KEPT = 1_024
/** Wait before a look-up or upload that failed is tried again, doubled each time. */
export const LOOK_UP_AGAIN_MS = 1_000
export const LOOK_UP_AGAIN_MAX_MS = 30_000
/** Wait before a refused upload of prekeys is sent again, doubled each time from LOOK_UP_AGAIN_MS up to this. */
export const UPLOAD_AGAIN_MAX_MS = 10 * 60_000
/** A device that no manifest names makes the client look for a newer manifest at most this often. */
export const STRANGE_DEVICE_MS = 60_000

/**
 * Waits before the next connection grow by this factor from the first to the last, each times 0.5 to 1: whoever's home is
 * back after some time waits for at most half of that time more.
 */
export const RECONNECT_GROWTH = 1.5
export const RECONNECT_FIRST_MS = 250
export const RECONNECT_MAX_MS = 30_000
/** A session that lasted this long was a good one: whoever loses it tries again with the shortest wait. */
export const SESSION_HEALTHY_MS = 3_000
export const CONNECT_MS = 10_000
/** A quiet session is asked for a sign of life this often; without one by the next time it ends. */
export const KEEP_ALIVE_MS = 10_000
export const HTTP_MS = 10_000
/** Bytes of an answer over HTTP. */
export const HTTP_ANSWER_MAX_BYTES = 4 * 1024 * 1024
/** Bytes handed to the socket and not taken by it; the session ends beyond. */
export const SOCKET_BACKLOG_MAX_BYTES = 64 * 1024 * 1024
/** Regions that are timed when a new account picks its home. */
export const ENTRIES_TIMED_MAX = 16
export const ENTRY_TIMING_MS = 3_000

/** A home that says that it was restored is believed so many times in so long, ms. */
export const COME_HOME_TIMES = 3
export const COME_HOME_MS = 24 * 3_600_000
/** A profile that turned out to be an old copy registers anew by itself at most this often. */
export const REPLACE_SELF_MS = 24 * 3_600_000

/** Places of one conversation that a reader came past unread and looks at again; the oldest are given up beyond. */
export const READER_LEFT_MAX = 8_192
/** Messages that one page of history holds at most. */
export const HISTORY_PAGE_MAX = 1_000
/** Events that an iterator keeps for a reader who does not read; the iterator ends with an error beyond. */
export const EVENTS_KEPT_MAX = 100_000

/** argon2id: memory in KiB, passes, lanes. */
export const ARGON2_MEMORY_KIB = 64 * 1024
export const ARGON2_PASSES = 3
export const ARGON2_LANES = 4

function assertLimit(holds: boolean, what: string): void {
  if (!holds) throw new Error(`limits contradict each other: ${what}`)
}

assertLimit(WAITING_MAX > limits.AHEAD_MAX, 'what waits as plaintext lies beyond what is encrypted ahead')
assertLimit(FRAME_FILL_BYTES + limits.ENTRY_MAX_BYTES <= limits.FRAME_MAX_BYTES, 'a filled frame stays below its limit')
assertLimit(ASKED_MAX < limits.AHEAD_MAX, 'asking again leaves room for what people say')
