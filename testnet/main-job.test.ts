import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const MAIN_JOB = join(import.meta.dirname, 'main-job.ts')

test('the main job refuses fewer lines than its kills need, in one line', { timeout: 15_000 }, async (t) => {
  const refused = promisify(execFile)(process.execPath, [MAIN_JOB, '1'], { signal: t.signal })
  const stderr = /^npm run main-job -- \[LINES\]: .*from 1000 on.*\n$/
  await assert.rejects(refused, { code: 2, stdout: '', stderr })
})
