// What bounds a local network. Times in milliseconds.

/** From the start of a process to its ready line; a slow machine that starts many at once needs most of it. */
export const READY_MAX_MS = 120_000
/** `relay init` and the like. */
export const INIT_MAX_MS = 120_000
/** From SIGTERM to SIGKILL. */
export const STOP_PATIENCE_MS = 10_000
/** A line of a child that is longer is cut in two: only the ready line is ever parsed. */
export const LINE_MAX_CHARS = 64 * 1024
/** How much of the end of a log is read to say why a process ended. */
export const LOG_TAIL_BYTES = 4 * 1024
/** Starting again with other ports when somebody else took one in between. */
export const PORT_TRIES = 5

/**
 * Ports below the range from which the system takes those of outgoing connections: while a killed relay is away,
 * nothing else is given its port by chance.
 */
export const PORT_FIRST = 20_000
export const PORT_LAST = 31_999
export const PORT_SEARCH_MAX = 500

/** From the ready lines until every process answers and every region is listed. */
export const HEALTH_MAX_MS = 120_000
export const HEALTH_EVERY_MS = 50

/** How often `npm start` is looked for. */
export const PARENT_EVERY_MS = 500
/** Random bytes in a passphrase that nobody types. */
export const PASSPHRASE_BYTES = 18
/** Ctrl-C that comes twice within this time is one. */
export const SIGNALS_TOGETHER_MS = 1_000
/** The exit code of whoever was ended by a signal, as shells have it, is this and the signal's number. */
export const SIGNAL_EXIT = 128
/** One message of the demo, from `send` to its read mark. */
export const DEMO_STEP_MAX_MS = 30_000
