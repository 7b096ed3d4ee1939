// What every database of a device does. Run over the one in memory and the encrypted one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConvId, Position } from '#protocol'
import { all, type DeviceDb, type MessageRow } from '../rules/schema.ts'

const conv = 'parleyc1example' as ConvId

function message(k: number, at: number, body = 'x'): MessageRow {
  return {
    conv,
    author: '0.1.1.1',
    k,
    at: at as Position,
    kind: 'text',
    body: new Uint8Array(Buffer.from(body)),
    status: 'sequenced',
    code: '',
    timeMs: 1,
    answered: 0,
  }
}

export function deviceDbContract(name: string, open: () => Promise<{ db: DeviceDb; close: () => void }>): void {
  const run = (what: string, body: (db: DeviceDb) => void): void => {
    test(`${name}: ${what}`, async () => {
      const { db, close } = await open()
      try {
        body(db)
      } finally {
        close()
      }
    })
  }
  const scan = (db: DeviceDb, options: { from?: number; reverse?: boolean; limit?: number }): number[] => {
    const { from, reverse = false, limit = 100 } = options
    return db.scan('messages', { index: 'place', prefix: [conv], from, reverse, limit }).map(({ at }) => at)
  }

  run('what was put is there, replaced and deleted, with undefined, booleans, empty bytes and large numbers', (db) => {
    const user = 'parley1a' as never
    const contact = { user, name: 'é', accepted: true, verified: false, home: undefined, manifest: new Uint8Array(0) }
    db.transaction((tx) => tx.put('contacts', contact))
    assert.deepEqual({ ...db.get('contacts', [user]) }, contact)
    db.transaction((tx) => tx.put('contacts', { ...contact, accepted: false }))
    assert.equal(db.get('contacts', [user])?.accepted, false)
    db.transaction((tx) => tx.put('messages', message(1, 2 ** 50)))
    assert.equal(all(db, 'messages', conv)[0]?.at, 2 ** 50)
    db.transaction((tx) => tx.delete('contacts', [user]))
    assert.equal(db.get('contacts', [user]), undefined)
  })

  run('scans go in order of the index, both ways, from a bound, up to a limit, within a prefix', (db) => {
    db.transaction((tx) => {
      for (const [k, at] of [
        [1, 30],
        [2, 4],
        [3, 200],
        [4, 0],
      ] as const)
        tx.put('messages', message(k, at))
      tx.put('messages', { ...message(1, 5), conv: `${conv}x` as ConvId })
    })
    assert.deepEqual(scan(db, {}), [0, 4, 30, 200])
    assert.deepEqual(scan(db, { from: 4 }), [4, 30, 200])
    assert.deepEqual(scan(db, { from: 30, reverse: true }), [30, 4, 0])
    assert.deepEqual(scan(db, { reverse: true, limit: 2 }), [200, 30])
    db.transaction((tx) => tx.put('messages', message(1, 3)))
    assert.deepEqual(scan(db, {}), [0, 3, 4, 200], 'an index follows its row')
    assert.deepEqual(
      all(db, 'messages', conv, '0.1.1.1').map(({ k }) => k),
      [1, 2, 3, 4],
    )
  })

  run('a row that is known is replaced like any other', (db) => {
    const was = message(1, 7)
    const bytes = new Uint8Array(0)
    for (const row of [
      { ...was, at: 9 as Position, status: 'held' as const },
      was,
      { ...was, body: bytes },
      was,
      was,
    ]) {
      db.transaction((tx) => tx.put('messages', was))
      db.transaction((tx) => tx.replace('messages', was, row))
      assert.deepEqual(
        all(db, 'messages').map((it) => ({ ...it })),
        [row],
      )
      assert.deepEqual(scan(db, {}), [row.at], 'an index follows its row')
    }
  })

  run('a run of rows is deleted, its ends included, and nothing beside it', (db) => {
    const other = `${conv}x` as ConvId
    const sealed = (within: ConvId): number[] => all(db, 'sealed', within).map(({ k }) => k)
    db.transaction((tx) => {
      for (const each of [conv, other])
        for (const k of [1, 2, 3, 5, 300, 301]) tx.put('sealed', { conv: each, k, submission: Uint8Array.of(1) })
    })
    db.transaction((tx) => tx.deleteRun('sealed', [conv], 2, 300))
    assert.deepEqual(
      [sealed(conv), sealed(other)],
      [
        [1, 301],
        [1, 2, 3, 5, 300, 301],
      ],
    )
    db.transaction((tx) => tx.deleteRun('sealed', [`${conv}y`], 1, 9))
    assert.throws(() =>
      db.transaction((tx) => {
        tx.deleteRun('sealed', [other], 1, 999)
        throw new Error('no')
      }),
    )
    assert.equal(sealed(other).length, 6)
  })

  run('a transaction that throws leaves nothing, one that reads sees itself', (db) => {
    db.transaction((tx) => tx.put('messages', message(1, 1)))
    assert.throws(
      () =>
        db.transaction((tx) => {
          tx.put('messages', message(1, 9))
          tx.put('messages', message(2, 2))
          tx.delete('messages', [conv, '0.1.1.1', 1])
          assert.equal(tx.get('messages', [conv, '0.1.1.1', 2])?.at, 2)
          throw new Error('no')
        }),
      /no/,
    )
    assert.deepEqual(scan(db, {}), [1])
    assert.equal(
      db.transaction(() => 7),
      7,
    )
  })

  run('what is handed in and out is not changed by either side', (db) => {
    const row = message(1, 1, 'abc')
    db.transaction((tx) => tx.put('messages', row))
    row.body.fill(0)
    assert.equal(Buffer.from(db.get('messages', [conv, '0.1.1.1', 1])!.body).toString(), 'abc')
  })
}
