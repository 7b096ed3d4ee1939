import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

test('what npm run stress does not know is said in a line, with exit code 2', () => {
  const program = join(import.meta.dirname, 'stress.ts')
  const { status, stderr } = spawnSync(process.execPath, [program, '--bogus'], { encoding: 'utf8' })
  assert.equal(stderr, "stress: Unknown option '--bogus'\nNext: npm run stress -- --help\n")
  assert.equal(status, 2)
})
