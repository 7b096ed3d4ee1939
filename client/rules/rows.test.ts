// Whatever a turn reads through what the engine remembers is what the database would have said.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ConvId, Position, UserId } from '#protocol'
import { ROWS_KEPT_BYTES } from '../limits.ts'
import { newDraft } from './draft.ts'
import { memoryDb } from './memory-db.ts'
import { openRows } from './rows.ts'
import type { DbReader, DbWriter, KeyValue, TableName, Tables } from './schema.ts'

const conv = (n: number): ConvId => `parleyc1${n}` as ConvId
const BODIES = [new Uint8Array(0), new Uint8Array(100).fill(1), new Uint8Array(ROWS_KEPT_BYTES / 2).fill(2)]

function message(c: number, author: number, k: number, kind: number): Tables['messages'] {
  const status = kind % 2 === 0 ? 'waiting' : 'sequenced'
  return {
    conv: conv(c),
    author: `${author}.1.1.1`,
    k,
    at: (kind % 2 === 0 ? 0 : k + 100) as Position,
    kind: 'text',
    body: BODIES[kind % 3]!,
    status,
    code: '',
    timeMs: kind,
    answered: 0,
  }
}

type Make = (c: number, k: number, kind: number) => { table: TableName; key: KeyValue[]; row: Tables[TableName] }

const MAKERS: readonly Make[] = [
  (c, k, kind) => ({
    table: 'messages',
    key: [conv(c), `${kind % 2}.1.1.1`, k],
    row: message(c, kind % 2, k, kind),
  }),
  (c, k, kind) => ({
    table: 'sealed',
    key: [conv(c), k],
    row: { conv: conv(c), k, submission: BODIES[kind % 3]! },
  }),
  (c, k, kind) => ({
    table: 'unread',
    key: [conv(c), k],
    row: {
      conv: conv(c),
      at: k as Position,
      author: '1.1.1.1',
      k,
      part: BODIES[kind % 2]!,
      reason: 'undecryptable',
      asks: kind,
    },
  }),
  (c, _, kind) => {
    const user = `parley1${c}` as UserId
    const row = {
      user,
      name: `${kind}`,
      accepted: kind > 2,
      verified: false,
      home: BODIES[kind % 2],
      manifest: undefined,
    }
    return { table: 'contacts', key: [user], row }
  },
]

type Step = {
  readonly make: number
  readonly c: number
  readonly k: number
  readonly kind: number
  readonly what: string
}

const step = fc.record({
  make: fc.nat(MAKERS.length - 1),
  c: fc.nat(1),
  k: fc.nat(5),
  kind: fc.nat(5),
  what: fc.constantFrom('put', 'put', 'delete', 'get', 'get', 'get'),
})

/** Of long bytes only how many. */
const said = (row: object | undefined): string =>
  JSON.stringify(row, (_, value) => (value instanceof Uint8Array ? `${value.length} bytes` : value)) ?? 'nothing'

function carryOut(steps: readonly Step[], tx: DbWriter, model: DbWriter): void {
  for (const { make, c, k, kind, what } of steps) {
    const { table, key, row } = MAKERS[make]!(c, k, kind)
    if (what === 'put') for (const db of [tx, model]) db.put(table, row)
    else if (what === 'delete') for (const db of [tx, model]) db.delete(table, key)
    else assert.equal(said(tx.get(table, key)), said(model.get(table, key)), `${table} ${key}`)
  }
}

/** A draft that remembers nothing. */
const asIs = (db: DbReader) => ({ get: db.get, known: () => undefined, committed: () => undefined })

test('rows and ends that are remembered say what the database says, turn after turn', () => {
  fc.assert(
    fc.property(fc.array(fc.array(step, { maxLength: 12 }), { maxLength: 12 }), (all) => {
      const [before = [], ...turns] = all
      const [real, model] = [memoryDb(), memoryDb()]
      real.transaction((one) => model.transaction((other) => carryOut(before, one, other)))
      const rows = openRows(real)
      for (const steps of turns) {
        const draft = newDraft(real, rows)
        const plain = newDraft(model, asIs(model))
        carryOut(steps, draft, plain)
        real.transaction((tx) => draft.apply(tx))
        model.transaction((tx) => plain.apply(tx))
        draft.committed()
      }
    }),
    { numRuns: 60 },
  )
})

test('a draft deletes what it was told to, whatever it puts together', () => {
  const some = fc.array(fc.record({ c: fc.nat(1), k: fc.nat(9), table: fc.constantFrom('sealed', 'unread') }))
  const ordered = some.map((them) => [...them].sort((a, b) => a.k - b.k))
  fc.assert(
    fc.property(fc.oneof(some, ordered), (gone) => {
      const db = memoryDb()
      const [, sealed, unread] = MAKERS
      const everything = [0, 1].flatMap((c) =>
        Array.from({ length: 10 }, (_, k) => [sealed!(c, k, 0), unread!(c, k, 0)]).flat(),
      )
      db.transaction((tx) => {
        for (const { table, row } of everything) tx.put(table, row)
      })
      const draft = newDraft(db, openRows(db))
      for (const { c, k, table } of gone) draft.delete(table as TableName, [conv(c), k])
      db.transaction((tx) => draft.apply(tx))
      for (const { table, key } of everything) {
        const isGone = gone.some((it) => it.table === table && conv(it.c) === key[0] && it.k === key[1])
        assert.equal(db.get(table, key) === undefined, isGone, `${table} ${key}`)
      }
    }),
    { numRuns: 200 },
  )
})

test('what is needed again is not asked for, nor what cannot be there; what is remembered is bounded', () => {
  const asked: string[] = []
  const base = memoryDb()
  const db: DbReader = {
    get: (table, key) => {
      asked.push(`${table} ${key.join(' ')}`)
      return base.get(table, key)
    },
    scan: base.scan,
  }
  const rows = openRows(db)
  const write = (change: (tx: DbWriter) => void): void => {
    const draft = newDraft(db, rows)
    change(draft)
    base.transaction((tx) => draft.apply(tx))
    draft.committed()
  }
  write((tx) => {
    for (let k = 1; k <= 3; k++) tx.put('messages', message(1, 0, k, 4))
  })
  assert.equal(rows.get('messages', [conv(1), '0.1.1.1', 2])?.timeMs, 4)
  assert.equal(rows.get('messages', [conv(1), '0.1.1.1', 4]), undefined)
  assert.equal(rows.get('messages', [conv(1), '1.1.1.1', 1]), undefined)
  assert.deepEqual(asked, [])
  write((tx) => {
    for (let k = 1; k <= 4; k++) tx.put('sealed', { conv: conv(1), k, submission: new Uint8Array(ROWS_KEPT_BYTES / 3) })
  })
  for (let k = 1; k <= 4; k++) assert.equal(rows.get('sealed', [conv(1), k])?.k, k)
  assert.deepEqual(asked.slice(0, 2), ['sealed parleyc11 1', 'sealed parleyc11 2'], 'the oldest went')
})
