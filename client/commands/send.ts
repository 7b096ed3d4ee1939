// `parley send`.
import { type Command, Option } from 'commander'
import { type ConvId, isRefusalCode, ParleyError, systemClock, type Timer, type UserId } from '#protocol'
import type { Parley, ParleyEvent, Stage } from '../index.ts'
import { contentOf, linesOf, wholeOf } from './lines.ts'
import {
  aborted,
  note,
  openProfile,
  type ProfileFlags,
  parseSeconds,
  printJson,
  untilInterrupted,
  withProfile,
} from './shared.ts'

type SendFlags = ProfileFlags & {
  readonly to: string
  readonly whole: boolean
  readonly until: Stage
  readonly timeout: number
  readonly job?: string
  readonly json: boolean
}

const DEFAULT_TIMEOUT_MS = 60_000
/** Lines handed to the profile and not stored yet. */
const UNSTORED_MAX = 256

const HELP = `
Each line is a message: \\n ends it and is not sent, \\r is. Empty lines are sent as empty messages; a last line without
\\n is sent too. Lines that are not UTF-8 go as bytes and come out as the same bytes. A line holds at most 64 KiB.
With --whole the input, up to 64 KiB, is one message; an empty input sends nothing.

Each line is stored, encrypted, before it is sent; what could not be sent goes with the next connection of this profile,
whichever command makes it. With --job the number of the line is stored with it: call the same command again after an
interruption and it goes on behind the last line that was stored. A job that was finished sends nothing again.

Exit codes: 0 all lines reached --until, 3 some were refused, 4 no progress for --timeout seconds (stored lines are kept;
waiting for input does not count).

Examples:
  $ parley send --to ben < letter.txt
  $ git log -1 | parley send --to ben --whole --until delivered
  $ parley send --to ben --job import < big.txt`

export function registerSend(program: Command): void {
  withProfile(program.command('send'))
    .description('send what comes on standard input, line by line')
    .requiredOption('--to <who>', 'alias, id or link')
    .option('--whole', 'the whole input as one message', false)
    .addOption(
      new Option('--until <stage>', 'wait until the last message has come so far')
        .choices(['held', 'sequenced', 'delivered'])
        .default('sequenced'),
    )
    .option(
      '--timeout <seconds>',
      'give up after so long without progress, 0 for never',
      parseSeconds,
      DEFAULT_TIMEOUT_MS,
    )
    .option('--job <name>', 'remember which lines were stored, and go on there when called again')
    .option('--json', 'print one JSON object at the end', false)
    .addHelpText('after', HELP)
    .action(send)
}

type Stored = { readonly conv: ConvId; readonly k: number }

/** Hands lines to the profile as fast as it stores them, and tells of each that is stored; the last of them. */
async function storeAll(
  parley: Parley,
  to: UserId,
  flags: SendFlags,
  told: (k: number) => void,
): Promise<{ stored: Stored | undefined; count: number }> {
  const { job, whole } = flags
  const before = job === undefined ? undefined : parley.job(job)
  if (before && before.conv !== parley.conversationWith(to)) {
    throw new ParleyError('bad_argument', `job ${job} belongs to a conversation with somebody else`, {
      next: 'choose another name',
    })
  }
  let stored: Stored | undefined = before
  let count = 0
  let pending: Promise<Stored>[] = []
  const flush = async (): Promise<void> => {
    for (const sending of await Promise.all(pending)) stored = sending
    pending = []
  }
  const input = process.stdin as AsyncIterable<Uint8Array>
  for await (const { number, bytes } of whole ? wholeOf(input) : linesOf(input)) {
    if (before && number <= before.line) continue
    const storing = parley.send(to, contentOf(bytes), job === undefined ? undefined : { name: job, line: number })
    // Refused while the input pauses: `flush` says so.
    storing.then(({ k }) => told(k)).catch(() => undefined)
    pending.push(storing)
    count++
    if (pending.length >= UNSTORED_MAX) await flush()
  }
  await flush()
  return { stored, count }
}

/** Why nothing moves, and what becomes of what was handed over. */
function stuckBecause(parley: Parley, until: Stage, notFound: ParleyError | undefined): ParleyError {
  const { state } = parley
  const kept = 'what is stored goes with the next connection'
  if (state.is !== 'connected') {
    const why = state.error ? `: ${state.error.message}` : ''
    return new ParleyError('unreachable', `not connected${why}; ${kept}`)
  }
  if (notFound) return new ParleyError(notFound.code, `${notFound.message}; ${kept}`)
  if (until !== 'delivered') return new ParleyError('timeout', `no progress; ${kept}`)
  return new ParleyError('timeout', 'not delivered in time', {
    next: 'nothing; what was sent is delivered when the other side connects',
  })
}

