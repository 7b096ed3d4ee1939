// `parley relay init|start|check|renew|restore`.
import type { Command } from 'commander'
import { ParleyError, systemClock, systemRandom } from '#protocol'
import { checkRelay } from './check.ts'
import { loadConfig } from './config.ts'
import { initRelay, renewGrant } from './init.ts'

/** Exit code of `relay start` when the store has failed: starting again takes over from the journal. */
const STORE_FAILED_EXIT = 5

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

type InitFlags = {
  data: string
  name: string
  rootKey: string
  listen?: string
  meshListen?: string
  clientUrl: string[]
  bootstrap: string[]
  json: boolean
}

async function init(flags: InitFlags): Promise<void> {
  const made = await initRelay(
    {
      dataDir: flags.data,
      name: flags.name,
      rootKeyFile: flags.rootKey,
      listen: flags.listen,
      meshListen: flags.meshListen,
      clientUrls: flags.clientUrl,
      bootstrap: flags.bootstrap,
    },
    systemClock,
    systemRandom,
  )
  if (flags.json) return say(JSON.stringify(made))
  say(`region        ${made.regionId} ("${made.name}")
configuration ${made.configFile}
root key      ${made.rootKeyFile}

The root key is the region: whoever has it can replace every key of its relays, and nobody can without it. Move it off
this machine now and keep a copy; the relay runs without it. It is needed again before ${day(made.grantEndsMs)}, for
\`parley relay renew\`.

Next: parley relay check --data ${flags.data}
      parley relay start --data ${flags.data}`)
}

type StartFlags = {
  data: string
  listen?: string
  meshListen?: string
  clientUrl?: string[]
  bootstrap?: string[]
  json: boolean
}

function layerOf(flags: Omit<StartFlags, 'json'>): Map<string, unknown> {
  const layer = new Map<string, unknown>()
  const set = (key: string, value: unknown) => value !== undefined && layer.set(key, value)
  set('client.listen', flags.listen)
  set('mesh.listen', flags.meshListen)
  set('client.urls', flags.clientUrl)
  set('mesh.bootstrap', flags.bootstrap)
  return layer
}

async function start(flags: StartFlags): Promise<void> {
  const asked = Promise.withResolvers<undefined>()
  const stop = (): void => asked.resolve(undefined)
  process.once('SIGINT', stop).once('SIGTERM', stop)
  try {
    const config = await loadConfig(flags.data, process.env, layerOf(flags))
    // Only what runs needs the mesh: loading it takes longer than everything else that a command does.
    const { startRelay } = await import('./relay.ts')
    await using relay = await startRelay(config)
    const { regionId, name, peerId, clientUrls, multiaddrs, healthUrl } = relay
    const ready = { ready: true, regionId, name, peerId, clientUrls, multiaddrs, healthUrl }
    say(
      flags.json
        ? JSON.stringify(ready)
        : `ready: ${regionId} ${clientUrls[0]} ${multiaddrs[0] ?? 'no-mesh-address'} ${healthUrl}`,
    )
    const error = await Promise.race([asked.promise, relay.failed])
    if (!error) return
    // What this says of an old backup is what the next start says of it.
    if (error instanceof ParleyError && error.code === 'old_backup') throw error
    process.stderr.write(
      `parley: the store failed: ${error.message}. Next: check the disk, then start the relay again\n`,
    )
    // What memory holds is not what the disk holds any more: nothing may be tidied up from it.
    process.exit(STORE_FAILED_EXIT)
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop)
  }
}

async function check(flags: StartFlags): Promise<void> {
  const findings = await checkRelay(() => loadConfig(flags.data, process.env, layerOf(flags)), systemClock)
  const ok = findings.every((finding) => finding.ok)
  if (flags.json) say(JSON.stringify({ ok, findings }))
  else {
    for (const finding of findings) {
      say(`${finding.ok ? 'ok  ' : 'FAIL'} ${finding.what.padEnd(11)} ${finding.says}`)
      if (finding.next) say(`${' '.repeat(17)}Next: ${finding.next}`)
    }
  }
  if (!ok) process.exitCode = 1
}

async function renew(flags: { data: string; rootKey: string; json: boolean }): Promise<void> {
  const renewed = await renewGrant(flags.data, flags.rootKey, systemClock)
  say(
    flags.json
      ? JSON.stringify(renewed)
      : `the grant of ${renewed.regionId} now holds until ${day(renewed.grantEndsMs)}
Next: restart the relay, and take the root key off this machine again`,
  )
}

