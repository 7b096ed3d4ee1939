// What bounds the row of the SDK.

/** One order to a device; a slow machine with a large count needs most of it. */
export const SDK_STEP_MS = 300_000
/** Until a device's process has opened its profile, or has closed it. */
export const SDK_PROCESS_MS = 30_000
/** Texts that are handed over before the first of them has a number. */
export const SDK_AHEAD = 1_024
export const SDK_TEXT_BYTES = 256
/** They have come to their end before the stopwatch runs: a process that has just started runs everything for the first time. */
export const SDK_WARM_UP = 2_000
export const SDK_COUNT = 20_000
export const SDK_ROUNDS = 3
export const SDK_COUNT_MAX = 1_000_000
export const SDK_ROUNDS_MAX = 100
