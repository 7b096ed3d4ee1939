import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { applyKeyChanges, type KeyStorage, type KeyTable, memoryKeyStorage, stagedKeyStorage } from './storage.ts'
import { keyStorageContract } from './storage-contract.ts'

describe('in memory', () => keyStorageContract(memoryKeyStorage))
describe('staged', () => keyStorageContract(() => stagedKeyStorage(memoryKeyStorage()).storage))
describe('staged twice', () =>
  keyStorageContract(() => stagedKeyStorage(stagedKeyStorage(memoryKeyStorage()).storage).storage))

type Write = { readonly table: KeyTable; readonly key: string; readonly value: Uint8Array | undefined }
const write = fc.record<Write>({
  table: fc.constantFrom('session', 'prekey', 'used'),
  key: fc.constantFrom('a', 'b', 'c'),
  value: fc.option(fc.uint8Array({ maxLength: 4 }), { nil: undefined }),
})
const snapshot = (storage: KeyStorage): unknown[] =>
  (['session', 'prekey', 'used'] as const).flatMap((table) => ['a', 'b', 'c'].map((key) => storage.get(table, key)))

test('what is staged is seen above and not below; committed it is as if written directly, reset as if never', () => {
  fc.assert(
    fc.property(fc.array(write), fc.array(write), (before, staged) => {
      const base = memoryKeyStorage()
      const direct = memoryKeyStorage()
      applyKeyChanges(base, before)
      applyKeyChanges(direct, before)
      const untouched = snapshot(base)

      const overlay = stagedKeyStorage(base)
      applyKeyChanges(overlay.storage, staged)
      applyKeyChanges(direct, staged)
      assert.deepEqual(snapshot(overlay.storage), snapshot(direct))
      assert.deepEqual(snapshot(base), untouched)

      const changes = overlay.changes()
      assert.equal(new Set(changes.map(({ table, key }) => `${table} ${key}`)).size, changes.length)
      overlay.reset()
      assert.deepEqual(overlay.changes(), [])
      assert.deepEqual(snapshot(overlay.storage), untouched)
      applyKeyChanges(base, changes)
      assert.deepEqual(snapshot(overlay.storage), snapshot(direct))
    }),
  )
})
