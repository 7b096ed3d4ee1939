// `parley chat`: a conversation in lines. What comes in is written above the line that is being typed, which is then
// drawn again; how far one's own last message came stands in the prompt.
import { clearScreenDown, createInterface, cursorTo, type Interface, moveCursor } from 'node:readline'
import { styleText } from 'node:util'
import type { Command } from 'commander'
import { comparisonDigits } from '#crypto'
import { ParleyError, systemClock, type UserId } from '#protocol'
import type { Message, Parley, ParleyEvent } from '../index.ts'
import { openProfile, type ProfileFlags, parseCount, untilInterrupted, withProfile } from './shared.ts'

type ChatFlags = ProfileFlags & { readonly to: string; readonly history: number }

const HELP = `
Type a line and press Enter. The marks in front of the prompt say how far your last line came:
  ·  kept here    ◷  held by your home    ✓  numbered by the host    ✓✓  delivered    ✓✓ read

Commands: /cancel takes your last line back if it has no number yet, /digits shows the 60 digits to compare,
/quit or Ctrl-D leaves.

Example:
  $ parley chat --name ana --to ben`

export function registerChat(program: Command): void {
  withProfile(program.command('chat'))
    .description('talk in this terminal')
    .requiredOption('--to <who>', 'alias, id or link')
    .option('--history <n>', 'how many earlier messages to show', parseCount, 20)
    .addHelpText('after', HELP)
    .action(chat)
}

const LONG_AGO_MS = 20 * 3_600_000

function timeOf(timeMs: number, nowMs: number): string {
  const date = new Date(timeMs)
  const clock = `${`${date.getHours()}`.padStart(2, '0')}:${`${date.getMinutes()}`.padStart(2, '0')}`
  return nowMs - timeMs > LONG_AGO_MS ? `${date.toISOString().slice(0, 10)} ${clock}` : clock
}

/** Controls, and what turns the direction of writing around. */
const UNPRINTABLE = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu

/** Nothing that somebody sends may move the cursor or change colours of this terminal. */
export function printable(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString()
    .replaceAll(UNPRINTABLE, (c) => (c === '\t' || c === '\n' ? c : '\ufffd'))
}

class Screen {
  readonly #readline: Interface
  readonly #out = process.stdout

  constructor(readline: Interface) {
    this.#readline = readline
  }

  /** Above the line that is being typed. */
  print(line: string): void {
    if (!this.#out.isTTY) {
      this.#out.write(`${line}\n`)
      return
    }
    this.#clear(this.#readline.getCursorPos().rows)
    this.#out.write(`${line}\n`)
    this.#readline.prompt(true)
  }

