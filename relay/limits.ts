// What bounds the client port, the accounts and the prekeys of a node. Wire-wide limits are in #protocol.
import { limits } from '#protocol'

// --- device sessions
/** Sockets on the client port, signed in or not. */
export const SOCKETS_MAX = 20_000
/** Sockets of one address, under IPv6 of one /64; loopback (a proxy, a local network) is exempt. */
export const SOCKETS_PER_ADDRESS_MAX = 64
/** Sockets of which the next part of a sign-in is awaited; beyond it the one that is late longest is dropped. */
export const SIGN_INS_PENDING_MAX = 1_024
/** What sign-ins cost is done for this long, then others have their turn ... */
export const SIGN_IN_TURN_MS = 1
/** ... and is this much of the node's time, while others wait for theirs. */
export const SIGN_IN_SHARE = 1 / 2
/** Sockets that wait until their sign-in may begin ... */
export const SIGN_INS_IN_LINE_MAX = 4_096
/** ... and how long the first of them may have waited while others still may join: a client gives up after 10 s. */
export const SIGN_IN_LINE_MAX_MS = 5_000
/** When those who may not are told to come again. */
export const SIGN_IN_AGAIN_MS = 2_000
/** Unsent bytes of one socket beyond which nothing more is read from it, until all of them are gone ... */
export const SOCKET_BACKLOG_HELD_BYTES = 1024 * 1024
/** ... and beyond which it is cut: a reader that slow comes back and pulls. */
export const SOCKET_BACKLOG_MAX_BYTES = 8 * 1024 * 1024
/** What one device may say in a second: its bytes, and so much for each thing in them ... */
export const PACE_PER_SECOND = 4 * 1024 * 1024
export const PACE_ITEM_COST = 256
/** ... and at once. */
export const PACE_BURST = 2 * 1024 * 1024
/** How often those that are waiting are looked at. */
export const PACE_TICK_MS = 10
/** What devices say is handled as it comes for this long, then others have their turn. */
export const TURN_MS = 2
/** Of the node's time; who has had more lately waits behind those who have not. */
export const LOUD_SHARE = 1 / 50
/** Submissions of one frame that are handled at once. */
export const TURN_SUBMISSIONS_MAX = 32
/** What is handed over at once of what another region said, but for one item that is larger by itself. */
export const TURN_LINK_BYTES = 32 * 1024
/** Frames of one device, and of all, that wait for their turn; beyond it a device is not read. */
export const WAITING_EACH_MAX_BYTES = 128 * 1024
export const WAITING_ALL_MAX_BYTES = 32 * 1024 * 1024
/** WebSocket fragments of one message. */
export const FRAGMENTS_MAX = 16
/** A socket that said nothing for this long is pinged. */
export const PING_AFTER_MS = 25_000
/** A socket that said nothing for this long is closed. */
export const IDLE_MAX_MS = 60_000
/** How often each socket is looked at, a few of them every SWEEP_SLICE_MS. */
export const SWEEP_MS = 1_000
export const SWEEP_SLICE_MS = 20
/** How long a closing socket may take before it is cut. */
export const CLOSE_PATIENCE_MS = 2_000
/** Bytes that a socket may send before it has signed in: hello and proof, with room for frames around them. */
export const SIGN_IN_BYTES_MAX = 4 * limits.SIGN_IN_MESSAGE_MAX_BYTES
/** What ws takes at most; up to this a frame beyond FRAME_MAX_BYTES gets a typed refusal, above it only status 1009. */
export const MESSAGE_MAX_BYTES = 2 * limits.FRAME_MAX_BYTES
/** How long a proof may take after it was asked for. */
export const SIGN_IN_PROOF_MS = 2 * limits.SIGN_IN_FIRST_MS

// --- HTTP
export const HTTP_BODY_MAX_BYTES = 1024 * 1024
export const HTTP_HEADERS_MS = 10_000
/** How often connections are looked at that are late with headers or requests. */
export const HTTP_CHECK_MS = 1_000
export const HTTP_REQUEST_MS = 20_000
export const HTTP_KEEP_ALIVE_MS = 30_000
/** How long what was read for the metrics is told to others who ask: anybody may. */
export const READINGS_KEPT_MS = 250
/** Lines of the log of one kind in so long: strangers fill no disk with them. */
export const LINES_MAX = 100
export const LINES_EVERY_MS = 10_000
/** How long an HTTP token counts; a fresh one is sent when half of it is over. */
export const TOKEN_LIFE_MS = 10 * 60_000

