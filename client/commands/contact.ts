// `parley contact add|list|verify`.
import type { Command } from 'commander'
import { checkScan, comparisonDigits, parseScan, verificationPayload, verificationQr } from '#crypto'
import { askYes, openProfile, type ProfileFlags, parseSeconds, printJson, withProfile, write } from './shared.ts'

type AddFlags = ProfileFlags & { readonly json: boolean; readonly offline: boolean; readonly timeout: number }
type ListFlags = ProfileFlags & { readonly json: boolean }
type VerifyFlags = ProfileFlags & { readonly json: boolean; readonly scan?: string; readonly yes: boolean }

const DEFAULT_TIMEOUT_MS = 20_000

const ADD_HELP = `
Takes an id (parley1...) or a link (parley:parley1...). The person is looked up through your home, and the records that
come back are checked against the id, so nobody can put somebody else in their place.

Example:
  $ parley contact add parley1... ben`

const VERIFY_HELP = `
Compare the digits with those that the other person sees, by voice or face to face. They are made of both ids, and an id
is the hash of a person's root key: equal digits are the whole verification, and it survives new devices.

Examples:
  $ parley contact verify ben
  $ parley contact verify ben --scan "$(zbarimg -q --raw code.png)"`

export function registerContact(program: Command): void {
  const contact = program.command('contact').description('the people you write to')
  withProfile(contact.command('add'))
    .description('add somebody by id or link')
    .argument('<id-or-link>', "what the other person's `parley account show` prints")
    .argument('[alias]', 'what to call them here', '')
    .option('--offline', 'do not look the person up now', false)
    .option('--timeout <seconds>', 'for the look-up', parseSeconds, DEFAULT_TIMEOUT_MS)
    .option('--json', 'print one JSON object', false)
    .addHelpText('after', ADD_HELP)
    .action(add)
  withProfile(contact.command('list'))
    .description('list everybody')
    .option('--json', 'print one JSON object a line', false)
    .addHelpText('after', '\nExample:\n  $ parley contact list')
    .action(list)
  withProfile(contact.command('verify'))
    .description('compare 60 digits, or a QR code, with the other person')
    .argument('<who>', 'alias, id or link')
    .option('--scan <text>', 'what their QR code says, instead of comparing by eye')
    .option('--yes', 'the digits are the same: do not ask', false)
    .option('--json', 'print one JSON object', false)
    .addHelpText('after', VERIFY_HELP)
    .action(verify)
}

async function add(who: string, alias: string, flags: AddFlags): Promise<void> {
  await using parley = await openProfile(flags)
  // A person who is not found takes no alias.
  if (!flags.offline) await parley.lookUp(parley.otherOf(who), flags.timeout)
  const user = await parley.addContact(who, alias)
  const contact = parley.contact(user)!
  if (flags.json) return printJson(contact)
  const found = contact.homeRegion ? `, whose home is ${contact.homeRegion}` : ''
  await write(`Added ${alias || user}${found}.\nNext: parley contact verify ${alias || user}\n`)
}

async function list(flags: ListFlags): Promise<void> {
  await using parley = await openProfile(flags)
  for (const contact of parley.contacts()) {
    if (flags.json) await printJson(contact)
    else {
      const marks = [contact.verified ? 'verified' : 'not verified', contact.accepted ? '' : 'stranger'].filter(Boolean)
      await write(`${(contact.name || '-').padEnd(16)} ${contact.user}  ${marks.join(', ')}\n`)
    }
  }
}

async function verify(who: string, flags: VerifyFlags): Promise<void> {
  await using parley = await openProfile(flags)
  const user = parley.resolve(who)
  const digits = comparisonDigits(parley.userId, user)
  if (flags.scan !== undefined) checkScan(parseScan(flags.scan), parley.userId, user)
  else if (!flags.json) {
    await write(
      `${digits.slice(0, 6).join(' ')}\n${digits.slice(6).join(' ')}\n\n${verificationQr(parley.userId, user)}\n`,
    )
  }
  const asks = flags.scan === undefined && !flags.yes && !flags.json
  const same =
    flags.scan !== undefined ||
    flags.yes ||
    (asks &&
      (await askYes('Does the other person see the same digits?', 'call it with --yes once you have compared them')))
  if (same) await parley.markVerified(user, true)
  const verified = parley.contact(user)?.verified ?? false
  if (flags.json) return printJson({ user, digits, qr: verificationPayload(parley.userId, user), verified })
  await write(
    same
      ? 'Verified.\n'
      : 'Not verified. If the digits differ, somebody may be in between: get the id again, face to face.\n',
  )
}
