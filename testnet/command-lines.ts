// How the processes of a local network are started: the same command lines that an operator would type.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import manifest from '#manifest' with { type: 'json' }
import { ParleyError } from '#protocol'
import { INIT_MAX_MS } from './limits.ts'

/** What this machine's Node is given to run `parley`, as `bin/parley.mjs` does it; arguments follow. */
export const PROGRAM: readonly string[] = [...manifest.config.nodeFlags, join(import.meta.dirname, '..', 'parley.ts')]
const HOST = '127.0.0.1'

export type BootstrapPlace = { readonly data: string; readonly meshPort: number; readonly httpPort: number }

export function bootstrapStart({ data, meshPort, httpPort }: BootstrapPlace): string[] {
  const listen = ['--listen', `${HOST}:${meshPort}`, '--http', `${HOST}:${httpPort}`]
  return [...PROGRAM, 'bootstrap', 'start', '--data', data, ...listen, '--json']
}

export type RelayPlace = {
  readonly data: string
  readonly name: string
  readonly clientPort: number
  readonly meshPort: number
  /** Origins that it announces instead of the address it listens on. */
  readonly clientUrls: readonly string[]
  /** Multiaddrs of nodes to enter by. */
  readonly entries: readonly string[]
}

export function relayInit({ data, name, clientPort, meshPort, clientUrls, entries }: RelayPlace): string[] {
  const listen = ['--listen', `${HOST}:${clientPort}`, '--mesh-listen', `${HOST}:${meshPort}`]
  const bootstrap = entries.length > 0 ? ['--bootstrap', ...entries] : []
  const announced = clientUrls.length > 0 ? ['--client-url', ...clientUrls] : []
  const region = ['--name', name, '--root-key', `${data}-root.key`]
  return [...PROGRAM, 'relay', 'init', '--data', data, ...region, ...listen, ...announced, ...bootstrap, '--json']
}

export function relayStart(data: string): string[] {
  return [...PROGRAM, 'relay', 'start', '--data', data, '--json']
}

/** Runs a command that ends by itself and prints one JSON object. Throws `unreachable` with what it said on failure. */
export async function runToEnd(args: readonly string[], env: Readonly<Record<string, string>>): Promise<unknown> {
  const run = promisify(execFile)
  try {
    const { stdout } = await run(process.execPath, [...args], { env: { ...process.env, ...env }, timeout: INIT_MAX_MS })
    return JSON.parse(stdout)
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error)
    throw new ParleyError('unreachable', `parley ${args.slice(1, 3).join(' ')} failed: ${said}`)
  }
}