/** A budget: so many at once, and one more each so many milliseconds. */
export type Budget = { readonly burst: number; readonly refillMs: number; readonly keysMax: number }

/** Self-authenticating requests (registration, manifests) of one address or IPv6 /64; each costs a few signatures. */
export const ANONYMOUS_BUDGET: Budget = { burst: 60, refillMs: 1_000, keysMax: 65_536 }
/** Requests of one account with a token. */
export const ACCOUNT_BUDGET: Budget = { burst: 300, refillMs: 100, keysMax: 65_536 }

// --- prekeys: whoever drains somebody's one-time keys weakens that person's next sessions
/** Bundles of one device for one requester. */
export const BUNDLE_PAIR_BUDGET: Budget = { burst: 10, refillMs: 60_000, keysMax: 65_536 }
/** One-time keys of one device for everybody; beyond it bundles are given without them. */
export const BUNDLE_TARGET_BUDGET: Budget = { burst: 200, refillMs: 5_000, keysMax: 65_536 }
/**
 * One-time keys of one device for the people of one region, this one too: requesters of another region are only what it
 * says. Fewer than are left when a device stocks anew, so that one region alone does not take them all at once.
 */
export const BUNDLE_SHARE_BUDGET: Budget = { burst: limits.PREKEYS_LOW - 1, refillMs: 10 * 60_000, keysMax: 65_536 }
/** Bundles that one other region asks for. */
export const BUNDLE_REGION_BUDGET: Budget = { burst: 2_000, refillMs: 50, keysMax: 4_096 }

// --- accounts and records
/** Accounts whose verified records are kept in memory: those of sessions and of members of conversations in use. */
export const ACCOUNTS_CACHED_MAX = 65_536
/** Verified records of users of other regions kept in memory. */
export const STRANGERS_CACHED_MAX = 50_000
/** Look-ups for other regions' users under way at once. */
export const LOOKUPS_MAX = 1_024
/** How long another region may take to answer a request. */
export const REQUEST_PATIENCE_MS = 5_000
/** A grant of the root key to the operational key holds this long; `relay renew` makes a new one. */
export const GRANT_FOR_MS = 2 * 365 * 86_400_000
/** `relay check` asks for a renewal when less than this is left. */
export const GRANT_LOW_MS = 60 * 86_400_000
/** `relay check` asks for a new TLS certificate when less than this is left. */
export const CERTIFICATE_LOW_MS = 14 * 86_400_000
/** A clock that is off by more than this is wrong, though records allow for CLOCK_SKEW_MS. */
export const CLOCK_WRONG_MS = 60_000
/** An fsync that takes longer makes every message slow. */
export const FSYNC_SLOW_MS = 50
export const FSYNC_TRIES = 16
/** How long an entry service may take to answer. */
export const ENTRY_PATIENCE_MS = 3_000
/** Addresses that are taken from entry services. */
export const ENTRY_POINTS_MAX = 256
/** Ids of conversations whose bytes are kept beside their text. */
export const CONV_IDS_CACHED_MAX = 65_536
/** Tasks that wait for their turn on one account. */
export const TURNS_WAITING_MAX = 1_024
/** A countersignature is made for this long; the node asks for a new one before it ends. */
export const COUNTERSIGNED_FOR_MS = limits.COUNTERSIGNATURE_MAX_MS

