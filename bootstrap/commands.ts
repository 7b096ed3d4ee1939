import type { Command } from 'commander'
import { systemClock, systemRandom } from '#protocol'
import { parseHostPort } from './address.ts'

type StartOptions = {
  readonly data: string
  readonly listen: string
  readonly http: string
  readonly announce: string[]
  readonly bootstrap: string[]
  readonly json: boolean
}

const EXAMPLE = `
Example:
  $ parley bootstrap start --data ./bootstrap --listen 127.0.0.1:4000 --http 127.0.0.1:4001

The line it prints when it is ready has the multiaddr that relays take as --bootstrap, and the URL from which clients
read the list of regions. Ctrl-C ends it.`

/** `parley bootstrap start`. */
export function registerCommands(program: Command): void {
  const bootstrap = program.command('bootstrap').description('run an entry point of the network')
  bootstrap
    .command('start')
    .description('serve the directory, and a list of regions over HTTP')
    .requiredOption('--data <directory>', 'where its key and its records live')
    .option('--listen <host:port>', 'mesh address, an IP address', '127.0.0.1:4000')
    .option('--http <host:port>', 'address of the region list', '127.0.0.1:4001')
    .option('--announce <multiaddr...>', 'what to tell others instead of the mesh address', [])
    .option('--bootstrap <multiaddr...>', 'other bootstrap nodes to join', [])
    .option('--json', 'print the ready line as JSON', false)
    .addHelpText('after', EXAMPLE)
    .action(start)
}

async function start(options: StartOptions): Promise<void> {
  const stop = Promise.withResolvers<void>()
  const onSignal = (): void => stop.resolve()
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  try {
    const { startBootstrap } = await import('./service.ts')
    await using service = await startBootstrap({
      dataDirectory: options.data,
      listen: parseHostPort(options.listen),
      http: parseHostPort(options.http),
      announce: options.announce,
      bootstrap: options.bootstrap,
      clock: systemClock,
      random: systemRandom,
      events: undefined,
    })
    const { peerId, multiaddrs, url } = service
    const ready = options.json
      ? JSON.stringify({ ready: true, peerId, multiaddrs, url })
      : `ready: ${multiaddrs[0]} ${url}`
    process.stdout.write(`${ready}\n`)
    await stop.promise
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}
