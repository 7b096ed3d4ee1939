// The store of a relay under the faults that chaos gives it: a writer (relay/store/killed.ts) that prints what each commit
// made durable, killed within a write, with and without its power.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { simulatedRandom } from '#protocol'
import { ADDRESS_VARIABLE, FAULTS_VARIABLE, type Faults, NO_FAULTS, writeFaults } from './faults.ts'
import { losePower } from './power.ts'

/** Many more by command. */
const KILLS = Number(process.env.PARLEY_KILLS ?? 5)
const DEATHS = ['unsynced', 'before', 'unsynced', 'synced', 'no'] as const
const LIMIT = { timeout: 60_000 + KILLS * 5_000 }
const ROOT = new URL('../../', import.meta.url)
const WRITER = new URL('relay/store/killed.ts', ROOT).pathname
const HOOK = new URL('fault-hook.ts', import.meta.url).href
const PLANT_HOOK = new URL('../simulator/plant-hook.ts', import.meta.url).href

type Writer = {
  readonly child: ChildProcess
  readonly store: string
  suffer(faults: Partial<Faults>): void
  /** The count that the next line tells. */
  next(): Promise<number>
  /** Those of all lines so far. */
  readonly counts: readonly number[]
}

async function startWriter(dir: string, plant?: string): Promise<Writer> {
  const [store, file] = [join(dir, 'store'), join(dir, 'faults.json')]
  writeFaults(file, NO_FAULTS)
  const hooks = [...(plant ? ['--import', PLANT_HOOK] : []), '--import', HOOK]
  const env = { ...process.env, [FAULTS_VARIABLE]: file, [ADDRESS_VARIABLE]: '127.0.1.1', SIM_PLANT: plant }
  const child = spawn(process.execPath, [...hooks, WRITER, store], { stdio: ['ignore', 'pipe', 'ignore'], env })
  const counts: number[] = []
  const reader = createInterface({ input: child.stdout! })
  reader.on('line', (line) => counts.push(Number(line.replace('started ', ''))))
  const gone = once(child, 'close')
  const next = async (): Promise<number> => {
    const seen = counts.length
    while (counts.length === seen) {
      await Promise.race([once(reader, 'line'), gone])
      assert.ok(child.exitCode === null || counts.length > seen, `the writer ended with ${child.exitCode}`)
    }
    return counts[seen]!
  }
  return {
    child,
    store,
    counts,
    suffer(faults) {
      writeFaults(file, { ...NO_FAULTS, ...faults })
      child.kill('SIGUSR2')
    },
    next,
  }
}

async function inDirectory<T>(act: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), 'parley-power-'))
  try {
    return await act(dir)
  } finally {
    await rm(dir, { recursive: true })
  }
}

const random = simulatedRandom(1)

async function kill(writer: Writer): Promise<void> {
  const gone = once(writer.child, 'close')
  writer.child.kill('SIGKILL')
  await gone
}

test('what was acknowledged survives the loss of everything that was not fsynced', LIMIT, async (t) => {
  await inDirectory(async (dir) => {
    let lost = 0
    let acknowledged = 0
    for (let i = 0; i < KILLS; i++) {
      const dies = DEATHS[i % DEATHS.length]!
      const writer = await startWriter(dir)
      assert.ok((await writer.next()) >= acknowledged, `${acknowledged} were acknowledged before ${dies}`)
      for (let lines = 0; lines < 20; lines++) await writer.next()
      if (dies === 'no') await kill(writer)
      else {
        writer.suffer({ dies })
        await once(writer.child, 'close')
      }
      acknowledged = writer.counts.at(-1)!
      const { journal, logs } = await losePower(writer.store, random)
      assert.ok(dies !== 'synced' || journal === 0 || logs === 0)
      lost += journal + logs
    }
    assert.ok(lost > 0, 'something was written and not fsynced')
    t.diagnostic(`${KILLS} kills, ${acknowledged} changes, ${lost} bytes that were not fsynced lost`)
  })
})

test('a store that does not fsync is found out', LIMIT, async () => {
  await inDirectory(async (dir) => {
    const writer = await startWriter(dir, 'commit-not-synced')
    for (let i = 0; i < 50; i++) await writer.next()
    await kill(writer)
    assert.ok((await losePower(writer.store, { ...random, fraction: () => 0 })).journal > 0)
    await rm(join(writer.store, 'WITNESS'), { force: true })
    const again = await startWriter(dir)
    assert.ok((await again.next()) < writer.counts.at(-1)!)
    await kill(again)
  })
})

test('slow: commits take as long as an fsync does; failing: the process ends', LIMIT, async () => {
  await inDirectory(async (dir) => {
    const writer = await startWriter(dir)
    for (let i = 0; i < 5; i++) await writer.next()
    writer.suffer({ fsyncMs: 200 })
    await writer.next()
    const before = writer.counts.length
    const began = process.hrtime.bigint()
    while (writer.counts.length < before + 4) await writer.next()
    assert.ok(process.hrtime.bigint() - began >= 400_000_000n)
    const ended = once(writer.child, 'close')
    writer.suffer({ disk: 'failing' })
    const [code] = await ended
    assert.notEqual(code, 0)
  })
})
