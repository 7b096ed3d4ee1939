import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { mkdtemp, readdir, readFile, readlink, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { measureFsync } from './fsync.ts'

const WRITER = new URL('../../relay/store/killed.ts', import.meta.url).pathname
const ENOUGH = 300
const FILE_BYTES = 1024 * 1024

let dir = ''
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'parley-fsync-'))
})
after(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }))

type Open = { readonly size: number; readonly flags: number }

/** How large the open file with such a name is, and how it was opened, as /proc tells it. */
async function openFile(pid: number, name: RegExp): Promise<Open | undefined> {
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const path = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')
    if (!name.test(basename(path))) continue
    const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '')
    const flags = /^flags:\s+([0-7]+)$/m.exec(info)?.[1]
    const size = (await stat(path).catch(() => undefined))?.size
    if (flags !== undefined && size !== undefined) return { size, flags: Number.parseInt(flags, 8) }
  }
  return undefined
}

/** The store of a relay that commits without end. */
async function startWriter(store: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [WRITER, store], { stdio: ['ignore', 'pipe', 'ignore'] })
  let lines = 0
  for await (const _ of createInterface({ input: child.stdout! })) if (++lines === 3) break
  child.stdout!.resume()
  return child
}

test('a write is measured as the journal of a relay makes it: in place, and written through', {
  skip: process.platform !== 'linux',
}, async () => {
  const writer = await startWriter(join(dir, 'store'))
  // Between two files there is none for a moment, and one that is being made is written to only.
  let journal: Open | undefined
  while (((journal?.flags ?? 0) & constants.O_RDWR) === 0 && writer.exitCode === null)
    journal = await openFile(writer.pid!, /^journal-\d+$/)
  writer.kill('SIGKILL')
  let over = false
  const measuring = measureFsync(dir, ENOUGH).finally(() => {
    over = true
  })
  const seen: Open[] = []
  while (!over) {
    const found = await openFile(process.pid, /^fsync$/)
    if (found) seen.push(found)
  }
  const { total } = await measuring
  // While it is being made it is not written through yet, and grows.
  const written = seen.filter(({ flags }) => flags === journal?.flags)
  assert.ok(written.length > 0, `seen are ${JSON.stringify(seen.slice(-3))}, the journal is ${JSON.stringify(journal)}`)
  assert.deepEqual([...new Set(written.map(({ size }) => size))], [FILE_BYTES], 'it never grows')
  assert.equal(total, ENOUGH)
})
