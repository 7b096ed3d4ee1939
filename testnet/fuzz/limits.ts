// What an input may cost, and how the fuzzer works. Times in milliseconds.

/** Executions of each decoder when nothing else is said. */
export const EXECUTIONS = 200_000
/** The same in the everyday suite. */
export const EXECUTIONS_EVERYDAY = 50
/** What is reached is counted in so many of them, which makes each cost twice as much. */
export const COVERED_EXECUTIONS = 20_000
export const WORKERS = 2

/** From the bytes to the value or the refusal. */
export const INPUT_MAX_MS = 50
/** A pause of the machine is not the input's fault: what looks too dear runs so many times more, and the best counts. */
export const TRIES = 4
/** Of what is thrown and no refusal. */
export const STACK_FRAMES = 20
/** Memory made by an input, garbage included: at most so many times the largest input that its decoder takes … */
export const MEMORY_FACTOR = 4
/** … where a smaller limit counts as this one. */
export const MEMORY_FLOOR_BYTES = 128 * 1024
/** Strings and copies of bytes that the value itself holds, beyond MEMORY_FACTOR times the input. */
export const OWN_SLACK_BYTES = 4 * 1024

/** Inputs with a new outcome are kept and changed further, so many of them and none longer than this. */
export const POOL_MAX = 512
export const POOL_INPUT_MAX_BYTES = 4 * 1024
export const OUTCOMES_PER_CODE_MAX = 64
/** Changes on top of each other in one input. */
export const CHANGES_MAX = 4
/** One of so many inputs is blown up towards the decoder's limit. */
export const BLOW_UP_EVERY = 1_000
/** One of so many is a valid example as it is. */
export const PLAIN_EVERY = 500
/** Of those that can be mended (signed again, sealed again), one of so many. */
export const MEND_EVERY = 4

/** Nothing came back from a worker for this long: its input hangs. */
export const HANG_MS = 10_000
/** The same before its first input, while it loads programs and makes examples. */
export const BEGIN_MS = 120_000
export const WATCH_MS = 1_000
export const WORKER_HEAP_MB = 768
export const PROGRESS_MS = 10_000
/** Time for making a failing input smaller. */
export const SHRINK_MS = 2_000
/** Failing inputs that are kept of one run of a decoder. */
export const FAULTS_MAX = 5
