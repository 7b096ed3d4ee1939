import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { Usage } from '../usage.ts'
import { ownDirectory } from './directory.ts'
import { benchOptions } from './options.ts'
import { isGood, table, verdict } from './report.ts'
import { figure, type Outcome } from './row.ts'
import { ROWS } from './rows.ts'

const BENCH = join(import.meta.dirname, '..', 'bench.ts')
const ELSEWHERE = ['--relay', 'http://127.0.0.1:4100']

const named = (args: readonly string[]): string[] => benchOptions(args).rows.map(({ name }) => name)

describe('the bench', () => {
  it('refuses rows that cannot drive a relay elsewhere, rather than run nothing', () => {
    assert.deepEqual(named([...ELSEWHERE, '--only', 'latency']), ['latency'])
    assert.deepEqual(named(ELSEWHERE), ['relay', 'wide', 'latency'])
    assert.equal(named([]).length, ROWS.length)
    for (const only of [['link'], ['latency', 'link']]) {
      const args = [...ELSEWHERE, ...only.flatMap((name) => ['--only', name])]
      assert.throws(
        () => benchOptions(args),
        /the row link cannot drive a relay that runs already; relay, wide, latency/,
      )
    }
  })

  it('refuses what it does not know', () => {
    for (const args of [['--bogus'], ['--only', 'nobody'], ['--pairs', '0'], ['--relay', 'x'], ['a.json'], ['--json']])
      assert.throws(
        () => benchOptions(args),
        (error) => error instanceof Usage && !error.message.includes('\n'),
        args.join(' '),
      )
  })

  it('ends with 2 and one line when it refuses', async () => {
    const refused = promisify(execFile)(process.execPath, [BENCH, '--bogus'])
    await assert.rejects(refused, {
      code: 2,
      stdout: '',
      stderr: "bench: Unknown option '--bogus'. See npm run bench -- --help\n",
    })
  })

  it('fails for a fault, whatever the figures are, and not for a target that is missed', () => {
    const run = async (): Promise<never> => assert.fail()
    const row = { name: 'planted', title: 'planted', run }
    const found = { seconds: 1, machineBusy: 1, stolen: 0, workMs: 1, error: undefined }
    const figures = [figure('too many', 2, 'ms', { is: 'at most', value: 1 })]
    const clean: Outcome = { figures, notes: ['a note'], faults: [] }
    const faulty: Outcome = { ...clean, faults: ['k 3 came after 1'] }
    assert.equal(isGood({ outcome: clean }), true)
    assert.equal(isGood({ outcome: faulty }), false)
    assert.equal(isGood({ outcome: undefined }), false)
    assert.match(table({ row, outcome: faulty, ...found }), /FAULT: k 3 came after 1/)
    assert.match(verdict([{ row, outcome: faulty, ...found }], 1), /0 of 1 targets met; FAULTS in planted/)
  })

  it('keeps stores in a directory of its own, and nothing that was there before is in it', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'parley-test-'))
    try {
      const somebodys = join(dir, 'parley-bench')
      await writeFile(somebodys, 'precious')
      const [one, other] = [await ownDirectory(dir), await ownDirectory(dir)]
      assert.notEqual(one, other)
      for (const own of [one, other]) {
        assert.ok(own.startsWith(join(dir, 'parley-bench-')))
        assert.deepEqual(await readdir(own), [])
      }
    } finally {
      await rm(dir, { recursive: true })
    }
  })
})
