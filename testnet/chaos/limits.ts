// What a run is made of. Times in milliseconds.

/** The faults of a round, which takes a minute or little more: then everything starts again, heals and drains. */
export const FAULTS_MS = 40_000
/** Nothing begins so close to either end of the faults. */
export const MARGIN_MS = 1_000
export const ROUNDS = 6
export const KILLS = 200
/** Other faults of a round, by family. */
export const PAUSES = 2
export const NETWORK_FAULTS = 3
export const STORE_FAULTS = 2
export const CLOCK_FAULTS = 1
/** Fewer would be no torment. */
export const FAULTS_A_MINUTE_MIN = 4

export const PAUSE_MS: Range = [1_000, 30_000]
export const NETWORK_FAULT_MS: Range = [2_000, 12_000]
export const STORE_FAULT_MS: Range = [2_000, 10_000]
export const CLOCK_FAULT_MS: Range = [5_000, 20_000]
export const SKEW_MS = 60_000
/** From a kill to the next start. */
export const DOWN_MS: Range = [0, 1_500]
/** From a start to the next kill of one that takes over its journal. */
export const STARTING_MS: Range = [50, 700]
export const FSYNC_MS: Range = [20, 400]
export const DELAY_MS: Range = [20, 250]
export const JITTER_MS: Range = [5, 100]
/** Bytes a second of a thin path. */
export const RATE: Range = [8_000, 80_000]
/** Frames until a client dies. */
export const FRAMES: Range = [1, 20]

/** Before anything else: how often somebody is looked for. */
export const FIND_TRIES = 20
export const FIND_AGAIN_MS = 1_000
/** A line a second each way for so long: then sessions are what they stay. */
export const WARM_UP_MS = 2_000
/** The whole network as fast as it can, to know what half of it is. */
export const CAPACITY_MS = 5_000
/** At least, or the figure means nothing. */
export const CAPACITY_MESSAGES = 1_000
/** By then they have arrived, or something keeps them from it: a busy machine takes a tenth of this. */
export const CAPACITY_MAX_MS = 2 * 60_000
export const LOAD_SHARE = 0.5
/** From the moment in which everything runs and is connected again. */
export const DRAIN_MAX_MS = 120_000
export const DRAIN_EVERY_MS = 200
export const PROGRESS_MS = 10_000
/** A process that was told to die by itself and found no occasion. */
export const DIES_MAX_MS = 1_500
/** How often a process that is not ready in time is started. */
export const START_TRIES = 3
/** Nothing arrived and nobody was killed for so long: it hangs. */
export const HUNG_MS = 4 * 60_000

/** Bytes of one direction that a proxy holds before it stops reading. */
export const PROXY_HELD_MAX_BYTES = 1024 * 1024

export type Range = readonly [least: number, most: number]
