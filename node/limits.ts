// Every bound of the node, with its unit. Relations are asserted below.
import { limits as protocol } from '#protocol'

// --- connections
/** Sockets of one address that have not yet become an authenticated connection; beyond it one of them is dropped.
 *  Loopback (a proxy, a local network) is exempt from what is limited by address. */
export const PENDING_PER_ADDRESS_MAX = 64
/** The same over all addresses. */
export const PENDING_MAX = 4_096
/** Sockets of one address, authenticated ones included. */
export const SOCKETS_PER_ADDRESS_MAX = 512
/** From accept to an authenticated connection. */
export const UPGRADE_MAX_MS = 4_000
export const UPGRADE_SWEEP_MS = 500
export const CONNECTIONS_MAX = 1_000
export const DIAL_MAX_MS = 4_000
export const DIALS_PARALLEL_MAX = 64
/** libp2p's own limit, raised so that ours (which tells old from new) is the one that acts. */
export const INBOUND_PER_HOST_PER_SECOND_MAX = 1_000
/** Streams that a peer may have open on a connection; those beyond it end before anything is said on them. */
export const STREAMS_INBOUND_MAX = 64
export const STREAMS_OUTBOUND_MAX = 256
export const ALLOW_LIST_MAX = 64
/** What gathers for a peer within one moment leaves at the latest when it is so much. */
export const SOCKET_MESSAGE_MAX_BYTES = 512 * 1024
/** What mesh sockets bring is handled as it comes for this long, with all that it sets off, then others have their turn. */
export const MESH_TURN_MS = 2
/** Of the node's time; a socket that has had more lately waits behind those that have not. */
export const MESH_LOUD_SHARE = 1 / 10
/** What is handed over at once of what a mesh socket brings: at least so much, and more if that takes little time. */
export const MESH_PIECE_MIN_BYTES = 256
export const MESH_PIECE_MAX_BYTES = 1024 * 1024
/** Bytes of one socket that wait for their turn; beyond it the socket is not read. */
export const MESH_WAITING_MAX_BYTES = 256 * 1024
/** A WebSocket message of a peer: whatever it sends in one piece. */
export const SOCKET_PAYLOAD_MAX_BYTES = 8 * 1024 * 1024
/** How long a start waits for its first bootstrap connection before it goes on without. */
export const BOOTSTRAP_FIRST_MS = 1_500
export const BOOTSTRAP_CHECK_MS = 2_000
/** Every check dials a bootstrap address that is away for so long only: networks are started in any order. */
export const BOOTSTRAP_QUICK_MS = 60_000
/** After that the pauses double up to this: anybody's address may be among them. */
export const BOOTSTRAP_AGAIN_MAX_MS = 60_000
/** Time for libp2p to close its connections before the process goes on without it. */
export const STOP_MAX_MS = 3_000

