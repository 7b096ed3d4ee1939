// The contract suite of KeyStorage, run over every implementation. node:test is loaded only when a test calls this.
import type { KeyStorage, KeyTable } from './storage.ts'

const TABLES: readonly KeyTable[] = ['session', 'prekey', 'kyber', 'signed', 'last-resort', 'used', 'prekey-state']

function bytesOf(step: number): Uint8Array {
  return Uint8Array.from({ length: (step * 37) % 5_000 }, (_, i) => (i * 31 + step) & 0xff)
}

/** Registers tests; `make` returns an empty storage each time. */
export function keyStorageContract(make: () => KeyStorage): void {
  const { test } = process.getBuiltinModule('node:test')
  const assert: typeof import('node:assert/strict') = process.getBuiltinModule('node:assert/strict')

  test('key storage: what was never written or was deleted is undefined', () => {
    const storage = make()
    for (const table of TABLES) {
      assert.equal(storage.get(table, 'a'), undefined)
      storage.set(table, 'a', undefined)
      storage.set(table, 'a', Uint8Array.of(1))
      storage.set(table, 'a', undefined)
      assert.equal(storage.get(table, 'a'), undefined)
    }
  })

  test('key storage: an empty value is a value', () => {
    const storage = make()
    storage.set('used', 'a', new Uint8Array(0))
    assert.deepEqual(new Uint8Array(storage.get('used', 'a')!), new Uint8Array(0))
  })

  test('key storage: keys are exact, and tables apart', () => {
    const storage = make()
    const keys = ['', 'a', 'A', 'a ', 'a\0b', 'ä', 'parley1x.1.2.3', '%', '1', '01']
    let step = 0
    for (const table of TABLES) for (const key of keys) storage.set(table, key, bytesOf(++step))
    step = 0
    for (const table of TABLES) {
      for (const key of keys)
        assert.deepEqual(new Uint8Array(storage.get(table, key)!), bytesOf(++step), `${table} ${key}`)
    }
  })

  test('key storage: a caller that changes its array afterwards changes nothing stored', () => {
    const storage = make()
    const value = Uint8Array.of(1, 2, 3)
    storage.set('session', 'a', value)
    value.fill(9)
    assert.deepEqual(new Uint8Array(storage.get('session', 'a')!), Uint8Array.of(1, 2, 3))
  })

  test('key storage: a view into a larger buffer is stored as the view', () => {
    const storage = make()
    storage.set('session', 'a', Uint8Array.from([1, 2, 3, 4, 5]).subarray(1, 3))
    assert.deepEqual(new Uint8Array(storage.get('session', 'a')!), Uint8Array.of(2, 3))
  })

  test('key storage: what was set before it was packed reads as its bytes, and is the same until then', () => {
    const storage = make()
    const value = { pack: () => Uint8Array.of(7, 8) }
    storage.set('session', 'a', value)
    const unpacked = storage.unpacked('session', 'a')
    assert.ok(unpacked === undefined || unpacked === value)
    assert.deepEqual(new Uint8Array(storage.get('session', 'a')!), Uint8Array.of(7, 8))
    storage.set('session', 'a', Uint8Array.of(9))
    assert.equal(storage.unpacked('session', 'a'), undefined)
    assert.deepEqual(new Uint8Array(storage.get('session', 'a')!), Uint8Array.of(9))
    storage.set('session', 'a', undefined)
    assert.equal(storage.unpacked('session', 'a'), undefined)
  })

  test('key storage: agrees with a map over a long run of writes and deletes', () => {
    const storage = make()
    const model = new Map<string, Uint8Array>()
    let state = 1
    for (let step = 1; step <= 600; step++) {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31
      const table = TABLES[(state >> 8) % TABLES.length]!
      const key = `${(state >> 12) % 9}`
      const value = (state >> 16) % 4 === 0 ? undefined : bytesOf(step)
      storage.set(table, key, value)
      if (value) model.set(`${table} ${key}`, value)
      else model.delete(`${table} ${key}`)
      const seen = storage.get(table, key)
      assert.deepEqual(seen && new Uint8Array(seen), value)
    }
    for (const table of TABLES) {
      for (let key = 0; key < 9; key++) {
        const seen = storage.get(table, `${key}`)
        assert.deepEqual(seen && new Uint8Array(seen), model.get(`${table} ${key}`))
      }
    }
  })
}
