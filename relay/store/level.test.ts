import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ParleyError, type Random, simulatedRandom, systemClock, systemRandom } from '#protocol'
import { valueUnder } from './damaged.ts'
import { changeAt, PARTITIONS } from './killed.ts'
import { openLevel } from './level.ts'
import { openStore } from './store.ts'
import type { RangeOptions, Store } from './types.ts'

const KILLS = Number(process.env.PARLEY_KILLS ?? 12)
const LANES = 2
const DAMAGES = Number(process.env.PARLEY_DAMAGES ?? 30)
const ALL: RangeOptions = { from: undefined, to: undefined, limit: 1_000_000, reverse: false }
const HOOKS = { closing: () => {}, committed: () => {}, trimBelow: () => 0, failed: () => {} }

async function temporary(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'parley-level-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

async function openAt(directory: string): Promise<Store> {
  const backend = await openLevel({
    directory,
    bootId: systemRandom.bytes(16),
    reserveBytes: 0,
    segmentBytes: 64 * 1024,
  })
  return (await openStore({ backend, hooks: HOOKS, clock: systemClock })).store
}

/** Starts the writer and gives its lines; a line counts only when it is whole. */
function startWriter(directory: string): { child: ChildProcess; lines: string[]; line: () => Promise<unknown> } {
  const script = fileURLToPath(new URL('killed.ts', import.meta.url))
  const child = spawn(process.execPath, [script, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  const reader = createInterface({ input: child.stdout! })
  reader.on('line', (line) => lines.push(line))
  return { child, lines, line: () => once(reader, 'line') }
}

type Expected = Map<string, Map<string, Buffer>>

function extend(expected: Expected, from: number, to: number): void {
  for (let number = from + 1; number <= to; number++) {
    const { partition, key, value } = changeAt(number)
    if (value) expected.get(partition)!.set(key, value)
    else expected.get(partition)!.delete(key)
  }
}

test('SIGKILL in the middle of writing loses nothing that was acknowledged', async (t) => {
  await Promise.all(Array.from({ length: LANES }, () => killAgainAndAgain(KILLS / LANES, (what) => t.diagnostic(what))))
})

async function killAgainAndAgain(kills: number, tell: (what: string) => void): Promise<void> {
  await using directory = await temporary()
  const random = simulatedRandom(Math.floor(systemRandom.fraction() * 2 ** 32))
  const expected: Expected = new Map(PARTITIONS.map((partition) => [partition, new Map()]))
  let made = 0
  for (let kill = 0; kill < kills; kill++) {
    const { child, lines, line } = startWriter(directory.path)
    await line()
    assert.equal(lines[0], `started ${made}`)
    const wanted = 2 + Math.floor(random.fraction() * 60)
    while (lines.length < wanted) await line()
    if (kill === 0) await assert.rejects(openAt(directory.path), { code: 'store_in_use' })
    await new Promise((resolve) => systemClock.after(random.fraction() * 3, () => resolve(undefined)))
    child.kill('SIGKILL')
    await once(child, 'close')
    const acknowledged = Number(lines.at(-1))
    const store = await openAt(directory.path)
    const count = Number(Buffer.from((await store.get('meta', 'count'))!).toString())
    assert.ok(count >= acknowledged, `${acknowledged} were acknowledged, ${count} are there`)
    extend(expected, made, count)
    made = count
    for (const partition of PARTITIONS) {
      const found = new Map(await store.range(partition, ALL))
      assert.equal(found.size, expected.get(partition)!.size, partition)
      for (const [key, value] of expected.get(partition)!) assert.ok(value.equals(found.get(key)!), key)
    }
    // Half of the time the next writer finds two boots' journals.
    if (random.fraction() < 0.5) await store[Symbol.asyncDispose]()
    else {
      store.abandon()
      await store[Symbol.asyncDispose]()
    }
  }
  tell(`${kills} kills, ${made} changes`)
}

test('a second opener is refused, and told which directory', async () => {
  await using directory = await temporary()
  const store = await openAt(directory.path)
  await assert.rejects(
    openAt(directory.path),
    (error) =>
      error instanceof ParleyError && error.code === 'store_in_use' && error.facts.directory === directory.path,
  )
  await store[Symbol.asyncDispose]()
  await (await openAt(directory.path))[Symbol.asyncDispose]()
})

test('there is no room below the reserve of the real disk', async () => {
  await using directory = await temporary()
  const bootId = systemRandom.bytes(16)
  const backend = await openLevel({ directory: directory.path, bootId, reserveBytes: 2 ** 60 })
  const { store } = await openStore({ backend, hooks: HOOKS, clock: systemClock })
  assert.equal(store.hasRoom(), false)
  store.put('p', 'a', Buffer.from('an acknowledgement'))
  await store.flushed()
  await store[Symbol.asyncDispose]()
})

test('a boot id is never used again', async () => {
  await using directory = await temporary()
  const bootId = systemRandom.bytes(16)
  const first = await openLevel({ directory: directory.path, bootId })
  await first.journal.append(1, Buffer.from('x'))
  await first[Symbol.asyncDispose]()
  await assert.rejects(openLevel({ directory: directory.path, bootId }), /never used again/)
})

/** Some rows, some journal. */
async function fill(directory: string): Promise<number> {
  let count = 0
  // level moves its log into tables when it is opened again: there is something of each kind to damage.
  for (let boot = 0; boot < 3; boot++) {
    const store = await openAt(directory)
    for (let i = 0; i < 300; i++) {
      const key = `k${count++}`
      store.put('p', key, valueUnder(key))
      if (i % 40 === 0) await store.flushed()
      if (i === 100 || i === 200) await store.checkpoint()
    }
    await store.flushed()
    store.abandon()
    await store[Symbol.asyncDispose]()
  }
  return count
}

async function damage(directory: string, random: Random): Promise<string> {
  const files = (await readdir(directory)).filter((name) => !['LOCK', 'LOG', 'LOG.old'].includes(name))
  const path = join(directory, files[Math.floor(random.fraction() * files.length)]!)
  const bytes = await readFile(path)
  const at = Math.floor(random.fraction() * bytes.length)
  if (random.fraction() < 0.3) {
    await truncate(path, at)
    return `${path} cut off at ${at} of ${bytes.length}`
  }
  bytes[at]! ^= 1 << Math.floor(random.fraction() * 8)
  await writeFile(path, bytes)
  return `${path} flipped at ${at} of ${bytes.length}`
}

/** What came of opening each of them. */
async function outcomes(directories: readonly string[]): Promise<string[]> {
  const found: string[] = []
  while (found.length < directories.length) {
    const script = fileURLToPath(new URL('damaged.ts', import.meta.url))
    const rest = directories.slice(found.length)
    const child = spawn(process.execPath, [script, ...rest], { stdio: ['ignore', 'pipe', 'ignore'] })
    const lines = (await child.stdout.toArray()).join('').split('\n').slice(0, -1)
    found.push(...lines)
    if (lines.length < rest.length) found.push('refused: level ended the process')
  }
  return found
}

test('a flipped bit or a missing end in a file of the store is refused, or does no harm', async (t) => {
  await using directory = await temporary()
  const good = join(directory.path, 'good')
  const count = await fill(good)
  const random = simulatedRandom(Math.floor(systemRandom.fraction() * 2 ** 32))
  const directories: string[] = []
  const damages: string[] = []
  for (let i = 0; i < DAMAGES; i++) {
    const bad = join(directory.path, `bad${i}`)
    await cp(good, bad, { recursive: true })
    directories.push(bad)
    damages.push(await damage(bad, random))
  }
  let refused = 0
  for (const [i, outcome] of (await outcomes(directories)).entries()) {
    if (outcome.startsWith('refused')) refused++
    else assert.equal(outcome, String(count), damages[i])
  }
  t.diagnostic(`${refused} of ${DAMAGES} refused`)
  assert.ok(refused > 0)
})
