import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { CommandLine } from '../testing/command-line.ts'
import { SocketHome } from '../testing/socket-home.ts'

const root = mkdtempSync(join(tmpdir(), 'parley-account-'))
after(() => rmSync(root, { recursive: true, force: true }))
const secret = join(root, 'passphrase')
writeFileSync(secret, 'p')

function account(step: string, name: string, ...args: string[]): CommandLine {
  return new CommandLine('account', step, '--profile', join(root, name), '--passphrase-file', secret, '--json', ...args)
}

/** Requests whose route holds `what` are never answered; resolves when the first has come. */
function silence(home: SocketHome, what: string): Promise<void> {
  return new Promise((resolve) => {
    home.hold = (route) => {
      if (!route.includes(what)) return Promise.resolve()
      resolve()
      return new Promise(() => undefined)
    }
  })
}

test('who is interrupted while the home is asked gives the same command again', async () => {
  await using home = await SocketHome.start()
  const asked = silence(home, 'POST /v1/accounts')
  const first = account('create', 'ana', '--home', home.origin)
  await asked
  const meanwhile = account('create', 'ana', '--home', home.origin)
  assert.equal(await meanwhile.ends(), 1)
  assert.match(meanwhile.err, /profile_in_use/)
  first.child.kill('SIGINT')
  await first.ends()
  assert.equal(first.out, '')
  home.hold = () => Promise.resolve()
  const show = account('show', 'ana')
  assert.equal(await show.ends(), 1)
  assert.match(show.err, /no_such_profile/)
  const again = account('create', 'ana', '--home', home.origin)
  assert.equal(await again.ends(), 0, again.err)
  assert.equal(home.people.size, 1)
})

test('the recovery phrase is there before the home has prekeys, and an interruption does not take it', async () => {
  await using home = await SocketHome.start()
  const stocking = silence(home, 'prekeys')
  const first = account('create', 'ben', '--home', home.origin)
  await stocking
  first.child.kill('SIGINT')
  await first.ends()
  home.hold = () => Promise.resolve()
  const { userId, recoveryPhrase } = JSON.parse(first.out) as Record<string, string>
  const show = account('show', 'ben')
  assert.equal(await show.ends(), 0, show.err)
  assert.equal(JSON.parse(show.out).userId, userId)
  const phrase = join(root, 'phrase')
  writeFileSync(phrase, recoveryPhrase!)
  const back = account('create', 'ben-back', '--home', home.origin, '--recover', '--phrase-file', phrase)
  assert.equal(await back.ends(), 0, back.err)
  assert.equal(JSON.parse(back.out).userId, userId)
})
