// The composition root: the command line. Each folder's commands are loaded only when one of them is called, so that
// `parley --help` answers at once; the table below is what the help shows without loading anything.
import { enableCompileCache, flushCompileCache } from 'node:module'
import { Socket } from 'node:net'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { RefusalCode } from '#protocol'
import manifest from './package.json' with { type: 'json' }

// Half of the time until a relay is ready, so before anything else is loaded. Beside the packages, where only those can
// write who may change the code anyway.
enableCompileCache(join(import.meta.dirname, 'node_modules', '.cache', 'compiled'))
const commander = await import('commander')
const { ParleyError, systemClock } = await import('#protocol')

const EXIT = { failed: 1, usage: 2, refused: 3, unreachable: 4 } as const
/** How long a process may take to end by itself after an error, or after its parent has gone. */
const END_PATIENCE_MS = 5_000

type Folder = {
  readonly load: () => Promise<{ registerCommands(program: Command): void }>
  /** name -> what the help says; the commands below it stand in brackets. */
  readonly commands: Readonly<Record<string, string>>
}

const FOLDERS: readonly Folder[] = [
  {
    load: () => import('./relay/commands.ts'),
    commands: { relay: 'run a relay of a region (init, start, check, renew, restore)' },
  },
  {
    load: () => import('./bootstrap/commands.ts'),
    commands: { bootstrap: 'run an entry node of the network (start)' },
  },
  {
    load: () => import('./client/commands.ts'),
    commands: {
      account: 'create, show or move your account (create, show, move)',
      contact: 'the people you write to (add, list, verify)',
      chat: 'talk in this terminal',
      send: 'send what comes on standard input',
      receive: 'print what others send',
    },
  },
  { load: () => import('./testnet/commands.ts'), commands: { testnet: 'run a whole network on this machine' } },
]

type Advice = readonly [exit: keyof typeof EXIT, next: string]

const UPDATE: Advice = ['refused', 'check that both sides run the same version']
const FORGED: Advice = ['refused', 'do not trust this source; ask the person for their id by another way']
const OURS: Advice = ['refused', 'repeat with --verbose and report what it prints']

const ADVICE: { readonly [code in RefusalCode]: Advice } = {
  malformed: UPDATE,
  unsupported_version: UPDATE,
  too_large: ['refused', 'send less at once; `parley send` without --whole sends line by line'],
  too_many: ['refused', 'send less at once'],
  bad_id: ['usage', 'copy the id again; one wrong letter is enough'],
  bad_signature: FORGED,
  wrong_root: FORGED,
  expired: ['refused', 'check the clock of this machine, then try again'],
  too_old: ['refused', 'ask for the newest record; this one has been replaced'],
  conflict: OURS,
  unsigned_device: FORGED,
  not_granted: FORGED,
  wrong_audience: ['refused', 'use a client URL that the relay itself announces'],
  replayed: ['refused', 'connect again'],
  old_profile: ['refused', 'this profile is an old copy; create it anew with `parley account create --recover`'],
  not_home: ['refused', 'ask the region that the facts name'],
  home_restored: ['refused', 'connect again; the client comes home by itself, three times a day at most'],
  not_host: ['refused', 'connect again; the conversation has moved'],
  not_member: ['refused', 'ask a member to add you'],
  unknown_user: ['refused', 'check the id, or ask the person to create the account first'],
  unknown_device: ['refused', 'create the profile anew with `parley account create --recover`'],
  no_session: OURS,
  undecryptable: ['refused', 'nothing to do; it is asked for again by itself'],
  unknown_conversation: ['refused', 'add the other person with `parley contact add`'],
  unknown_region: ['refused', 'check the region id, or wait until the region has published its record'],
  bad_name: OURS,
  stale_manifest: ['refused', 'connect again to learn the newest devices'],
  stale_membership: ['refused', 'connect again to learn the newest members'],
  blocked: ['refused', 'nothing helps; the other side does not want this'],
  not_admitted: ['refused', 'ask the operator of the region for admission'],
  unauthorized: ['refused', 'sign in again'],
  not_found: ['refused', 'check what was asked for'],
  already_registered: ['refused', 'use `parley account create --recover` with the recovery phrase'],
  wrong_passphrase: ['failed', 'type it again, or check the file given with --passphrase-file'],
  profile_in_use: ['failed', 'close the other program that uses this profile, or use --profile'],
  store_in_use: ['failed', 'stop the other relay that uses this directory, or use --data'],
  no_such_profile: ['failed', 'create it with `parley account create`, or name another with --profile'],
  bad_argument: ['usage', 'see --help of the command'],
  unreachable: ['unreachable', 'check the network and the address, then try again'],
  timeout: ['unreachable', 'try again, or allow more with --timeout'],
  overloaded: ['unreachable', 'try again a little later'],
  no_room: ['unreachable', 'try again when older messages have been delivered'],
  full_disk: ['failed', 'free some disk space'],
  store_damaged: [
    'failed',
    'put the store from a backup back, or an empty one, and run `parley relay restore`; see the README',
  ],
  old_backup: ['failed', 'put the newest store back; if there is none, run `parley relay restore`'],
  closing: ['unreachable', 'try again; the other side is restarting'],
  signed_in_elsewhere: ['refused', 'close the other program that uses this account and device'],
}