// --- store
/** A commit being gathered is closed after the synchronous run that took it beyond this. */
export const STORE_SEAL_BYTES = 1024 * 1024
/** The largest journal record. */
export const STORE_COMMIT_MAX_BYTES = 8 * 1024 * 1024
/** What one synchronous run may put and be sure that it lies in one commit; the closing hook has the same once more. */
const STORE_STEP_MAX_BYTES = (STORE_COMMIT_MAX_BYTES - STORE_SEAL_BYTES) / 2
/** A checkpoint begins when this much, this many records or this age waits to be written to rows. */
export const STORE_CHECKPOINT_BYTES = 32 * 1024 * 1024
export const STORE_CHECKPOINT_RECORDS = 20_000
export const STORE_CHECKPOINT_AGE_MS = 60_000
/** So long as much as STORE_CHECKPOINT_BYTES may wait, half of it twice as long, and so on. */
export const STORE_CHECKPOINT_REST_MS = 2_000
/** The same for what was written to the journal: a restart reads it all again. */
export const STORE_CHECKPOINT_JOURNAL_BYTES = 64 * 1024 * 1024
/** The first file of a journal, and the largest: each is twice as large as the one before. */
export const STORE_SEGMENT_MIN_BYTES = 1024 * 1024
export const STORE_SEGMENT_MAX_BYTES = 16 * 1024 * 1024
/** Files of the journal that are kept to be written over; those beyond are removed. */
export const STORE_SPARE_BYTES = 64 * 1024 * 1024
/** One batch of a checkpoint: so many changes or so many bytes, whichever comes first. */
export const STORE_SLICE_CHANGES = 256
export const STORE_SLICE_BYTES = 256 * 1024
/** After a piece that was written for later the disk rests so many times as long as the piece took, at most so long. */
export const STORE_REST_FACTOR = 3
export const STORE_REST_MAX_MS = 10
/** What was committed is witnessed so much later: one write for the commits of a moment, not one for each. */
export const STORE_WITNESS_MS = 100
/** Records that are trimmed at once when feeds have moved on between checkpoints. */
export const STORE_TRIM_RECORDS = 1_000
/** What memory keeps of rows only because it was read or written a short while ago. */
export const STORE_CLEAN_MAX_BYTES = 32 * 1024 * 1024
/** Logs that memory knows something of though everything is in rows. */
export const STORE_LOGS = 20_000
/** Beyond this, rows are too slow for what comes in: the store has no room. */
export const STORE_MEMORY_MAX_BYTES = 256 * 1024 * 1024
/** How old the last look at the disk's free bytes may be. */
export const STORE_FREE_CHECK_MS = 2_000
/** What a relay leaves free on its disk, so that it can still checkpoint, acknowledge and be repaired. */
export const STORE_RESERVE_BYTES = 256 * 1024 * 1024

function assertLimit(holds: boolean, what: string): void {
  if (!holds) throw new Error(`limits contradict each other: ${what}`)
}

assertLimit(
  SOCKET_BACKLOG_MAX_BYTES >= SOCKET_BACKLOG_HELD_BYTES + 4 * limits.FRAME_MAX_BYTES,
  'a socket takes several frames',
)
assertLimit(SIGN_INS_IN_LINE_MAX + SIGN_INS_PENDING_MAX < SOCKETS_MAX / 2, 'a crowd at the door leaves room inside')
assertLimit(PACE_BURST >= 2 * limits.FRAME_MAX_BYTES, 'the largest frame goes through at once')
assertLimit(PACE_PER_SECOND > 5_000 * (PACE_ITEM_COST + 512), 'a device can send 5,000 texts a second')
assertLimit(IDLE_MAX_MS > 2 * PING_AFTER_MS, 'a ping is answered before the socket counts as idle')
assertLimit(
  HTTP_BODY_MAX_BYTES * 3 >= limits.PREKEYS_MAX_BYTES * 4,
  'a request holds the largest prekey payload in base64',
)
assertLimit(STORE_SPARE_BYTES >= STORE_CHECKPOINT_JOURNAL_BYTES, 'a journal that turns over makes no new files')
assertLimit(STORE_SEGMENT_MAX_BYTES > STORE_COMMIT_MAX_BYTES, 'a segment holds a commit')
assertLimit(STORE_COMMIT_MAX_BYTES > 2 * STORE_SEAL_BYTES, 'a step fits a commit')
assertLimit(STORE_STEP_MAX_BYTES > 2 * limits.LINK_BATCH_MAX_BYTES, 'what a batch or a frame brings fits a step')
assertLimit(
  STORE_MEMORY_MAX_BYTES >= 2 * STORE_CHECKPOINT_BYTES + STORE_CLEAN_MAX_BYTES,
  'memory holds a checkpoint and what comes in meanwhile',
)
/** Names one start of a node. */
export const BOOT_ID_BYTES = 16