// --- directory
export const KAD_PROTOCOL = '/parley/kad/1'
/** Peers that store a record, and width of a look-up. */
export const REPLICATION = 20
export const KAD_PARALLEL = 10
export const KAD_MESSAGE_MAX_BYTES = 64 * 1024
/** Records that one peer puts into this node's DHT: a bucket of KAD_PUTS_BURST, filled at KAD_PUTS_PER_SECOND. */
export const KAD_PUTS_PER_SECOND = 50
export const KAD_PUTS_BURST = 500
/** Records that one peer asks this node's DHT for: the same. */
export const KAD_GETS_PER_SECOND = 500
export const KAD_GETS_BURST = 2_000
/** Peers whose rate is remembered. */
export const KAD_PEERS_MAX = 4_096
/** DHT streams of one peer. */
export const KAD_STREAMS_MAX = 32
/** How long a peer's stream may wait for its next message. */
export const KAD_SILENCE_MAX_MS = 3_000
/** A DHT peer that has not answered by then counts as silent. */
export const KAD_ANSWER_MAX_MS = 2_000
/** Equal answers that shorten the wait for a newer one to LOOKUP_SETTLE_MS. */
export const LOOKUP_AGREE = 3
export const LOOKUP_SETTLE_MS = 40
/** No new answer for this long after a valid one: done. */
export const LOOKUP_QUIET_MS = 250
/** Whatever happens, but for LOOKUP_GRACE_MS when nothing has come: a starved process sees its timers first. */
export const LOOKUP_MAX_MS = 900
export const LOOKUP_GRACE_MS = 50
/** How long a look-up or a publish waits for the first DHT peer of a node that has just started. */
export const LOOKUP_FIRST_PEER_MS = 600
export const LOOKUPS_MAX = 256
export const PUBLISH_ENOUGH = 3
/** No new close peer for this long, or after the second in all: those found so far are asked to store. */
export const PUBLISH_QUIET_MS = 100
export const PUBLISH_SEARCH_MAX_MS = 500
/** A node that has just started looks around in the DHT after this. */
export const KAD_FIRST_LOOK_MS = 200
/** And then again and again: a node should know others than its bootstrap node when that one dies. */
export const KAD_LOOK_MS = 30_000
/** Whatever happens; what was asked goes on. */
export const PUBLISH_MAX_MS = 900
/** Records on their way at once, and that set out in REFRESH_TICK_MS. */
export const PUBLISH_PARALLEL = 8
/** On average a record is published again after three quarters of this: 300,000 of them are 6.5 a second. */
export const REFRESH_MS = 17 * 3_600_000
/** What nobody has is published again after this, doubling up to PUBLISH_RETRY_MAX_MS; what too few have, up to the other. */
export const PUBLISH_RETRY_MS = 1_000
export const PUBLISH_RETRY_MAX_MS = 60_000
export const PUBLISH_SHORT_MAX_MS = 3_600_000
export const REFRESH_TICK_MS = 1_000
/** A record is renewed when less than this is left, or a third of its time if that is shorter. */
export const RENEW_BEFORE_MS = 30 * 86_400_000
/** A new DHT peer triggers publishing what was short of peers after this pause, so that several count as one. */
export const PEER_APPEARED_MS = 100
/** And so often: anybody can appear. */
export const PEER_APPEARED_PER_SECOND = 1 / 20
export const PEER_APPEARED_BURST = 16
export const KNOWN_HOMES_MAX = 50_000
export const KNOWN_REGIONS_MAX = 4_096
export const FLOORS_MAX = 200_000
/** Verified records remembered by their bytes, so that twenty equal answers cost one verification. */
export const VERIFIED_MAX = 512
/** The same of records that peers put: each is looked at twice, at once. */
export const VERIFIED_PUTS_MAX = 64
export const NEGATIVE_MS = 2_000
export const NEGATIVE_MAX = 10_000
export const FLOOR_SWEEP_MS = 600_000
export const STORAGE_PAGE = 1_000
export const STORAGE_PARALLEL = 64

// --- links
export const LINK_PROTOCOL = '/parley/link/1'
export const LINK_VERSION = 1
export const LINK_FRAME_MAX_BYTES = protocol.LINK_BATCH_MAX_BYTES + 64
export const LINK_HELLO_MAX_BYTES = 2 * protocol.RECORD_MAX_BYTES
/** A batch is cut here, but for an item that is larger by itself. */
export const LINK_BATCH_CUT_BYTES = 256 * 1024
export const LINK_ITEM_MAX_BYTES = protocol.LINK_BATCH_MAX_BYTES - 4 * 1024
/** Bytes of batches sent and not yet consumed. */
export const LINK_CREDIT_BYTES = 4 * 1024 * 1024
/** Credit that leaves by itself; less waits for something that it can go with. */
export const LINK_CREDIT_STEP_BYTES = 256 * 1024
/** A link on which more than this left at the end of a moment gathers all of the next one. */
export const LINK_BUSY_BYTES = 8 * 1024
/** Bytes and items queued beyond what is in flight; more stays in the sender's journal. */
export const LINK_QUEUE_MAX_BYTES = 8 * 1024 * 1024
export const LINK_QUEUE_MAX_ITEMS = 65_536
/** Small frames (ping, credit) that a peer may send per heartbeat without batches. */
export const LINK_CONTROL_FRAMES_MAX = 4_096
export const LINK_HELLO_MAX_MS = 4_000
export const LINK_HEARTBEAT_MS = 1_500
export const LINK_TICK_MS = LINK_HEARTBEAT_MS / 2
/** Nothing heard for this long: the peer is gone. */
export const LINK_SILENCE_MAX_MS = 6_000
export const LINK_BACKOFF_MS = 200
/** Low enough that links stand again within the ten seconds in which a healed network converges. */
export const LINK_BACKOFF_MAX_MS = 5_000
/** Nodes of a region that are tried before the next pause. */
export const LINK_DIALS_PER_ROUND = 3
/** Peer ids whose region is remembered, so that a link is set up at once when one appears. */
export const LINK_NODES_MAX = 16_384
/** A link that was up this long is taken as healthy: the next back-off starts from the beginning. */
export const LINK_HEALTHY_MS = 10_000
export const LINKS_MAX = 1_024
export const LINK_STREAMS_PER_PEER_MAX = 4
/** Incoming links that have not said hello; honest ones do within milliseconds. */
export const LINKS_HALF_OPEN_MAX = 256
/** Between two look-ups of a region of which no record is known. */
export const LINK_UNKNOWN_BACKOFF_MAX_MS = 30_000