  /** From the first of the rows that a prompt and a long line take, to the end of the screen. */
  #clear(rowsAbove: number): void {
    moveCursor(this.#out, 0, -rowsAbove)
    cursorTo(this.#out, 0)
    clearScreenDown(this.#out)
  }

  prompt(text: string): void {
    this.#readline.setPrompt(text)
    if (this.#out.isTTY) this.#readline.prompt(true)
  }

  /** The line just entered becomes a line of the conversation. */
  replaceEntered(entered: string, line: string): void {
    if (this.#out.isTTY) {
      const prompt = this.#readline.getPrompt()
      this.#readline.setPrompt(prompt + entered)
      this.#clear(this.#readline.getCursorPos().rows + 1)
      this.#readline.setPrompt(prompt)
    }
    this.#out.write(`${line}\n`)
  }
}

class Chat {
  readonly #parley: Parley
  readonly #with: UserId
  readonly #name: string
  readonly #screen: Screen
  #lastK = 0
  #connected = ''

  constructor(parley: Parley, user: UserId, screen: Screen) {
    this.#parley = parley
    this.#with = user
    this.#name = parley.contact(user)?.name || `${user.slice(0, 14)}…`
    this.#screen = screen
  }

  #ticks(message: Message): string {
    const { delivered, peerRead } = this.#parley.marks(this.#with)
    if (message.status === 'cancelled' || message.status === 'failed')
      return styleText('red', `✗ ${message.code || 'cancelled'}`)
    if (message.status === 'waiting') return '·'
    if (message.status === 'held') return '◷'
    if (message.at <= peerRead) return styleText('cyan', '✓✓ read')
    return message.at <= delivered ? '✓✓' : '✓'
  }

  #line(message: Message): string {
    const { kind, body, mine, timeMs } = message
    const when = styleText('dim', timeOf(timeMs, systemClock.now()))
    const who = mine ? styleText('dim', 'you') : styleText('bold', this.#name)
    const unread = styleText('dim', kind === 'gone' ? '(no longer there)' : '(cannot be read yet; asked for again)')
    const says = kind === 'text' || kind === 'data' ? printable(body) : unread
    if (message.status === 'unconfirmed') return `${when} ${who}: ${says}${styleText('dim', '  (to be confirmed)')}`
    return `${when} ${who}: ${says}${mine ? `  ${styleText('dim', this.#ticks(message))}` : ''}`
  }

  start(history: number): void {
    const contact = this.#parley.contact(this.#with)
    const known = contact?.verified ? 'verified' : 'not verified: /digits to compare'
    this.#screen.print(styleText('dim', `${this.#name}, ${known}; /quit leaves`))
    for (const message of this.#parley.history(this.#with, { limit: history })) {
      this.#screen.print(this.#line(message))
      if (message.mine) this.#lastK = message.k
    }
    this.#parley.connect()
    this.refresh()
    void this.#read()
  }

  refresh(): void {
    const last = this.#lastK > 0 ? this.#own(this.#lastK) : undefined
    const state = this.#parley.state.is === 'connected' ? '' : styleText('yellow', '(offline) ')
    this.#screen.prompt(`${state}${last ? `${this.#ticks(last)} ` : ''}${this.#name} ▸ `)
  }

  #own(k: number): Message | undefined {
    return this.#parley.history(this.#with, { limit: 100 }).findLast((message) => message.mine && message.k === k)
  }

  async #read(): Promise<void> {
    const newest = this.#parley.history(this.#with, { limit: 1 }).at(-1)
    if (newest && !newest.mine) await this.#parley.markRead(this.#with, newest.at)
  }

  hear(event: ParleyEvent): void {
    switch (event.type) {
      case 'message':
        if (event.message.from !== this.#with) return
        this.#screen.print(`${this.#line(event.message)}${event.late ? styleText('dim', '  (sent again)') : ''}`)
        void this.#read()
        return
      case 'state':
        if (event.state === 'failed') this.#screen.print(styleText('red', `your line was refused: ${event.code}`))
        if (event.state === 'cancelled') this.#screen.print(styleText('dim', 'your line was taken back'))
        this.refresh()
        return
      case 'contact-changed':
        if (event.user === this.#with) this.#screen.print(styleText('yellow', changeText(this.#name, event.change)))
        return
      case 'look-up-failed':
        if (event.user === this.#with)
          this.#screen.print(styleText('yellow', `${this.#name} was not found yet: ${event.message}`))
        return
      case 'host-lies':
        this.#screen.print(styleText('red', `the relay contradicts itself: ${event.what}`))
        return
      case 'expired':
        if (event.conv === this.#parley.conversationWith(this.#with))
          this.#screen.print(
            styleText('yellow', 'messages are missing here: the relay no longer has them for this device'),
          )
        return
      case 'device-replaced':
        this.#screen.print(styleText('yellow', 'this profile was an old copy; it goes on as a new device'))
        return
      case 'connection':
        this.#connection(event.state.is, event.state.is === 'connected' ? '' : (event.state.error?.message ?? ''))
        return
      default:
        this.refresh()
        return
    }
  }

  #connection(is: string, why: string): void {
    if (is === 'connecting' && why !== '' && why !== this.#connected)
      this.#screen.print(styleText('dim', `(${why}; trying again)`))
    this.#connected = why
    this.refresh()
  }

  /** False when the person leaves. */
  async entered(line: string): Promise<boolean> {
    const command = line.trimEnd()
    if (command.trim() === '') return true
    switch (command) {
      case '/quit':
        return false
      case '/digits':
        this.#screen.print(comparisonDigits(this.#parley.userId, this.#with).join(' '))
        return true
      case '/cancel': {
        const conv = this.#parley.conversationWith(this.#with)
        const could = this.#lastK > 0 && (await this.#parley.cancel(conv, this.#lastK))
        if (!could) this.#screen.print(styleText('dim', 'your last line has its number already'))
        return true
      }
    }
    if (/^\/[a-z]+$/.test(command)) {
      this.#screen.print(
        styleText('dim', 'there are /cancel, /digits and /quit; a space in front sends the line as it is'),
      )
      return true
    }
    const { k } = await this.#parley.send(this.#with, line)
    this.#lastK = k
    const own = this.#own(k)
    if (own)
      this.#screen.replaceEntered(
        line,
        `${styleText('dim', timeOf(own.timeMs, systemClock.now()))} ${styleText('dim', 'you')}: ${printable(own.body)}`,
      )
    return true
  }
}

function changeText(name: string, change: string): string {
  if (change === 'root') return `${name} has set the account up anew with the recovery phrase; the id is the same`
  if (change === 'devices') return `${name} uses other devices now`
  if (change === 'home') return `${name} has moved to another home region`
  return `${name} was found`
}

async function chat(flags: ChatFlags): Promise<void> {
  await using parley = await openProfile(flags)
  const user = parley.resolve(flags.to)
  const readline = createInterface({
    input: process.stdin,
    output: process.stdout,
    terminal: process.stdout.isTTY,
    prompt: '',
  })
  const talk = new Chat(parley, user, new Screen(readline))
  const heard = (event: ParleyEvent): void => talk.hear(event)
  const interrupted = untilInterrupted()
  const { promise: stopped, reject } = Promise.withResolvers<never>()
  stopped.catch(() => undefined)
  parley.on('event', heard)
  parley.on('connection', ({ state }) => {
    if (state.is === 'stopped' && state.error) reject(state.error)
  })
  interrupted.signal.addEventListener('abort', () => readline.close())
  readline.on('SIGINT', () => readline.close())
  try {
    talk.start(flags.history)
    await Promise.race([stopped, lines(readline, talk)])
  } finally {
    parley.off('event', heard)
    interrupted.stop()
    readline.close()
  }
}

async function lines(readline: Interface, talk: Chat): Promise<void> {
  for await (const line of readline) {
    try {
      if (!(await talk.entered(line))) return
    } catch (error) {
      if (!(error instanceof ParleyError) || error.code === 'closing') throw error
      process.stderr.write(`\n${error.message}\n`)
    }
    talk.refresh()
  }
}
