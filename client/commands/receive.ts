// `parley receive`.
import type { Command } from 'commander'
import { NOWHERE, ParleyError, type Position, positionText, systemClock, type UserId } from '#protocol'
import type { Message, Parley, ParleyEvent } from '../index.ts'
import {
  aborted,
  describeMessage,
  flushed,
  note,
  openProfile,
  type ProfileFlags,
  parseCount,
  parseSeconds,
  printJson,
  untilInterrupted,
  withProfile,
  write,
} from './shared.ts'

type ReceiveFlags = ProfileFlags & {
  readonly from?: string
  readonly count?: number
  readonly follow: boolean
  readonly again: boolean
  readonly timeout: number
  readonly json: boolean
}

const READER = 'receive'
const PAGE = 200
const DEFAULT_TIMEOUT_MS = 60_000
const NEVER_MS = 2 ** 31 - 1
const NEWLINE = Uint8Array.of(0x0a)

const HELP = `
Prints what others have sent since the last call, oldest first in each conversation, and marks it as read. How far it
came is remembered in the profile after each page; a call that was killed prints its last page again.
Without --count and --follow it ends when everything that the home has for you is there.

As text each message is its bytes and a newline, nothing else, so that what was sent line by line comes out as it went in.
With --json each message is one object with sender, device, registration, k, place (epoch.n), time, and either "text" or,
for bytes that are not UTF-8, "base64". What could not be decrypted yet has kind "unreadable" there and is a note on
standard error otherwise; it is printed when its author has sent it again.

Exit codes: 0 done, 4 not connected, or fewer than --count messages, within --timeout seconds.

Examples:
  $ parley receive
  $ parley receive --from ben --count 10000 > letter.txt
  $ parley receive --follow --json | jq .text`

export function registerReceive(program: Command): void {
  withProfile(program.command('receive'))
    .description('print what others send')
    .option('--from <who>', 'only from this person: alias, id or link')
    .option('--count <n>', 'end after so many messages', parseCount)
    .option('--follow', 'go on until interrupted', false)
    .option('--again', 'from the beginning of what the profile holds', false)
    .option(
      '--timeout <seconds>',
      'give up after so long without anything new, 0 for never',
      parseSeconds,
      DEFAULT_TIMEOUT_MS,
    )
    .option('--json', 'print one JSON object a line', false)
    .addHelpText('after', HELP)
    .action(receive)
}

/** Prints from where the reader stands; says how many readable messages that were. */
class Printer {
  readonly #parley: Parley
  readonly #flags: ReceiveFlags
  readonly #only: UserId | undefined
  readonly #from = new Map<UserId, Position>()
  readonly #late: Message[] = []
  printed = 0

  constructor(parley: Parley, flags: ReceiveFlags) {
    this.#parley = parley
    this.#flags = flags
    this.#only = flags.from === undefined ? undefined : parley.resolve(flags.from)
  }

  get isDone(): boolean {
    return this.#flags.count !== undefined && this.printed >= this.#flags.count
  }

  /** A message that appears behind where the reader stands. */
  later(message: Message): void {
    if (message.mine || (this.#only && message.from !== this.#only)) return
    if (message.at <= this.#at(message.from)) this.#late.push(message)
  }

  #at(user: UserId): Position {
    let at = this.#from.get(user)
    if (at === undefined) {
      at = this.#flags.again ? NOWHERE : this.#parley.readerAt(READER, user)
      this.#from.set(user, at)
    }
    return at
  }

  async drain(): Promise<void> {
    for (const message of this.#late.splice(0)) if (!this.isDone) await this.#print(message)
    const users = this.#only ? [this.#only] : this.#parley.contacts().map(({ user }) => user)
    for (const user of users) {
      while (!this.isDone && (await this.#page(user)));
    }
  }

  async #page(user: UserId): Promise<boolean> {
    const messages = this.#parley.messagesAfter(user, this.#at(user), PAGE)
    let upTo = this.#at(user)
    for (const message of messages) {
      if (this.isDone) break
      if (!message.mine && this.#isNew(message)) await this.#print(message)
      upTo = message.at
    }
    if (upTo === this.#at(user)) return false
    this.#from.set(user, upTo)
    await flushed()
    this.#parley.moveReader(READER, user, upTo)
    await this.#parley.markRead(user, upTo)
    return messages.length === PAGE
  }

  /** What has lost its place comes when it has one again, and not a second time. */
  #isNew(message: Message): boolean {
    if (message.status === 'unconfirmed' || message.status === 'cancelled') return false
    return this.#flags.again || !this.#parley.wasRead(message)
  }

  async #print(message: Message): Promise<void> {
    const readable = message.kind === 'text' || message.kind === 'data'
    if (readable) this.printed++
    if (this.#flags.json) return printJson(describeMessage(message))
    if (readable) return write(Buffer.concat([message.body, NEWLINE]))
    note(`(a message of ${message.from} at ${positionText(message.at)} cannot be read: ${message.kind})`)
  }
}

async function receive(flags: ReceiveFlags): Promise<void> {
  await using parley = await openProfile(flags)
  const printer = new Printer(parley, flags)
  const interrupted = untilInterrupted()
  let wake = Promise.withResolvers<void>()
  const heard = (event: ParleyEvent): void => {
    if (event.type === 'message' && event.late) printer.later(event.message)
    if (event.type === 'message' || event.type === 'confirmed') wake.resolve()
    if (event.type === 'connection' && event.state.is === 'stopped' && event.state.error) wake.reject(event.state.error)
  }
  parley.on('event', heard)
  wake.promise.catch(() => undefined)
  try {
    parley.connect()
    const stop = aborted(interrupted.signal)
    if (flags.count === undefined && !flags.follow) {
      await Promise.race([parley.caughtUp(flags.timeout), stop])
      return await printer.drain()
    }
    for (;;) {
      await printer.drain()
      if (printer.isDone || interrupted.signal.aborted) return
      const timer = Promise.withResolvers<void>()
      const timeoutMs = flags.follow ? NEVER_MS : flags.timeout
      const timeout = systemClock.after(timeoutMs, () => timer.reject(tooLate(parley, printer)))
      try {
        await Promise.race([wake.promise, stop, timer.promise])
      } finally {
        timeout.cancel()
      }
      wake = Promise.withResolvers<void>()
      wake.promise.catch(() => undefined)
    }
  } finally {
    parley.off('event', heard)
    interrupted.stop()
  }
}

function tooLate(parley: Parley, printer: Printer): ParleyError {
  const { state } = parley
  if (state.is === 'connecting') return state.error ?? new ParleyError('unreachable', 'not connected')
  return new ParleyError('timeout', `only ${printer.printed} messages came in time`)
}