// --- requests
export const REQUEST_PROTOCOL = '/parley/request/1'
export const REQUEST_FRAME_MAX_BYTES = protocol.REQUEST_MAX_BYTES + 1_024
/** Requests under way to one peer. */
export const REQUESTS_PER_PEER_MAX = 64
/** Requests under way from one peer: it may have given some up that are still being worked on. */
export const REQUESTS_SERVED_PER_PEER_MAX = 2 * REQUESTS_PER_PEER_MAX
export const REQUEST_HANDLER_MAX_MS = 15_000
export const REQUEST_IDENTITY_WAIT_MS = 1_000
/** Answers that nobody asked for before the stream is cut. */
export const UNSOLICITED_MAX = 64
export const REQUEST_PEERS_MAX = 1_024
/** Requests of one peer for methods that there are not: a bucket of the burst, filled at so many per second. */
export const REQUESTS_UNKNOWN_PER_SECOND = 10
export const REQUESTS_UNKNOWN_BURST = 100
/** Replies on one stream that wait because the asker does not read; beyond it the stream ends. */
export const REQUEST_REPLIES_MAX_BYTES = 1024 * 1024
/** A waiting reply counts as at least so much: a small one takes more memory than its bytes. */
export const REQUEST_REPLY_MIN_BYTES = 512
/** An answer that would have to wait beyond this becomes a refusal; those of all that is served still find room. */
export const REQUEST_ANSWERS_MAX_BYTES =
  REQUEST_REPLIES_MAX_BYTES - REQUESTS_SERVED_PER_PEER_MAX * REQUEST_REPLY_MIN_BYTES

export type RequestMethod = 'records' | 'bundle'

export type Quota = {
  /** Requests of one peer: a bucket of `burst`, filled at `perSecond`. */
  readonly perSecond: number
  readonly burst: number
  readonly requestMaxBytes: number
  readonly responseMaxBytes: number
  /** Whether a peer without a region's certificate may ask. */
  readonly anonymous: boolean
}

/** A method without a quota does not compile. */
export const QUOTAS: Readonly<Record<RequestMethod, Quota>> = {
  records: {
    perSecond: 500,
    burst: 1_000,
    requestMaxBytes: 1_024,
    responseMaxBytes: 4 * protocol.RECORD_MAX_BYTES,
    anonymous: false,
  },
  bundle: { perSecond: 200, burst: 400, requestMaxBytes: 1_024, responseMaxBytes: 64 * 1024, anonymous: false },
}

function assertLimit(holds: boolean, what: string): void {
  if (!holds) throw new Error(`limits contradict each other: ${what}`)
}

assertLimit(
  LOOKUP_QUIET_MS < LOOKUP_MAX_MS && LOOKUP_FIRST_PEER_MS < LOOKUP_MAX_MS,
  'a look-up ends by itself before it is ended',
)
assertLimit(LOOKUP_AGREE < REPLICATION, 'enough peers to agree')
assertLimit(
  LINK_HEARTBEAT_MS <= 3_000 && LINK_SILENCE_MAX_MS >= 3 * LINK_HEARTBEAT_MS,
  'a lost heartbeat alone cuts no link',
)
assertLimit(LINK_CREDIT_BYTES >= 2 * protocol.LINK_BATCH_MAX_BYTES, 'a full batch on its way leaves room for the next')
assertLimit(LINK_CREDIT_STEP_BYTES * 4 <= LINK_CREDIT_BYTES, 'credit comes long before it is needed')
assertLimit(LINK_BATCH_CUT_BYTES <= protocol.LINK_BATCH_MAX_BYTES, 'a cut batch is within the limit')
assertLimit(PENDING_PER_ADDRESS_MAX < PENDING_MAX, 'one address cannot take all pending places')
assertLimit(STREAMS_INBOUND_MAX >= KAD_STREAMS_MAX + LINK_STREAMS_PER_PEER_MAX + 16, 'a busy peer opens what it needs')
assertLimit(LOOKUPS_MAX <= VERIFIED_MAX, 'the answers of all look-ups are verified once')
assertLimit(
  (300_000 * REFRESH_TICK_MS) / (REFRESH_MS * 0.75) < PUBLISH_PARALLEL,
  'the records of a large region are published as fast as they fall due',
)
assertLimit(REFRESH_MS * 2 < 36 * 3_600_000, 'records are refreshed twice before foreign DHT peers forget them')
