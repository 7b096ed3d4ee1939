import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Parley } from '../index.ts'
import { CommandLine } from '../testing/command-line.ts'
import { SocketHome } from '../testing/socket-home.ts'

const root = mkdtempSync(join(tmpdir(), 'parley-send-'))
after(() => rmSync(root, { recursive: true, force: true }))
const PATIENCE_MS = 20_000
const TIMEOUT = ['--timeout', '2']
const secret = join(root, 'passphrase')
writeFileSync(secret, 'p')

function person(home: SocketHome, name: string): Promise<Parley> {
  return Parley.create(join(root, name), { passphrase: 'p', home: home.origin }).then(({ parley }) => parley)
}

function send(name: string, to: Parley, ...args: string[]): CommandLine {
  return new CommandLine('send', '--profile', join(root, name), '--passphrase-file', secret, '--to', to.userId, ...args)
}

/** What has come for somebody, as text, while the test goes on. */
function heardBy(parley: Parley): { readonly texts: string[]; readonly count: (n: number) => Promise<void> } {
  const texts: string[] = []
  parley.on('message', ({ message }) => texts.push(Buffer.from(message.body).toString()))
  return { texts, count: (n) => parley.until(() => texts.length >= n, PATIENCE_MS) }
}

test('a pause in the input is no lack of progress, a line that gets no number is', async (t) => {
  await using home = await SocketHome.start()
  await using ben = await person(home, 'ben')
  await (await person(home, 'ana')).close()
  const cyn = await person(home, 'cyn')
  const { userId } = cyn
  await cyn.close()
  home.script = (_, author) => (author.startsWith(userId) ? 'silence' : undefined)
  const heard = heardBy(ben)
  const command = send('ana', ben, ...TIMEOUT)
  t.after(() => command.child.kill('SIGKILL'))
  command.child.stdin.write('one\n')
  await heard.count(1)
  // Begun later, so that the pause is longer than the timeout when it gives up; its input stays open too.
  const stuck = send('cyn', ben, ...TIMEOUT)
  t.after(() => stuck.child.kill('SIGKILL'))
  stuck.child.stdin.write('nobody numbers this\n')
  assert.equal(await stuck.ends(), 4)
  assert.match(stuck.err, /no progress/)
  command.child.stdin.end('two\n')
  assert.equal(await command.ends(), 0, command.err)
  assert.deepEqual(heard.texts, ['one', 'two'])
})

test('an interruption ends it although the input stays open', { timeout: 2 * PATIENCE_MS }, async (t) => {
  await using home = await SocketHome.start()
  await using ben = await person(home, 'ben-2')
  await (await person(home, 'ana-2')).close()
  const heard = heardBy(ben)
  const command = send('ana-2', ben)
  t.after(() => command.child.kill('SIGKILL'))
  command.child.stdin.write('one\n')
  await heard.count(1)
  command.child.kill('SIGTERM')
  assert.equal(await command.ends(), 130, command.err)
  assert.match(command.err, /Interrupted/)
})
