// The command line as people use it: `parley send --job` fed through a pipe, `parley receive --follow`; processes that can
// be killed, with what they printed and said.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Person } from '../clients/client.ts'
import { PROGRAM } from '../command-lines.ts'
import type { Way } from './stage.ts'

type Exit = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

function parley(person: Person, args: readonly string[]): { child: ChildProcess; exited: Promise<Exit> } {
  const profile = ['--profile', person.profile, '--passphrase-file', person.passphraseFile]
  const errors = openSync(person.logFile, 'a')
  const child = spawn(process.execPath, [...PROGRAM, ...args, ...profile], {
    stdio: ['pipe', 'pipe', errors, 'pipe'],
    env: { ...process.env, PARLEY_PARENT_FD: '3' },
  })
  for (const stream of [child.stdin, child.stdout, child.stdio[3]]) stream?.on('error', () => {})
  const exited = once(child, 'exit').then(([code, signal]): Exit => ({ code, signal }))
  return { child, exited }
}

export type Sender = {
  /** Lines that the pipe has taken. */
  readonly fed: () => number
  /** What the command printed, once it has ended by itself. */
  readonly ended: Promise<{ readonly exit: Exit; readonly sent: number }>
  kill(): Promise<void>
}

/** The whole file from its first line, as the same call after an interruption has it; `mayFeed` holds the pipe back. */
export function startSender({ from, to, name, lines }: Way, mayFeed: (line: number) => Promise<boolean>): Sender {
  const { child, exited } = parley(from, ['send', '--to', to.userId, '--job', name, '--json'])
  let fed = 0
  let said = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk
  })
  const feed = async (): Promise<void> => {
    for (const line of lines) {
      if (!(await mayFeed(fed))) return
      if (!child.stdin?.writable) return
      if (!child.stdin.write(`${line}\n`)) await Promise.race([once(child.stdin, 'drain'), exited])
      fed++
    }
    child.stdin?.end()
  }
  const feeding = feed().catch(() => undefined)
  return {
    fed: () => fed,
    ended: exited.then((exit) => ({ exit, sent: said === '' ? 0 : Number(JSON.parse(said).sent) })),
    async kill() {
      child.kill('SIGKILL')
      await exited
      await feeding
    },
  }
}

export type Receiver = {
  kill(signal: NodeJS.Signals): Promise<Exit>
}

/** Each message goes to `heard` with its k and text, in the order in which it is printed. */
export function startReceiver({ from, to }: Way, heard: (k: number, text: string) => void): Receiver {
  const { child, exited } = parley(to, ['receive', '--from', from.userId, '--follow', '--json'])
  if (!child.stdout) throw new Error('no output to read')
  const printed = createInterface({ input: child.stdout })
  const drained = once(printed, 'close')
  printed.on('line', (line) => {
    // A line that was cut off by a kill.
    if (!line.endsWith('}')) return
    const { k, text } = JSON.parse(line) as { k: number; text: string }
    heard(k, text)
  })
  return {
    async kill(signal) {
      child.kill(signal)
      const exit = await exited
      await drained
      return exit
    },
  }
}
