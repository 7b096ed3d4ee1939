import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ParleyError, systemClock, systemRandom } from '#protocol'
import { readOwnHead, readOwnManifest } from './account.ts'
import { createProfileFile } from './db/profile-file.ts'
import { COME_HOME_MS, COME_HOME_TIMES } from './limits.ts'
import { registerNew } from './registration.ts'
import { remedyFor } from './remedies.ts'
import { SocketHome } from './testing/socket-home.ts'

const directory = mkdtempSync(join(tmpdir(), 'parley-remedies-'))
after(() => rmSync(directory, { recursive: true, force: true }))

test('a home that says all day that it was restored is believed three times, and again tomorrow', async () => {
  await using home = await SocketHome.start()
  using profile = await createProfileFile(directory, 'p')
  const { db } = profile
  await registerNew(db, { home: home.origin, bootstraps: [] }, { clock: systemClock, random: systemRandom })
  let later = 0
  const clock = { ...systemClock, now: () => systemClock.now() + later }
  const learned: number[] = []
  const ask = () =>
    remedyFor(new ParleyError('home_restored', 'it says so'), db, {
      clock,
      replace: () => assert.fail('it is no old copy'),
      learn: async ({ homeGeneration }) => void learned.push(homeGeneration),
    })
  const { homeGeneration } = readOwnManifest(db, clock.now())
  for (let i = 1; i <= COME_HOME_TIMES; i++) {
    assert.equal(await ask(), 'again')
    assert.equal(learned.at(-1), homeGeneration + i, 'a later generation, which the home has taken')
  }
  assert.equal(await ask(), 'later')
  assert.equal(await ask(), 'later')
  assert.equal(learned.length, COME_HOME_TIMES)
  later = COME_HOME_MS
  assert.equal(await ask(), 'again')
})

test('a home whose answer to the later generation was lost shows it again, and is believed no more often for it', async () => {
  await using home = await SocketHome.start()
  using profile = await createProfileFile(join(directory, 'lost'), 'p')
  const { db } = profile
  await registerNew(db, { home: home.origin, bootstraps: [] }, { clock: systemClock, random: systemRandom })
  const learned: number[] = []
  const ask = (code: 'home_restored' | 'too_old') =>
    remedyFor(new ParleyError(code, 'it says so'), db, {
      clock: systemClock,
      replace: () => assert.fail('it is no old copy'),
      learn: async ({ homeGeneration }) => void learned.push(homeGeneration),
    })
  const own = readOwnManifest(db, systemClock.now())
  assert.equal(await ask('too_old'), 'stop', 'there is no newer one')
  const { admit } = home
  home.admit = (account) => {
    admit.call(home, account)
    throw new ParleyError('malformed', 'an answer that is lost')
  }
  for (let i = 1; i <= COME_HOME_TIMES; i++) {
    await assert.rejects(ask('home_restored'), { code: 'malformed' })
    assert.equal(await ask('too_old'), 'again')
    assert.equal(learned.at(-1), own.homeGeneration + i)
    const there = home.people.get(own.userId)!
    assert.deepEqual(readOwnManifest(db, systemClock.now()).hash, there.manifest.hash)
    assert.deepEqual(readOwnHead(db).payload, there.home.record.head?.payload)
  }
  assert.equal(await ask('home_restored'), 'later')
  assert.equal(await ask('too_old'), 'stop')
})