const HELP_AFTER = `
Every command has --help with an example.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the other side, 4 unreachable or timed out,
5 the store of a relay failed.

Examples:
  parley testnet --demo                   a whole network on this machine, with a demo conversation
  parley account create --name ana        your account; asks for a passphrase
  parley chat --to parley1...             talk to somebody`

/** A folder's own next step, in the facts, is more exact than the table's. */
function reportRefusal(error: InstanceType<typeof ParleyError>): number {
  const [exit, next] = ADVICE[error.code]
  const message = error.message.replaceAll(/\s*\n\s*/g, ' ')
  process.stderr.write(`parley: ${message} [${error.code}]. Next: ${error.facts.next ?? next}\n`)
  return EXIT[exit]
}

function report(error: unknown, verbose: boolean): number {
  if (error instanceof commander.CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage
  const exit = error instanceof ParleyError ? reportRefusal(error) : EXIT.failed
  if (verbose) process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
  else if (!(error instanceof ParleyError)) {
    const line = (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]
    process.stderr.write(`parley: ${line} [internal]. Next: repeat with --verbose to see where\n`)
  }
  return exit
}

/** Ends the process by itself when it can (buffers are written), by force when something still holds it. */
function endWith(code: number): void {
  process.exitCode = code
  systemClock.after(END_PATIENCE_MS, () => process.exit(code))
}

/**
 * Whoever starts us may hand over one end of a pipe and hold the other: when it closes, the starter has gone, even by
 * SIGKILL, and so do we. The variable is not passed on, since the descriptor is not.
 */
function endWithParent(): void {
  const descriptor = process.env.PARLEY_PARENT_FD
  if (descriptor === undefined) return
  delete process.env.PARLEY_PARENT_FD
  const pipe = new Socket({ fd: Number(descriptor), readable: true, writable: false })
  const gone = (): void => {
    systemClock.after(END_PATIENCE_MS, () => process.exit(EXIT.failed))
    process.kill(process.pid, 'SIGTERM')
  }
  pipe.once('close', gone).on('error', () => {})
  pipe.resume().unref()
}

async function programFor(args: readonly string[]): Promise<Command> {
  const program = new commander.Command('parley')
    .description('A peer-assisted, federated relay network for end-to-end encrypted chat.')
    .version(manifest.version, '-V, --version')
    .option('--verbose', 'show details of unexpected errors')
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'parley: ')) })
    .configureHelp({ sortSubcommands: false })
    .addHelpText('after', HELP_AFTER)
    .showHelpAfterError('Next: see --help of the command')
  const words = args.filter((arg) => !arg.startsWith('-'))
  const called = words[0] === 'help' ? words[1] : words[0]
  for (const folder of FOLDERS) {
    if (called !== undefined && Object.hasOwn(folder.commands, called)) (await folder.load()).registerCommands(program)
    else for (const [name, summary] of Object.entries(folder.commands)) program.command(name).description(summary)
  }
  return program
}

/** A loop that empties before the command is done (a prompt whose terminal has gone) must not look like success. */
function failIfStuck(done: Promise<void>): void {
  const stuck = (): void => {
    process.stderr.write('parley: it ended while it was still waiting; was the input closed? [internal]\n')
    process.exitCode = EXIT.failed
  }
  process.once('beforeExit', stuck)
  void done.finally(() => process.off('beforeExit', stuck))
}

async function main(args: readonly string[]): Promise<void> {
  const verbose = args.includes('--verbose') || process.env.PARLEY_VERBOSE === '1'
  endWithParent()
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
  })
  process.on('uncaughtException', (error) => process.exit(report(error, verbose)))
  try {
    const program = await programFor(args)
    // Now: a process that is killed keeps nothing at its end.
    flushCompileCache()
    if (args.length === 0) program.outputHelp()
    else await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    endWith(report(error, verbose))
  }
}

failIfStuck(main(process.argv.slice(2)))
