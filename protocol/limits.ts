// Every number that bounds what goes over a wire, with its unit. Relations between them are asserted below.

export const EPOCH_MAX = 2 ** 21 - 1
/**
 * Home generations that each root epoch may add, within EPOCH_MAX. A manifest key may be stolen, and it may name any
 * generation: what is left for those after it must not be in its power. Somebody who moves three times a day needs this
 * many in seven years.
 */
export const ROOT_EPOCH_GENERATIONS_MAX = 2 ** 13
export const N_MAX = 2 ** 32 - 1
export const K_MAX = 2 ** 32 - 1
export const DEVICE_NUMBER_MAX = 127

/** Submissions of one device in one conversation that a home forwards without knowing them to be sequenced. */
export const IN_FLIGHT_MAX = 256
/** How far a device encrypts ahead of what is sequenced. */
export const AHEAD_MAX = 1_024
/** Ratchet steps burnt by encrypting again before a new session is set up. */
export const REENCRYPT_MAX = 10_000

export const CONTENT_MAX_BYTES = 64 * 1024
/** Ciphertext of one part: content, place binding and Signal's overhead with a prekey message around it. */
export const PART_MAX_BYTES = CONTENT_MAX_BYTES + 8 * 1024
export const PARTS_MAX = 1_024
/** An entry: header and parts. */
export const ENTRY_MAX_BYTES = 256 * 1024
export const SIGN_IN_MESSAGE_MAX_BYTES = 16 * 1024
export const SIGN_IN_FIRST_MS = 5_000
/** An origin or a peer id. */
export const AUDIENCE_MAX_CHARS = 300
export const FRAME_MAX_BYTES = 1024 * 1024
/** Repeated fields of a frame, all together, counted before it is decoded. */
export const FRAME_ITEMS_MAX = 8_192
export const LINK_BATCH_MAX_BYTES = 1024 * 1024
export const LINK_BATCH_ITEMS_MAX = 16_384
/** A batch with the frame around it. */
export const LINK_FRAME_MAX_BYTES = LINK_BATCH_MAX_BYTES + 64
/** Repeated fields within one item: more than the smallest entries that fill a batch. */
export const LINK_ITEM_FIELDS_MAX = 32_768
/** What a home says of one author's submissions: its newest versions of manifests are most of it. */
export const SUBMISSION_STATE_MAX_BYTES = 128 * 1024
export const REQUEST_MAX_BYTES = 1024 * 1024
/** What a page of entries is cut at, but for its first entry. */
export const PAGE_MAX_BYTES = 256 * 1024
export const NAMES_MAX = 65_536
/** Texts in a refusal that comes over a wire. */
export const REFUSAL_CODE_MAX_CHARS = 64
export const REFUSAL_TEXT_MAX_CHARS = 1_000
export const REFUSAL_FACTS_MAX = 16
export const REQUEST_METHOD_MAX_CHARS = 64

/** Payload of a record. */
export const RECORD_MAX_BYTES = 16 * 1024
/** What stands around a payload: keys, signatures, the grant. */
export const ENVELOPE_MAX_BYTES = 1024
export const HOME_RECORD_MAX_BYTES = 4 * 1024
/** A manifest travels whole inside a sign-in message. */
export const MANIFEST_MAX_BYTES = 8 * 1024
export const DEVICES_MAX = 16
export const FALLBACKS_MAX = 4
export const REGION_NODES_MAX = 64
/** Records in a bootstrap node's list of regions: what it lists at most, and what a client reads of it. */
export const REGIONS_LISTED_MAX = 500
export const REGION_NAME_MAX_CHARS = 64
/** Multiaddrs of a node, and client URLs of a node. */
export const NODE_ADDRESSES_MAX = 16
export const ADDRESS_MAX_CHARS = 256
export const REVOKED_KEYS_MAX = 64
export const COUNTERSIGNATURE_MAX_MS = 90 * 86_400_000
export const REGION_RECORD_MAX_MS = 30 * 86_400_000
/** Statements in a host register: of the regions of a conversation. */
export const CLOSED_MAX = 16
export const HOST_REGISTER_MAX_BYTES = 16 * 1024
/** Host registers that one message carries: more moves than these are told in several. */
export const HOST_REGISTERS_MAX = 16
/** How far two honest clocks may differ. */
export const CLOCK_SKEW_MS = 10 * 60_000

export const PREKEYS_ONE_TIME_MAX = 200
export const PREKEYS_LOW = 25
/** A prekeys payload: PREKEYS_ONE_TIME_MAX Kyber keys of 1,569 bytes with their signatures are most of it. */
export const PREKEYS_MAX_BYTES = 384 * 1024
export const REGISTER_BODY_MAX_BYTES = 512

/** A device gets `held` when its submission is committed and not yet numbered after this time. */
export const HELD_AFTER_MS = 20

function assertLimit(holds: boolean, what: string): void {
  if (!holds) throw new Error(`limits contradict each other: ${what}`)
}

assertLimit(PART_MAX_BYTES > CONTENT_MAX_BYTES, 'a part holds the largest content')
assertLimit(ENTRY_MAX_BYTES >= 2 * PART_MAX_BYTES, 'an entry holds a part for each side')
assertLimit(FRAME_MAX_BYTES >= 2 * ENTRY_MAX_BYTES, 'a frame holds an entry')
assertLimit(LINK_BATCH_MAX_BYTES >= 2 * ENTRY_MAX_BYTES, 'a batch holds an entry')
assertLimit(SUBMISSION_STATE_MAX_BYTES > PARTS_MAX * 64, 'a state holds the newest versions of all members')
assertLimit(
  SUBMISSION_STATE_MAX_BYTES > 3 * (REFUSAL_FACTS_MAX + 1) * (REFUSAL_CODE_MAX_CHARS + REFUSAL_TEXT_MAX_CHARS),
  'a state holds a refusal',
)
assertLimit(LINK_ITEM_FIELDS_MAX * 50 > LINK_BATCH_MAX_BYTES, 'an item holds a batch of bare headers')
assertLimit(FRAME_ITEMS_MAX * 50 > PAGE_MAX_BYTES, 'a page holds bare headers')
assertLimit(PAGE_MAX_BYTES + ENTRY_MAX_BYTES <= FRAME_MAX_BYTES, 'a page fits a frame')
assertLimit(SIGN_IN_MESSAGE_MAX_BYTES >= MANIFEST_MAX_BYTES + 4 * 1024, 'a proof holds a manifest')
assertLimit(REQUEST_MAX_BYTES >= 2 * PREKEYS_MAX_BYTES, 'a request holds prekeys')
assertLimit(FRAME_ITEMS_MAX >= 2 * PARTS_MAX, 'a frame holds the largest submission')
assertLimit(HOST_REGISTER_MAX_BYTES <= RECORD_MAX_BYTES, 'a host register is a record')
assertLimit(
  HOST_REGISTERS_MAX * (HOST_REGISTER_MAX_BYTES + ENVELOPE_MAX_BYTES) < FRAME_MAX_BYTES / 2,
  'a frame holds moves',
)
assertLimit(AHEAD_MAX >= IN_FLIGHT_MAX, 'a device can fill the pipe')
