// The stage that bench and stress measure on: nothing of it stays when something fails.
import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { openStage, placedOn } from './stage.ts'

/** Resolves when no child of ours is there any more. */
async function untilAlone(): Promise<void> {
  while (process.getActiveResourcesInfo().includes('ProcessWrap')) await new Promise(setImmediate)
}

const GONE_WITHIN_MS = 20_000

/** It is there, and can pin nothing. */
const TASKSET = `#!/bin/sh
[ "$1" = --version ]
`

test('what cannot be pinned is ended', { skip: availableParallelism() < 2, timeout: GONE_WITHIN_MS }, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'parley-stage-'))
  await writeFile(join(dir, 'taskset'), TASKSET)
  await chmod(join(dir, 'taskset'), 0o755)
  const path = process.env.PATH
  process.env.PATH = `${dir}${delimiter}${path}`
  try {
    const stage = await openStage({ dir, profiles: undefined, relay: undefined, say: () => undefined })
    await assert.rejects(stage.forwarder(), /taskset/)
    await untilAlone()
    await assert.rejects(stage.loader(), /taskset/)
    await untilAlone()
  } finally {
    process.env.PATH = path
    await rm(dir, { recursive: true })
  }
})

test('servers and load are put where this process may run', () => {
  const usual = { server: '0', load: '1-3', says: '4 × a CPU; servers on core 0, load on cores 1-3' }
  assert.equal(placedOn('0-3', usual), usual)
  const says = '4 × a CPU; servers on core 2, load on cores 3,6,7'
  assert.deepEqual(placedOn('2-3,6-7', usual), { server: '2', load: '3,6,7', says })
  const nowhere = { server: undefined, load: undefined, says: 'no taskset' }
  assert.equal(placedOn('2-3', nowhere), nowhere)
})
