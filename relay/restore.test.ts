import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock, systemRandom } from '#protocol'
import { loadConfig } from './config.ts'
import { initRelay } from './init.ts'
import { ensureNotLost, markBegun, restoreRelay, storeOf } from './restore.ts'
import { secretFiles } from './secrets.ts'
import { openLevel } from './store/level.ts'

test('every restore begins a later life, also of a store that was lost, and never beside a relay that runs', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'parley-restore-'))
  const dataDir = join(directory, 'data')
  const options = { listen: '127.0.0.1:0', meshListen: '127.0.0.1:0', clientUrls: [], bootstrap: [] }
  const rootKeyFile = join(directory, 'root.key')
  await initRelay({ dataDir, name: 'north', rootKeyFile, ...options }, systemClock, systemRandom)
  const config = await loadConfig(dataDir, {}, new Map())
  const restore = () => restoreRelay(config, systemClock, systemRandom)
  await ensureNotLost(config, 0)
  await ensureNotLost(config, 0)
  await markBegun(config)
  await assert.rejects(ensureNotLost(config, 0), { code: 'old_backup' }, 'there was one, and it is empty')
  await ensureNotLost(config, 1)
  assert.equal((await restore()).life, 2)
  const running = await openLevel({ directory: storeOf(config), bootId: systemRandom.bytes(16) })
  await assert.rejects(restore(), { code: 'store_in_use' })
  await running[Symbol.asyncDispose]()
  assert.equal((await restore()).life, 3)
  await rm(storeOf(config), { recursive: true })
  assert.equal((await restore()).life, 4)
  await rm(secretFiles(dataDir).node)
  await assert.rejects(restore(), { code: 'not_found' })
  await rm(directory, { recursive: true })
})
