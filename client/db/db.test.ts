import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import Database from '@signalapp/sqlcipher'
import { keyStorageContract } from '#crypto'
import type { ConvId, Position } from '#protocol'
import { memoryDb } from '../rules/memory-db.ts'
import { all, schema } from '../rules/schema.ts'
import { deviceDbContract } from './contract.ts'
import { keyStorage } from './key-storage.ts'
import { migrate } from './migrations.ts'
import { createProfileFile, openProfileFile } from './profile-file.ts'
import { sqlDb } from './sql-db.ts'

const root = mkdtempSync(join(tmpdir(), 'parley-profile-'))
after(() => rmSync(root, { recursive: true, force: true }))
let count = 0
const fresh = (): string => join(root, `${++count}`)

deviceDbContract('in memory', async () => ({ db: memoryDb(), close: () => undefined }))
deviceDbContract('encrypted', async () => {
  const profile = await createProfileFile(fresh(), 'secret words')
  return { db: profile.db, close: () => profile[Symbol.dispose]() }
})

const forKeys = await createProfileFile(fresh(), 'p')
after(() => forKeys[Symbol.dispose]())
for (const db of [memoryDb(), forKeys.db]) {
  keyStorageContract(() => {
    db.transaction((tx) => {
      for (const { kind, key } of tx.scan('keys', {
        index: undefined,
        prefix: [],
        from: undefined,
        reverse: false,
        limit: 1e6,
      })) {
        tx.delete('keys', [kind, key])
      }
    })
    return {
      ...keyStorage(db, undefined),
      set: (table, key, value) => db.transaction((tx) => keyStorage(db, tx).set(table, key, value)),
    }
  })
}

test('a profile opens with its passphrase only, keeps what it was given, and shows nothing of it', async () => {
  const directory = fresh()
  const mark = 'a-mark-that-is-nowhere-else'
  {
    using profile = await createProfileFile(directory, 'right')
    await assert.rejects(openProfileFile(directory, 'right'), { code: 'no_such_profile' }, 'not kept yet')
    await assert.rejects(createProfileFile(directory, 'right'), { code: 'profile_in_use' })
    await profile.keep()
    profile.db.transaction((tx) => tx.put('self', { name: mark, value: new Uint8Array(Buffer.from(mark)) }))
    for (const file of readdirSync(directory))
      assert.equal(readFileSync(join(directory, file)).includes(mark), false, file)
  }
  await assert.rejects(openProfileFile(directory, 'wrong'), { code: 'wrong_passphrase' })
  await assert.rejects(createProfileFile(directory, 'right'), { code: 'already_registered' })
  await assert.rejects(openProfileFile(fresh(), 'right'), { code: 'no_such_profile' })
  using profile = await openProfileFile(directory, 'right')
  assert.equal(Buffer.from(profile.db.get('self', [mark])!.value).toString(), mark)
})

test('a profile that another process has open is refused; one whose process was killed is not', async () => {
  const directory = fresh()
  {
    using profile = await createProfileFile(directory, 'p')
    await profile.keep()
  }
  const code = `import { openProfileFile } from ${JSON.stringify(new URL('./profile-file.ts', import.meta.url).href)}
    const profile = await openProfileFile(process.argv[1], 'p')
    profile.db.transaction((tx) => tx.put('self', { name: 'a', value: new Uint8Array([1]) }))
    process.stdout.write('open')
    setInterval(() => profile, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  await assert.rejects(openProfileFile(directory, 'p'), { code: 'profile_in_use' })
  child.kill('SIGKILL')
  await once(child, 'exit')
  using profile = await openProfileFile(directory, 'p')
  assert.deepEqual([...profile.db.get('self', ['a'])!.value], [1], 'what was committed survives the kill')
})

test('the layout in SQL is the one that the program describes', async () => {
  using profile = await createProfileFile(fresh(), 'p')
  for (const [table, { columns }] of Object.entries(schema)) {
    const row = Object.fromEntries(
      Object.entries(columns).map(([column, type]) => [
        column,
        type === 'text' || type === 'conversation'
          ? 't'
          : type === 'blob'
            ? new Uint8Array([1])
            : type === 'boolean'
              ? true
              : 1,
      ]),
    )
    profile.db.transaction((tx) => tx.put(table as 'self', row as never))
    assert.deepEqual(
      {
        ...profile.db.scan(table as 'self', {
          index: undefined,
          prefix: [],
          from: undefined,
          reverse: false,
          limit: 1,
        })[0],
      },
      row,
      table,
    )
  }
})

test('rows of messages that an older program wrote are there under this one, each in its conversation', () => {
  const database = new Database(':memory:')
  migrate(database, 1)
  for (const conv of ['b', 'a']) {
    database.exec(`INSERT INTO outbox VALUES ('${conv}', 1, 'bound', 0, 0, NULL, x'01', NULL, 0)`)
    database.exec(`INSERT INTO sealed VALUES ('${conv}', 1, x'02')`)
    database.exec(`INSERT INTO messages VALUES ('${conv}', '0.1.1.1', 1, 7, 'text', x'03', 'sequenced', '', 5, 0)`)
    database.exec(`INSERT INTO messages VALUES ('${conv}', '0.1.1.1', 2, 3, 'text', x'', 'sequenced', '', 5, 0)`)
    database.exec(`INSERT INTO entries VALUES ('${conv}', 7, x'04')`)
  }
  database.exec(`INSERT INTO entries VALUES ('alone', 9, x'05')`)
  migrate(database)
  const db = sqlDb(database)
  for (const conv of ['a', 'b'] as ConvId[]) {
    assert.equal(db.get('outbox', [conv, 1])?.state, 'bound')
    assert.deepEqual(db.get('sealed', [conv, 1])?.submission, Uint8Array.of(2))
    assert.deepEqual({ ...db.get('messages', [conv, '0.1.1.1', 1]) }, { ...messageIn(conv), body: Uint8Array.of(3) })
    const place = { index: 'place', prefix: [conv], from: undefined, reverse: false, limit: 9 }
    assert.deepEqual(
      db.scan('messages', place).map(({ k }) => k),
      [2, 1],
    )
    assert.deepEqual(db.get('entries', [conv, 7])?.header, Uint8Array.of(4))
  }
  assert.equal(db.get('entries', ['alone', 9])?.at, 9)
  assert.equal(db.get('entries', ['nobody', 9]), undefined)
  assert.deepEqual(all(db, 'entries', 'nobody'), [])
  assert.equal(all(db, 'messages').length, 4)
  database.close()
})

function messageIn(conv: ConvId) {
  return {
    conv,
    author: '0.1.1.1',
    k: 1,
    at: 7,
    kind: 'text',
    status: 'sequenced',
    code: '',
    timeMs: 5,
    answered: 0,
  }
}

test('a number that was given out in a transaction that failed is given to nobody', async () => {
  using profile = await createProfileFile(fresh(), 'p')
  const { db } = profile
  const entry = (conv: string, header: number) => ({
    conv: conv as ConvId,
    at: 1 as Position,
    header: Uint8Array.of(header),
  })
  assert.throws(() =>
    db.transaction((tx) => {
      tx.put('entries', entry('lost', 1))
      throw new Error('no')
    }),
  )
  db.transaction((tx) => tx.put('entries', entry('kept', 2)))
  db.transaction((tx) => tx.put('entries', entry('lost', 3)))
  assert.deepEqual(
    all(db, 'entries').map(({ conv, header }) => [conv, header[0]]),
    [
      ['kept', 2],
      ['lost', 3],
    ],
  )
})
