import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { systemRandom } from '#protocol'
import { loadOrCreateNodeKey, memoryStorage, type NodeStorage, openLevelStorage } from './index.ts'

let directory: string
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'parley-node-'))
})
after(() => rm(directory, { recursive: true, force: true }))

/** What every NodeStorage does. */
async function storageContract(storage: NodeStorage): Promise<void> {
  assert.equal(await storage.get('a/1'), undefined)
  for (const key of ['a/2', 'b/1', 'a/10', 'a/1', 'a']) await storage.put(key, new Uint8Array(Buffer.from(key)))
  await storage.put('a/1', new Uint8Array([9]))
  assert.deepEqual(Buffer.from((await storage.get('a/1'))!), Buffer.from([9]))
  const keys = async (after: string | undefined, limit: number): Promise<string[]> =>
    (await storage.range('a/', { after, limit })).map(([key]) => key)
  assert.deepEqual(await keys(undefined, 10), ['a/1', 'a/10', 'a/2'])
  assert.deepEqual(await keys('a/1', 10), ['a/10', 'a/2'])
  assert.deepEqual(await keys(undefined, 2), ['a/1', 'a/10'])
  await storage.delete('a/10')
  await storage.delete('never there')
  assert.deepEqual(await keys(undefined, 10), ['a/1', 'a/2'])
}

test('storage in memory', () => storageContract(memoryStorage()))

test('storage in level; a second owner is refused', async () => {
  const path = join(directory, 'rows')
  {
    await using storage = await openLevelStorage(path)
    await storageContract(storage)
    await assert.rejects(openLevelStorage(path), { code: 'store_in_use' })
  }
  await using again = await openLevelStorage(path)
  assert.ok(await again.get('a/2'))
})

test('a node key is made once, also by two at the same time, for its owner only, and a broken one is not replaced', async () => {
  const file = join(directory, 'deep', 'node.key')
  const [one, two] = await Promise.all([
    loadOrCreateNodeKey(file, systemRandom),
    loadOrCreateNodeKey(file, systemRandom),
  ])
  assert.deepEqual(one, two)
  assert.deepEqual(new Uint8Array(await readFile(file)), one)
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.deepEqual(await loadOrCreateNodeKey(file, systemRandom), one)
  const broken = join(directory, 'broken.key')
  await writeFile(broken, 'short')
  await assert.rejects(loadOrCreateNodeKey(broken, systemRandom), { code: 'malformed' })
})
