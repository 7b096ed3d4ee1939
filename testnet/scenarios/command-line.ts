// A command as somebody at a terminal or a script runs it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { buffer, text } from 'node:stream/consumers'
import { PROGRAM } from '../command-lines.ts'

export type Ran = { readonly code: number | null; readonly out: Buffer; readonly err: string }

/** `input` on standard input; nothing else to read there. */
export async function parley(args: readonly string[], input: Uint8Array | string = ''): Promise<Ran> {
  const child = spawn(process.execPath, [...PROGRAM, ...args], { stdio: 'pipe' })
  // A command that ends without reading what it was given is no error here.
  child.stdin.on('error', () => undefined).end(input)
  const [out, err, [code]] = await Promise.all([buffer(child.stdout), text(child.stderr), once(child, 'close')])
  return { code, out, err }
}
