// How a relay is put under pressure, and what it has to stand. Times in milliseconds.

/** First, so that a relay is measured that people use; then until it is idle, or as if it had to become so. */
export const IN_USE_MS = 2_000
export const IN_USE_FLIGHT = 64
/** Of one row: as long before the attack as after it. */
export const QUIET_MS = 4_000
export const ATTACK_MS = 12_000
/** After all garbage was collected. */
export const SETTLE_MS = 2_000
/** After an attack, whose last bytes are still on their way: until relays use no more of a core than before, and this. */
export const CALM_SHARE = 0.1
export const CALM_EVERY_MS = 1_000
/** One after the other. */
export const CALM_SECONDS = 2
/** At most: what goes on for longer is part of the row. */
export const CALM_MAX_MS = 12_000
/** Less than 3 MB of new rows may wait longer than this for a checkpoint (STORE_CHECKPOINT_REST_MS). */
export const AFTER_MAX_MS = 24_000
export const AFTER_EVERY_MS = 2_000

/** Honest people who talk meanwhile, and how much they say in all. */
export const HONEST_PAIRS = 20
export const HONEST_PER_SECOND = 200
/** From the end of a row until everything that they said is there. */
export const HONEST_ARRIVES_MAX_MS = 20_000
/** Percentiles are taken of slices of this length, and the median of those counts. */
export const SLICE_MS = 1_000
/** Below this a ratio of two latencies says nothing about anybody's experience. */
export const LATENCY_FLOOR_MS = 5

export const MEMORY_GROWTH_MAX_BYTES = 256 * 1024 * 1024
/** What is in use after an attack, of what was in use before. */
export const BACK_WITHIN = 1.1
export const LOOK_EVERY_MS = 500
export const HEALTH_MAX_MS = 2_000

/** From an attacker's start to its word that it is ready, and from the order to stop to its end. */
export const ATTACKER_READY_MAX_MS = 120_000
export const ATTACKER_STOP_MAX_MS = 15_000