async function restore(flags: { data: string; json: boolean }): Promise<void> {
  const config = await loadConfig(flags.data, process.env, new Map())
  const { restoreRelay } = await import('./restore.ts')
  const restored = await restoreRelay(config, systemClock, systemRandom)
  say(
    flags.json
      ? JSON.stringify(restored)
      : `${restored.regionId} goes on from what is in ${restored.store} (life ${restored.life})
Next: parley relay start --data ${flags.data}
      Its people come home by themselves when they connect. Until then what others write to them waits.`,
  )
}

const DATA = ['--data <directory>', 'where the relay keeps its keys, its configuration and its store'] as const
const LISTEN = ['--listen <host:port>', 'where clients connect'] as const
const MESH = ['--mesh-listen <host:port>', 'where other nodes connect; an IP address'] as const
const URLS = [
  '--client-url <origin...>',
  'origins under which clients reach this node, if not the address listened on',
] as const
const BOOTSTRAP = [
  '--bootstrap <entry...>',
  'entry nodes: multiaddrs ending in /p2p/PEER, or http(s) origins of entry services',
] as const
const JSON_FLAG = ['--json', 'one JSON object on one line', false] as const

function addInit(relay: Command): void {
  relay
    .command('init')
    .description('make a region and its first relay: keys, certificate, configuration')
    .requiredOption(...DATA)
    .requiredOption('--name <name>', 'what the region is called')
    .requiredOption('--root-key <file>', "where the region's root key is written; a file that is not there yet")
    .option(...LISTEN)
    .option(...MESH)
    .option(...URLS, [])
    .option(...BOOTSTRAP, [])
    .option(...JSON_FLAG)
    .addHelpText(
      'after',
      `
Examples:
  parley relay init --data ./north --name north --root-key ./north-root.key
  parley relay init --data /var/lib/parley --name example --root-key /media/usb/example-root.key \\
    --listen 127.0.0.1:4100 --client-url https://chat.example.org \\
    --mesh-listen 0.0.0.0:4200 --bootstrap https://entry.example.org`,
    )
    .action(init)
}

function addStart(relay: Command): void {
  relay
    .command('start')
    .description('run it until Ctrl-C or SIGTERM; the root key is not needed')
    .requiredOption(...DATA)
    .option(...LISTEN)
    .option(...MESH)
    .option(...URLS)
    .option(...BOOTSTRAP)
    .option(...JSON_FLAG)
    .addHelpText(
      'after',
      `
When it is ready it prints one line: region id, client URL, mesh multiaddr, health URL. The log goes to standard error.
Exit code ${STORE_FAILED_EXIT}: the store failed; start it again once the disk is well.

Examples:
  parley relay start --data ./north
  PARLEY_LOG_LEVEL=debug parley relay start --data ./north --json`,
    )
    .action(start)
}

function addCheck(relay: Command): void {
  relay
    .command('check')
    .description('look for what would keep it from running well; exit code 1 if something does')
    .requiredOption(...DATA)
    .option(...LISTEN)
    .option(...MESH)
    .option(...JSON_FLAG)
    .addHelpText(
      'after',
      `
Example:
  parley relay check --data ./north`,
    )
    .action(check)
}

function addRenew(relay: Command): void {
  relay
    .command('renew')
    .description("sign a new grant with the region's root key, before the old one ends")
    .requiredOption(...DATA)
    .requiredOption('--root-key <file>', "the region's root key")
    .option(...JSON_FLAG)
    .addHelpText(
      'after',
      `
Example:
  parley relay renew --data ./north --root-key /media/usb/north-root.key`,
    )
    .action(renew)
}

function addRestore(relay: Command): void {
  relay
    .command('restore')
    .description('go on from an old backup of the store, or from an empty one, because there is nothing newer')
    .requiredOption(...DATA)
    .option(...JSON_FLAG)
    .addHelpText(
      'after',
      `
A store that is older than what the region has said since is never served: numbers would be given twice. When the newest
store is lost, put the newest backup of the directory "store" back, or move it away, and run this. What other regions have
of the conversations comes back from them; what only this region had, and its people's devices have not, is lost.

Example:
  parley relay restore --data ./north`,
    )
    .action(restore)
}

/** Adds `relay` with its commands. */
export function registerCommands(program: Command): void {
  const relay = program.command('relay').description('run a relay node of a region')
  addInit(relay)
  addStart(relay)
  addCheck(relay)
  addRenew(relay)
  addRestore(relay)
}
