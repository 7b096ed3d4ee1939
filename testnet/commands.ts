// `parley testnet`: a whole network on this machine.
import { constants } from 'node:os'
import type { Command } from 'commander'
import { ParleyError, systemClock } from '#protocol'
import { holdDemo } from './demo.ts'
import { launchTestnet, type Testnet } from './launch.ts'
import { PARENT_EVERY_MS, SIGNAL_EXIT, SIGNALS_TOGETHER_MS } from './limits.ts'
import type { TestAccount } from './people.ts'

type Flags = { demo: boolean; once: boolean; regions: string; keep?: string; json: boolean }

const say = (line: string): void => void process.stdout.write(`${line}\n`)

/** `npm start` that is killed cannot pass it on, and has no pipe to us that would close. */
function whenParentGoes(act: () => void): void {
  const parent = process.ppid
  const look = (): void => {
    if (process.ppid !== parent) act()
    else systemClock.after(PARENT_EVERY_MS, look)
  }
  if (process.env.npm_lifecycle_event === 'start') look()
}

/** npm and the terminal both pass Ctrl-C on, so it comes twice at once; a second one later ends without waiting. */
function untilAsked(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  let first: number | undefined
  const asked = (signal: NodeJS.Signals): void => {
    const now = systemClock.monotonic()
    first ??= now
    if (now - first > SIGNALS_TOGETHER_MS) process.exit(1)
    resolve(signal)
  }
  whenParentGoes(() => resolve('SIGHUP'))
  process.on('SIGINT', asked).on('SIGTERM', asked).on('SIGHUP', asked)
  return promise
}

function regionNames(text: string): string[] {
  const names = text.split(',').map((name) => name.trim())
  const good = names.every((name) => /^[a-z][a-z0-9-]{0,31}$/.test(name)) && new Set(names).size === names.length
  if (good && !names.includes('bootstrap')) return names
  throw new ParleyError('bad_argument', `not a list of different region names: ${text}`, {
    next: 'write them like north,south',
  })
}

function tellNetwork(network: Testnet, json: boolean): void {
  if (json) {
    const regions = network.regions.map(({ name, id, url, relay }) => ({
      name,
      id,
      url,
      pid: relay.pid,
      log: relay.logFile,
    }))
    say(JSON.stringify({ ready: true, bootstrapUrl: network.bootstrapUrl, dir: network.dir, regions }))
    return
  }
  say(`bootstrap  ${network.bootstrapUrl}`)
  for (const { name, url, id } of network.regions) say(`${name.padEnd(10)} ${url}  ${id}`)
  say(`data, logs ${network.dir}`)
}

/** One argument for a shell. */
const quoted = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)

function tellMore(network: Testnet, people: readonly TestAccount[]): void {
  say('\nThe network stays up. To join in, in other terminals:')
  for (const [i, { name, profile, passphraseFile }] of people.entries()) {
    const other = people[i === 0 ? 1 : 0]?.name ?? ''
    say(
      `  npx parley chat --profile ${quoted(profile)} --passphrase-file ${quoted(passphraseFile)} --to ${other}     # as ${name}`,
    )
  }
  say(`  npx parley account create --profile ./kim --bootstrap ${network.bootstrapUrl}     # somebody new`)
  say('\nCtrl-C ends it, and every process with it.')
}

async function run(flags: Flags): Promise<void> {
  let isDone = !flags.once
  const asked = untilAsked().then((signal) => {
    // As a shell says it: a conversation that was cut short is not one in which everything arrived.
    if (!isDone) process.exitCode = SIGNAL_EXIT + constants.signals[signal]
  })
  const names = regionNames(flags.regions)
  if (flags.demo && names.length < 2) throw new ParleyError('bad_argument', 'the demo needs two regions')
  const regions = names.map((name) => ({ name }))
  const launching = launchTestnet({ regions, ...(flags.keep !== undefined && { dir: flags.keep }) })
  const started = await Promise.race([launching, asked])
  await using network = started ?? (await launching)
  if (!started) return
  tellNetwork(network, flags.json)
  if (flags.demo || flags.once) {
    const people = await Promise.race([holdDemo(network, say), asked])
    isDone = true
    if (!people || flags.once) return
    tellMore(network, people)
  } else if (!flags.json) tellMore(network, [])
  await asked
}

const EXAMPLES = `
Examples:
  parley testnet                          two regions, north and south, until Ctrl-C
  parley testnet --demo                   the same, with two people who find each other and talk
  parley testnet --demo --once            ends after the conversation; 0 if every message arrived once, in order, decrypted
  parley testnet --regions a,b,c --keep ./net --json`

/** Adds `testnet`. */
export function registerCommands(program: Command): void {
  program
    .command('testnet')
    .description('run a whole network on this machine')
    .option('--demo', 'two people, ana and ben, find each other through the DHT and talk', false)
    .option('--once', 'end after the conversation', false)
    .option('--regions <names>', 'names of the regions, one relay each', 'north,south')
    .option('--keep <directory>', 'where data and logs go; kept at the end')
    .option('--json', 'print the addresses as one JSON object', false)
    .addHelpText('after', EXAMPLES)
    .action(run)
}
