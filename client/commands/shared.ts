// What every client command needs: which profile, its passphrase, and printing that pipes can trust.
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { ReadStream } from 'node:tty'
import { confirm, isCancel, password } from '@clack/prompts'
import { type Command, InvalidArgumentError } from 'commander'
import { epochOf, nOf, ParleyError, positionText } from '#protocol'
import { type Message, Parley, profileExists } from '../index.ts'

export type ProfileFlags = {
  readonly profile?: string
  readonly name: string
  readonly passphraseFile?: string
  readonly json?: boolean
}

const SECRET_FILE_MAX_BYTES = 64 * 1024

/** The options that say which profile and how to open it. */
export function withProfile(command: Command): Command {
  return command
    .option('--profile <directory>', 'where the profile lives (default: ~/.local/share/parley/<name>)')
    .option('--name <name>', 'which of your profiles', 'default')
    .option('--passphrase-file <file>', 'read the passphrase from the first line of a file instead of asking')
}

export function profileDirectory({ profile, name }: ProfileFlags): string {
  if (profile) return resolve(profile)
  if (!/^[\w.-]{1,64}$/.test(name) || name.startsWith('.')) {
    throw new ParleyError('bad_argument', 'a profile name has letters, digits, dots, dashes and underscores')
  }
  return join(process.env.XDG_DATA_HOME ?? join(homedir(), '.local', 'share'), 'parley', name)
}

/** The first line of a file that holds a secret. */
export async function secretFrom(file: string): Promise<string> {
  let text: string
  try {
    if ((await stat(file)).size > SECRET_FILE_MAX_BYTES) throw new Error('too large')
    text = await readFile(file, 'utf8')
  } catch {
    throw new ParleyError('bad_argument', `${file} cannot be read`, { next: 'check the path and its permissions' })
  }
  const line = text.split(/\r?\n/, 1)[0]!
  if (line === '')
    throw new ParleyError('bad_argument', `${file} has an empty first line`, { next: 'put the secret there' })
  return line
}

/** The terminal, also when standard input is a pipe; undefined when there is none. */
function terminalInput(): ReadStream | undefined {
  if (process.stdin.isTTY) return process.stdin
  try {
    return new ReadStream(openSync('/dev/tty', 'r'))
  } catch {
    return undefined
  }
}

async function askTerminal<T>(
  prompt: (input: ReadStream) => Promise<T>,
  otherwise: string,
): Promise<Exclude<T, symbol>> {
  const input = terminalInput()
  if (!input) throw new ParleyError('bad_argument', 'there is no terminal to ask on', { next: otherwise })
  try {
    const answer = await prompt(input)
    if (isCancel(answer)) throw new ParleyError('bad_argument', 'cancelled', { next: 'call the command again' })
    return answer as Exclude<T, symbol>
  } finally {
    if (input !== process.stdin) input.destroy()
  }
}

export function askSecret(message: string, otherwise: string): Promise<string> {
  return askTerminal((input) => password({ message, input, output: process.stderr }), otherwise)
}

export function askYes(message: string, otherwise: string): Promise<boolean> {
  return askTerminal((input) => confirm({ message, input, output: process.stderr, initialValue: false }), otherwise)
}

const ASK_BY_FILE = 'give it with --passphrase-file'

export function readPassphrase({ passphraseFile }: ProfileFlags): Promise<string> {
  return passphraseFile ? secretFrom(passphraseFile) : askSecret('Passphrase of this profile', ASK_BY_FILE)
}

export async function newPassphrase({ passphraseFile }: ProfileFlags): Promise<string> {
  if (passphraseFile) return secretFrom(passphraseFile)
  const first = await askSecret('A passphrase for this profile (it encrypts what is stored here)', ASK_BY_FILE)
  if (first === '')
    throw new ParleyError('bad_argument', 'an empty passphrase protects nothing', { next: 'choose one' })
  if ((await askSecret('Once more', ASK_BY_FILE)) !== first) {
    throw new ParleyError('bad_argument', 'the two are not the same', { next: 'call the command again' })
  }
  return first
}

export async function openProfile(flags: ProfileFlags): Promise<Parley> {
  const directory = profileDirectory(flags)
  // Before anybody types a passphrase for nothing.
  if (!profileExists(directory)) throw new ParleyError('no_such_profile', `there is no profile in ${directory}`)
  return Parley.open(directory, { passphrase: await readPassphrase(flags) })
}

/** Waits when the reader of the pipe is slow. */
export async function write(bytes: string | Uint8Array): Promise<void> {
  if (!process.stdout.write(bytes)) await once(process.stdout, 'drain')
}

/** Resolves when everything written so far has left this process: what is queued in it dies with it. */
export async function flushed(): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.stdout.write('', (error) => (error ? reject(error) : resolve()))
  })
}

export const note = (line: string): void => void process.stderr.write(`${line}\n`)
export const printJson = (value: unknown): Promise<void> => write(`${JSON.stringify(value)}\n`)

export function parseCount(text: string): number {
  const count = Number(text)
  if (!Number.isSafeInteger(count) || count < 1) throw new InvalidArgumentError('a whole number from 1')
  return count
}

/** Seconds on the command line, milliseconds inside; 0 = without end. */
export function parseSeconds(text: string): number {
  const seconds = Number(text)
  if (!Number.isFinite(seconds) || seconds < 0) throw new InvalidArgumentError('seconds, 0 for no limit')
  return seconds === 0 ? 2 ** 31 - 1 : Math.ceil(seconds * 1_000)
}

/** Aborts on Ctrl-C and on the wish of whoever started this process. */
export function untilInterrupted(): { readonly signal: AbortSignal; stop(): void } {
  const controller = new AbortController()
  const abort = (): void => controller.abort()
  process.once('SIGINT', abort)
  process.once('SIGTERM', abort)
  return {
    signal: controller.signal,
    stop() {
      process.off('SIGINT', abort)
      process.off('SIGTERM', abort)
    },
  }
}

/** Rejects when the signal aborts; for a race with what is waited for. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** A message as scripts get it. */
export function describeMessage(message: Message): Record<string, unknown> {
  const { conv, from, mine, device, k, at, kind, body, status, timeMs } = message
  const { registrationEpoch, registrationVersion } = device
  return {
    conversation: conv,
    from,
    mine,
    device: device.device,
    registration: `${registrationEpoch}.${registrationVersion}`,
    k,
    at: positionText(at),
    epoch: epochOf(at),
    n: nOf(at),
    timeMs,
    status,
    kind,
    ...(kind === 'text' && { text: Buffer.from(body).toString() }),
    ...(kind === 'data' && { base64: Buffer.from(body).toString('base64') }),
  }
}
