import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Parley } from '../index.ts'
import { CommandLine } from '../testing/command-line.ts'
import { SocketHome } from '../testing/socket-home.ts'

const root = mkdtempSync(join(tmpdir(), 'parley-receive-'))
after(() => rmSync(root, { recursive: true, force: true }))
const PATIENCE_MS = 10_000
const passphrase = 'p'
const secret = join(root, 'passphrase')
writeFileSync(secret, passphrase)

async function receive(directory: string): Promise<{ out: string; err: string }> {
  const command = new CommandLine('receive', '--profile', directory, '--passphrase-file', secret)
  command.child.stdin.end()
  assert.equal(await command.ends(), 0, command.err)
  return command
}

test('what the reader has passed unread is printed once, although it became readable in another command', async () => {
  await using home = await SocketHome.start()
  const [anas, bens] = [join(root, 'ana'), join(root, 'ben-again')]
  const options = { passphrase, home: home.origin }
  const ben = await Parley.create(join(root, 'ben'), options)
  const { userId } = ben.parley
  await ben.parley.close()
  {
    await using ana = (await Parley.create(anas, options)).parley
    await (await ana.send(userId, 'for the old device')).until('sequenced')
  }
  const again = await Parley.recover(bens, { ...options, recoveryPhrase: ben.recoveryPhrase })
  await again.close()
  const first = await receive(bens)
  assert.equal(first.out, '')
  assert.match(first.err, /cannot be read/)
  {
    await using ana = await Parley.open(anas, { passphrase })
    await using other = await Parley.open(bens, { passphrase })
    const late = new Promise((resolve) => other.once('message', resolve))
    ana.connect()
    await other.connected(PATIENCE_MS)
    await late
  }
  assert.equal((await receive(bens)).out, 'for the old device\n')
  assert.equal((await receive(bens)).out, '')
})

test('what comes from a device that nobody knew yet is printed, although the reader was past its place', async () => {
  await using home = await SocketHome.start()
  const bens = join(root, 'ben-waits')
  const options = { passphrase, home: home.origin }
  const ana = await Parley.create(join(root, 'ana-old'), options)
  const { userId } = ana.parley
  const known = home.people.get(userId)!
  const ben = await Parley.create(bens, options)
  await (await ben.parley.send(userId, 'hello')).until('delivered')
  await ana.parley.close()
  const back = await Parley.recover(join(root, 'ana-back'), { ...options, recoveryPhrase: ana.recoveryPhrase })
  const knownLater = home.people.get(userId)!
  // For a while the home does not tell anybody of the new device.
  home.people.set(userId, known)
  await (await back.send(ben.parley.userId, 'from the new device')).until('delivered')
  await back.close()
  await (await ben.parley.send(userId, 'are you there')).until('sequenced')
  await ben.parley.close()
  assert.equal((await receive(bens)).out, '')
  home.people.set(userId, knownLater)
  {
    await using other = await Parley.open(bens, { passphrase })
    const late = new Promise((resolve) => other.once('message', resolve))
    await other.connected(PATIENCE_MS)
    await late
  }
  assert.equal((await receive(bens)).out, 'from the new device\n')
  assert.equal((await receive(bens)).out, '')
})
