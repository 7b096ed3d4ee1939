// What bounds the keys and sizes of this folder, with units.
import { limits } from '#protocol'

const DAY_MS = 86_400_000

/** One-time prekeys of each kind that a device keeps at its home. */
export const PREKEYS_TARGET = 100
/** Private halves of one-time prekeys of each kind that are kept, handed out or not; the oldest go first. */
export const PREKEYS_KEPT_MAX = 2_000
/** libsignal's ids are 24 bits by custom; ids are never used again, so this is the life of a device. */
export const PREKEY_ID_MAX = 0xff_ffff
/** Age at which the signed prekey and the last-resort Kyber key are replaced. */
export const PREKEY_ROTATE_MS = 7 * DAY_MS
/** How long their private halves stay after that: a relay keeps mail for 45 days, and a bundle may have been fetched earlier. */
export const PREKEY_RETIRED_KEPT_MS = 60 * DAY_MS
/** Retired signed or last-resort keys that are kept at most, whatever their age. */
export const PREKEY_RETIRED_MAX = 32
/** Set-ups under one last-resort key that are remembered to refuse their replay. */
export const LAST_RESORT_USES_MAX = 4_096

/** How far ahead of what it has read libsignal follows a chain: it says so nowhere but in its source. */
export const SIGNAL_JUMP_MAX = 25_000
/** A step of the post-quantum ratchet costs a sixth of one of the other (0.8 and 4.9 µs); this is more. */
export const PQ_STEP = 1 / 4
/** Steps of chains that every message may take in each state: a millisecond's work. */
export const JUMP_STEPS_FREE = 256
/** Steps for messages that could not be read, at once and each second: 0.3 s of work and 0.3 % in one state. */
export const WASTED_STEPS_MAX = 60_000
export const WASTED_STEPS_PER_S = 600
/** States of a session, the current one included: set-ups that overtake each other, and messages underway. */
export const SESSION_STATES_MAX = 8
/** Archived states go beyond this. One state is below 1 MiB: five chains of 2,000 skipped keys of 75 bytes. */
export const SESSION_BYTES_MAX = 256 * 1024
/** Sessions of which is remembered whether anything was read or has failed. */
export const SESSIONS_REMEMBERED = 1_024

/** Ids of conversations whose bytes are remembered. */
export const CONVERSATIONS_KEPT = 1_024
/** Plaintext lengths are rounded up to multiples of this ... */
export const PADDING_STEP_BYTES = 128
/** ... and, where that is coarser, to one of so many classes for each doubling. */
export const PADDING_CLASSES = 16
/** What Content adds around text or data: place, head, state key, field tags. */
export const CONTENT_OVERHEAD_BYTES = 512
/** What Signal adds: ratchet header, MAC, and the Kyber ciphertext and keys of a prekey message. */
export const SIGNAL_OVERHEAD_BYTES = 2_560

/** Waits before a reader asks again for an entry that it could not decrypt: the first at once, after the last it gives up. */
export const RETRY_WAITS_MS: readonly number[] = [0, 10 * 60_000, DAY_MS]
/** Times that an author sends one k again to one device. */
export const RETRY_ANSWERS_MAX = RETRY_WAITS_MS.length + 1

export const STATE_KEY_BYTES = 32
export const TAG_SECRET_BYTES = 32

/** Text of a scanned QR code is cut off here before it is looked at. */
export const SCAN_MAX_CHARS = 512
/** A phrase that someone types in. */
export const PHRASE_MAX_CHARS = 1_024

function assertLimit(holds: boolean, what: string): void {
  if (!holds) throw new Error(`limits contradict each other: ${what}`)
}

const contentMaxBytes = limits.CONTENT_MAX_BYTES + CONTENT_OVERHEAD_BYTES
assertLimit(
  contentMaxBytes * (1 + 1 / PADDING_CLASSES) + SIGNAL_OVERHEAD_BYTES <= limits.PART_MAX_BYTES,
  'the largest padded content fits a part',
)
assertLimit(PREKEYS_TARGET <= limits.PREKEYS_ONE_TIME_MAX, 'a home keeps what a device sends')
assertLimit(PREKEYS_TARGET > limits.PREKEYS_LOW, 'replenishing ends above the low mark')
assertLimit(PREKEYS_KEPT_MAX >= 2 * limits.PREKEYS_ONE_TIME_MAX, 'private halves outlive their public ones')
assertLimit(WASTED_STEPS_MAX >= (1 + PQ_STEP) * SIGNAL_JUMP_MAX, 'one failure does not use up everything')
