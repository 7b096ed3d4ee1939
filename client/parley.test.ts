import assert from 'node:assert/strict'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ParleyError } from '#protocol'
import { Parley } from './index.ts'
import { SocketHome } from './testing/socket-home.ts'

const root = mkdtempSync(join(tmpdir(), 'parley-sdk-'))
after(() => rmSync(root, { recursive: true, force: true }))
const PATIENCE_MS = 5_000
const passphrase = 'p'

async function person(
  home: SocketHome,
  name: string,
): Promise<{ parley: Parley; recoveryPhrase: string; directory: string }> {
  const directory = join(root, `${name}-${home.origin.split(':').at(-1)}`)
  return { ...(await Parley.create(directory, { passphrase, home: home.origin })), directory }
}

async function received(parley: Parley, count: number): Promise<string[]> {
  const texts: string[] = []
  parley.on('message', ({ message }) => texts.push(Buffer.from(message.body).toString()))
  await parley.until(() => texts.length >= count, PATIENCE_MS)
  return texts
}

test('two people over real sockets and libsignal: in order, through a cut, with delivered and read marks', async () => {
  await using home = await SocketHome.start()
  const ana = await person(home, 'ana')
  const ben = await person(home, 'ben')
  await using a = ana.parley
  await using b = ben.parley
  await b.connected(PATIENCE_MS)
  const got = received(b, 40)
  const sendings = []
  for (let i = 1; i <= 40; i++) {
    sendings.push(await a.send(b.userId, `line ${i}`))
    if (i === 20) home.cutAll()
  }
  assert.deepEqual(
    await got,
    Array.from({ length: 40 }, (_, i) => `line ${i + 1}`),
  )
  const last = await sendings.at(-1)!.until('delivered')
  await b.markRead(a.userId, last)
  await a.until(() => a.marks(b.userId).peerRead === last, PATIENCE_MS)
  assert.equal(home.bundles, 1, 'one session set-up')
  assert.deepEqual(
    a.headers(b.userId).map((header) => Buffer.from(header).toString('hex')),
    b.headers(a.userId).map((header) => Buffer.from(header).toString('hex')),
  )
  assert.equal(a.history(b.userId, { limit: 5 }).at(-1)?.status, 'sequenced')
})

test('a profile opened again goes on where it was; a second opening is refused', async () => {
  await using home = await SocketHome.start()
  const ana = await person(home, 'ana')
  await using ben = (await person(home, 'ben')).parley
  await assert.rejects(Parley.open(ana.directory, { passphrase }), { code: 'profile_in_use' })
  await ana.parley.close()
  const { k } = await (async () => {
    await using offline = await Parley.open(ana.directory, { passphrase })
    return await offline.send(ben.userId, 'written offline', { name: 'job', line: 1 })
  })()
  const got = received(ben, 1)
  await using again = await Parley.open(ana.directory, { passphrase })
  assert.deepEqual({ ...again.job('job') }, { name: 'job', conv: again.conversationWith(ben.userId), line: 1, k })
  again.connect()
  await again.sending(again.conversationWith(ben.userId), k).until('sequenced')
  assert.deepEqual(await got, ['written offline'])
})

test('an old copy of a profile registers as a new device, once, and what it held goes out under it', async () => {
  await using home = await SocketHome.start()
  const ana = await person(home, 'ana')
  await using ben = (await person(home, 'ben')).parley
  await ana.parley.close()
  const copied = `${ana.directory}-copy`
  cpSync(ana.directory, copied, { recursive: true })
  {
    await using original = await Parley.open(ana.directory, { passphrase })
    await original.connected(PATIENCE_MS)
  }
  await using copy = await Parley.open(copied, { passphrase })
  const got = received(ben, 1)
  const replaced = once(copy, 'device-replaced')
  const sending = await copy.send(ben.userId, 'from the copy')
  copy.connect()
  await sending.until('sequenced')
  await replaced
  assert.deepEqual(await got, ['from the copy'])
  assert.equal(copy.device.registration, '1.2')
  await using original = await Parley.open(ana.directory, { passphrase })
  await assert.rejects(original.connected(PATIENCE_MS), { code: 'unsigned_device' })
})

test('an old copy whose home does not take its new device at first asks again until it does', async () => {
  await using home = await SocketHome.start()
  const ana = await person(home, 'ana')
  await using ben = (await person(home, 'ben')).parley
  await ana.parley.close()
  const copied = `${ana.directory}-late-copy`
  cpSync(ana.directory, copied, { recursive: true })
  {
    await using original = await Parley.open(ana.directory, { passphrase })
    await original.connected(PATIENCE_MS)
  }
  const { admit } = home
  let refusals = 0
  home.admit = (account) => {
    if (++refusals > 1) return admit.call(home, account)
    throw new ParleyError('overloaded', 'not now')
  }
  await using copy = await Parley.open(copied, { passphrase })
  const got = received(ben, 1)
  const replaced = once(copy, 'device-replaced')
  const sequenced = (await copy.send(ben.userId, 'from the copy')).until('sequenced')
  copy.connect()
  await replaced
  await sequenced
  assert.deepEqual(await got, ['from the copy'])
  const back = received(copy, 1)
  await ben.send(copy.userId, 'to the copy')
  assert.deepEqual(await back, ['to the copy'])
})

test('the recovery phrase brings the account back on a new device, and others notice', async () => {
  await using home = await SocketHome.start()
  const ana = await person(home, 'ana')
  await using ben = (await person(home, 'ben')).parley
  await (await ben.send(ana.parley.userId, 'before')).until('delivered')
  const { userId } = ana.parley
  await ana.parley.close()
  const { recoveryPhrase } = ana
  await using back = await Parley.recover(join(root, `back-${home.origin.split(':').at(-1)}`), {
    passphrase,
    home: home.origin,
    recoveryPhrase,
  })
  assert.equal(back.userId, userId)
  const got = received(ben, 1)
  const changed = once(ben, 'contact-changed')
  await back.send(ben.userId, 'it is me')
  assert.deepEqual(await got, ['it is me'])
  assert.equal((await changed)[0].change, 'root')
})

test('what cannot be: no home, an unknown id, too much text', async () => {
  await using home = await SocketHome.start()
  await using ana = (await person(home, 'ana')).parley
  const nowhere = join(root, 'nowhere')
  await assert.rejects(Parley.create(nowhere, { passphrase, home: 'http://127.0.0.1:1' }), { code: 'unreachable' })
  await assert.rejects(Parley.open(nowhere, { passphrase }), { code: 'no_such_profile' }, 'nothing is left behind')
  for (const when of ['at first', 'and again, while the first failure makes it wait'])
    await assert.rejects(ana.lookUp('parley1qqqq' as never, PATIENCE_MS), { code: 'unknown_user' }, when)
  assert.throws(() => ana.resolve('parley1qqqq'), { code: 'bad_id' })
  assert.throws(() => ana.resolve('nobody'), { code: 'not_found' })
  await assert.rejects(ana.send(ana.userId, 'to myself'), { code: 'bad_argument' })
  await assert.rejects(ana.addContact(ana.link, 'me'), { code: 'bad_argument' })
})
