import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runJob, SHORT } from './main-job/job.ts'
import { LINES_SHORT, TEST_MAX_MS } from './main-job/limits.ts'

test('a thousand lines each way: nothing lost, doubled or reordered, though relays are killed', {
  timeout: TEST_MAX_MS,
}, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'parley-main-job-'))
  const { results, faults } = await runJob({
    pairs: [
      {
        people: [
          ['ana', 'north'],
          ['ben', 'south'],
        ],
        phases: SHORT,
      },
    ],
    lines: LINES_SHORT,
    dir,
    say: (line) => t.diagnostic(line),
  })
  assert.deepEqual(faults, [], `data and logs are in ${dir}`)
  assert.equal(results.length, 2 * SHORT.length)
  await rm(dir, { recursive: true })
})
