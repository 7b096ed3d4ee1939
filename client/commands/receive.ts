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
standard error otherwise; it is printed when it can be read, by whichever call comes then.

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
  /** By person, ascending: passed although nothing could be read there yet. */
  readonly #left = new Map<UserId, Position[]>()
  printed = 0

  constructor(parley: Parley, flags: ReceiveFlags) {
    this.#parley = parley
    this.#flags = flags
    this.#only = flags.from === undefined ? undefined : parley.resolve(flags.from)
  }

  get isDone(): boolean {
    return this.#flags.count !== undefined && this.printed >= this.#flags.count
  }

  #at(user: UserId): Position {
    let at = this.#from.get(user)
    if (at === undefined) {
      at = this.#flags.again ? NOWHERE : this.#parley.readerAt(READER, user)
      this.#from.set(user, at)
      this.#left.set(user, this.#flags.again ? [] : this.#parley.readerLeft(READER, user))
    }
    return at
  }

  /** Not before what was printed has left this process. */
  async #stand(user: UserId, at: Position, left: Position[]): Promise<void> {
    this.#from.set(user, at)
    this.#left.set(user, left)
    await flushed()
    this.#parley.moveReader(READER, user, at, left)
  }

  async drain(): Promise<void> {
    const users = this.#only ? [this.#only] : this.#parley.contacts().map(({ user }) => user)
    for (const user of users) {
      await this.#printLate(user)
      while (!this.isDone && (await this.#page(user)));
    }
  }

  /** What can be read by now of what the reader has passed, perhaps while another command had the profile. */
  async #printLate(user: UserId): Promise<void> {
    const at = this.#at(user)
    const left = this.#left.get(user)!
    if (left.length === 0) return
    const unread = new Set(this.#parley.unreadBetween(user, NOWHERE, at))
    const rest: Position[] = []
    for (const place of left) {
      if (unread.has(place) || this.isDone) rest.push(place)
      else await this.#printAt(user, place)
    }
    if (rest.length < left.length) await this.#stand(user, at, rest)
  }

  async #printAt(user: UserId, place: Position): Promise<void> {
    const [message] = this.#parley.messagesAfter(user, (place - 1) as Position, 1)
    if (message?.at !== place || message.mine) return
    // What lost its place after the reader had passed it will not be new where it comes again.
    const due = message.status === 'unconfirmed' ? this.#parley.wasRead(message) : this.#isNew(message)
    if (due) await this.#print(message)
  }

  async #page(user: UserId): Promise<boolean> {
    const from = this.#at(user)
    const messages = this.#parley.messagesAfter(user, from, PAGE)
    // At the same moment as the messages: what becomes readable while they are printed was not among them.
    const unread = this.#parley.unreadBetween(user, from, messages.at(-1)?.at ?? from)
    let upTo = from
    for (const message of messages) {
      if (this.isDone) break
      if (!message.mine && this.#isNew(message)) await this.#print(message)
      upTo = message.at
    }
    if (upTo === from) return false
    await this.#stand(user, upTo, [...this.#left.get(user)!, ...unread.filter((at) => at <= upTo)])
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
