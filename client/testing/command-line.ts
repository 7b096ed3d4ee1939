// A command as a script runs it, while the test goes on: its input stays open until the test ends it.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

const PROGRAM = join(import.meta.dirname, '..', '..', 'parley.ts')

export class CommandLine {
  readonly child: ChildProcessWithoutNullStreams
  readonly #closed: Promise<unknown[]>
  out = ''
  err = ''

  constructor(...args: readonly string[]) {
    this.child = spawn(process.execPath, [PROGRAM, ...args])
    this.child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      this.out += chunk
    })
    this.child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.err += chunk
    })
    // A command that ends without reading what it was given is no error here.
    this.child.stdin.on('error', () => undefined)
    this.#closed = once(this.child, 'close')
  }

  /** The exit code. */
  async ends(): Promise<number | null> {
    return (await this.#closed)[0] as number | null
  }
}