type Progress = {
  readonly stuck: Promise<never>
  /** A line with this k waits to be sent. */
  readonly stored: (k: number) => void
  /** The input has ended: from now on the last line is waited for. */
  readonly ended: () => void
  readonly failed: () => number
  readonly stop: () => void
}

/** Rejects when nothing of this conversation has moved for so long although something is unsent. */
function watchProgress(parley: Parley, to: UserId, { timeout: timeoutMs, until }: SendFlags): Progress {
  const { promise, reject } = Promise.withResolvers<never>()
  promise.catch(() => undefined)
  let failed = 0
  let notFound: ParleyError | undefined
  let lastStored = 0
  let lastDone = 0
  let isWhole = false
  let timer: Timer | undefined
  const isOwing = (): boolean => isWhole || lastStored > lastDone
  const watch = (): void => {
    timer?.cancel()
    timer = isOwing() ? systemClock.after(timeoutMs, () => reject(stuckBecause(parley, until, notFound))) : undefined
  }
  const conv = parley.conversationWith(to)
  const heard = (event: ParleyEvent): void => {
    if (event.type === 'state' && (event.state === 'failed' || event.state === 'cancelled')) failed++
    if (event.type === 'connection') {
      if (event.state.is === 'stopped' && event.state.error) reject(event.state.error)
      return
    }
    if (event.type === 'look-up-failed' && event.user === to) {
      if (!notFound) note(`${event.message}; trying again. Ctrl-C keeps what is stored.`)
      notFound = new ParleyError(isRefusalCode(event.code) ? event.code : 'timeout', event.message)
    }
    if (event.type !== 'state' && event.type !== 'delivered') return
    notFound = undefined
    // A host numbers the k of a device in order.
    if (event.type === 'state' && event.conv === conv && event.state !== 'held') lastDone = Math.max(lastDone, event.k)
    watch()
  }
  parley.on('event', heard)
  return {
    stuck: promise,
    stored(k) {
      const wasOwing = isOwing()
      lastStored = Math.max(lastStored, k)
      if (!wasOwing) watch()
    },
    ended() {
      isWhole = true
      watch()
    },
    failed: () => failed,
    stop() {
      timer?.cancel()
      parley.off('event', heard)
    },
  }
}

async function send(flags: SendFlags): Promise<void> {
  await using parley = await openProfile(flags)
  const to = parley.resolve(flags.to)
  const interrupted = untilInterrupted()
  const progress = watchProgress(parley, to, flags)
  try {
    parley.connect()
    const stop = Promise.race([progress.stuck, aborted(interrupted.signal)])
    const storing = storeAll(parley, to, flags, progress.stored)
    const done = await Promise.race([storing.then((result) => ({ result })), stop])
    if (!done) return interruptedNote(flags)
    const { stored, count } = done.result
    progress.ended()
    if (stored) {
      // A host numbers the k of a device in order, so the last one speaks for all before it.
      const reached = parley
        .sending(stored.conv, stored.k)
        .until(flags.until)
        .then(
          () => true,
          (error: unknown) => isRefused(error),
        )
      if ((await Promise.race([reached, stop])) === undefined) return interruptedNote(flags)
    }
    await finish(flags, count, stored, progress.failed())
  } finally {
    interrupted.stop()
    progress.stop()
    // An input that stays open would keep this process.
    process.stdin.destroy()
  }
}

/** The last message was refused or cancelled: counted already, and everything before it has its number. */
function isRefused(error: unknown): true {
  if (error instanceof ParleyError && error.facts.code !== undefined) return true
  throw error
}

function interruptedNote(flags: SendFlags): void {
  note(`Interrupted. What was stored goes with the next connection${flags.job ? '; call it again to go on' : ''}.`)
  process.exitCode = 130
}

async function finish(flags: SendFlags, count: number, stored: Stored | undefined, failed: number): Promise<void> {
  if (flags.json)
    await printJson({ sent: count, failed, until: flags.until, k: stored?.k ?? 0, conversation: stored?.conv })
  if (failed > 0) {
    throw new ParleyError('blocked', `${failed} of ${count} messages were refused or cancelled`, {
      next: 'see `parley receive --json` or chat for which',
    })
  }
}
