// `parley account create|show`.
import { type Command, InvalidArgumentError } from 'commander'
import { renderUnicodeCompact } from 'uqr'
import { ParleyError } from '#protocol'
import { Parley, profileExists } from '../index.ts'
import {
  askSecret,
  flushed,
  newPassphrase,
  note,
  openProfile,
  type ProfileFlags,
  printJson,
  profileDirectory,
  readPassphrase,
  secretFrom,
  withProfile,
  write,
} from './shared.ts'

type CreateFlags = ProfileFlags & {
  readonly bootstrap: string[]
  readonly home?: string
  readonly recover: boolean
  readonly phraseFile?: string
  readonly json: boolean
}
type MoveFlags = ProfileFlags & { readonly to: string; readonly force: boolean; readonly json: boolean }
type ShowFlags = ProfileFlags & { readonly json: boolean; readonly qr: boolean }

const CREATE_HELP = `
Your home is the region that keeps your inbox. With --bootstrap the one that answers fastest is taken, with --home the
one that you name. The recovery phrase is shown once and stored nowhere: with it, and only with it, you get the account
back when this device is lost.

Examples:
  $ parley account create --name ana --home http://127.0.0.1:8101
  $ parley account create --bootstrap http://127.0.0.1:4001 --profile ./ana --passphrase-file ./ana.pass --json
  $ parley account create --recover --home http://127.0.0.1:8101     # asks for the phrase`

const MOVE_HELP = `
Your conversations come along. The new home asks the old one for what it keeps, and waits for it as long as it takes.
When the old home is gone for good, say so with --force: what was not delivered yet and lay only there is lost then.
Nothing happens twice when you give the same command again.

Examples:
  $ parley account move --name ana --to http://127.0.0.1:8102
  $ parley account move --name ana --to https://relay.example.org --force`

const SHOW_HELP = `
Example:
  $ parley account show --name ana --qr`

function parseUrl(text: string): string {
  const url = URL.parse(text)
  if (url && /^https?:$/.test(url.protocol)) return text
  throw new InvalidArgumentError('it is a URL such as https://relay.example.org')
}

function collect(url: string, before: string[]): string[] {
  return [...before, parseUrl(url)]
}

export function registerAccount(program: Command): void {
  const account = program.command('account').description('create, show or move your account')
  withProfile(account.command('create'))
    .description('make a new account, or get one back with its recovery phrase')
    .option('--bootstrap <url>', 'a bootstrap node whose list of regions to choose from (may be repeated)', collect, [])
    .option('--home <url>', 'a client URL of the region that is to be your home', parseUrl)
    .option('--recover', 'get an account back: asks for the recovery phrase', false)
    .option('--phrase-file <file>', 'with --recover: read the phrase from the first line of a file')
    .option('--json', 'print one JSON object', false)
    .addHelpText('after', CREATE_HELP)
    .action(create)
  withProfile(account.command('show'))
    .description('show your id and the link to give to others')
    .option('--qr', 'as a QR code too', false)
    .option('--json', 'print one JSON object', false)
    .addHelpText('after', SHOW_HELP)
    .action(show)
  withProfile(account.command('move'))
    .description('move your account to another region')
    .requiredOption('--to <url>', 'a client URL of the region that is to be your home', parseUrl)
    .option('--force', 'the old home will not answer any more: give up what only it has', false)
    .option('--json', 'print one JSON object', false)
    .addHelpText('after', MOVE_HELP)
    .action(move)
}

type Account = Pick<Parley, 'userId' | 'link' | 'homeRegion' | 'device'>

function describe(account: Account): {
  userId: string
  link: string
  home: string
  region: string
  device: number
  registration: string
} {
  const { regionId, name } = account.homeRegion
  return {
    userId: account.userId,
    link: account.link,
    home: name,
    region: regionId,
    device: account.device.number,
    registration: account.device.registration,
  }
}

async function move(flags: MoveFlags): Promise<void> {
  const directory = profileDirectory(flags)
  if (!profileExists(directory)) throw new ParleyError('no_such_profile', `there is no profile in ${directory}`)
  const passphrase = await readPassphrase(flags)
  note('moving; the new home is asked …')
  await using parley = await Parley.move(directory, { passphrase, to: flags.to, gone: flags.force })
  if (flags.json) return printJson(describe(parley))
  await write(`${parley.userId} lives in ${parley.homeRegion.name} now\n`)
}

async function create(flags: CreateFlags): Promise<void> {
  const directory = profileDirectory(flags)
  if (profileExists(directory)) {
    throw new ParleyError('already_registered', `there is a profile in ${directory} already`, {
      next: 'use it, or name another with --name or --profile',
    })
  }
  if (!flags.home && flags.bootstrap.length === 0) {
    throw new ParleyError('bad_argument', 'where is the account to live?', {
      next: 'give --home URL or --bootstrap URL',
    })
  }
  if (flags.phraseFile && !flags.recover) throw new ParleyError('bad_argument', '--phrase-file goes with --recover')
  const where = { ...(flags.home && { home: flags.home }), bootstraps: flags.bootstrap }
  if (flags.recover) {
    const recoveryPhrase = flags.phraseFile
      ? await secretFrom(flags.phraseFile)
      : await askSecret('Recovery phrase (24 words)', 'give it with --phrase-file')
    const passphrase = await newPassphrase(flags)
    await using parley = await Parley.recover(directory, { ...where, passphrase, recoveryPhrase })
    if (flags.json) return printJson({ ...describe(parley), profile: directory })
    return write(`Your account is back, on a new device. Older devices stop counting.\n\n${summary(parley, directory)}`)
  }
  const passphrase = await newPassphrase(flags)
  const show = async (account: Account, recoveryPhrase: string): Promise<void> => {
    if (flags.json) await printJson({ ...describe(account), profile: directory, recoveryPhrase })
    else await showPhrase(account, recoveryPhrase, directory)
    await flushed()
  }
  const { parley } = await Parley.create(directory, { ...where, passphrase, show })
  await parley.close()
}

async function showPhrase(account: Account, recoveryPhrase: string, directory: string): Promise<void> {
  await write(summary(account, directory))
  await write(`\nRecovery phrase, shown this once and stored nowhere:\n\n${inRows(recoveryPhrase)}\n`)
  note(
    'Write it down and keep it away from this device. Whoever has it is you; without it a lost device is a lost account.',
  )
}

function summary(account: Account, directory: string): string {
  const { name, regionId } = account.homeRegion
  return [
    `Your id:   ${account.userId}`,
    `Your link: ${account.link}`,
    `Home:      ${name} (${regionId})`,
    `Profile:   ${directory}`,
    '',
  ].join('\n')
}

function inRows(phrase: string): string {
  const words = phrase.split(' ').map((word, i) => `${`${i + 1}`.padStart(2)} ${word.padEnd(10)}`)
  return Array.from({ length: 6 }, (_, row) => `  ${words.slice(row * 4, row * 4 + 4).join(' ')}`.trimEnd()).join('\n')
}

async function show(flags: ShowFlags): Promise<void> {
  await using parley = await openProfile(flags)
  if (flags.json) return printJson({ ...describe(parley), profile: profileDirectory(flags) })
  await write(summary(parley, profileDirectory(flags)))
  if (flags.qr) await write(`\n${renderUnicodeCompact(parley.link)}\n`)
}
