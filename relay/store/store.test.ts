import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Level } from 'level'
import { SimulatedClock, simulatedRandom, systemClock, systemRandom } from '#protocol'
import {
  STORE_CHECKPOINT_AGE_MS,
  STORE_CHECKPOINT_BYTES,
  STORE_CHECKPOINT_REST_MS,
  STORE_REST_FACTOR,
} from '../limits.ts'
import { backendContract } from './contract.ts'
import { type Bench, opened } from './contract-bench.ts'
import { openLevel } from './level.ts'
import { runSchedule } from './model.ts'
import { FRAME_HEAD_BYTES, frameHead, readSegment } from './segment.ts'
import { SimulatedDisk, type SimulatedFaults } from './simulated.ts'
import { openStore } from './store.ts'

const SEEDS = 150
const STEPS = 200

async function levelBench(): Promise<Bench> {
  const directory = await mkdtemp(join(tmpdir(), 'parley-store-'))
  return {
    clock: systemClock,
    open: () => openLevel({ directory, bootId: systemRandom.bytes(16), reserveBytes: 0 }),
    crash: async (backend) => backend[Symbol.asyncDispose](),
    run: (work) => work,
    async damage(kind, change) {
      if (kind === 'record') return await rewriteRecord(directory, change)
      const database = new Level<Buffer, Buffer>(directory, {
        keyEncoding: 'buffer',
        valueEncoding: 'buffer',
        compression: false,
      })
      const [[key, value]] = (await database.iterator({ gte: Buffer.from('r'), limit: 1 }).all()) as [[Buffer, Buffer]]
      await database.put(key, Buffer.from(change(value)))
      await database.close()
    },
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  }
}

/** The first record of the journal, in a frame that is whole: what the frame's checksum does not find. */
async function rewriteRecord(directory: string, change: (bytes: Uint8Array) => Uint8Array): Promise<void> {
  const path = join(directory, 'journal-1')
  const bytes = await readFile(path)
  const { head, frames } = readSegment(bytes)!
  const { number, from, to } = frames[0]!
  const record = change(bytes.subarray(from, to))
  bytes.set([...frameHead(head, number, record), ...record], from - FRAME_HEAD_BYTES)
  await writeFile(path, bytes)
}

async function simulatedBench(faults: Partial<SimulatedFaults> = {}): Promise<Bench> {
  const clock = new SimulatedClock(0)
  const disk = new SimulatedDisk({ clock, random: simulatedRandom(1), faults })
  return {
    clock,
    open: async () => disk.open(),
    crash: async () => disk.crash(),
    async run(work) {
      let done = false
      const finish = (): void => {
        done = true
      }
      work.then(finish, finish)
      while (!done) {
        clock.step()
        await new Promise((resolve) => setImmediate(resolve))
      }
      return work
    },
    async damage(kind, change) {
      const target: Map<unknown, Uint8Array> = kind === 'record' ? disk.records : disk.rows.get('p')!
      const [key, value] = target.entries().next().value!
      target.set(key, new Uint8Array(change(value)))
    },
    [Symbol.asyncDispose]: async () => {},
  }
}

backendContract('level', levelBench)
backendContract('a simulated disk', () => simulatedBench())

test('random schedules of changes, reads, checkpoints, faults and crashes keep every promise', async (t) => {
  const first = Math.floor(systemRandom.fraction() * 1e9)
  t.diagnostic(`seeds from ${first}`)
  const total: Record<string, number> = {}
  for (let seed = first; seed < first + SEEDS; seed++) {
    const reach = await runSchedule(openStore, seed, STEPS).catch((error) => {
      throw new Error(`seed ${seed}, ${STEPS} steps: ${error.message}`, { cause: error })
    })
    for (const [what, count] of Object.entries(reach)) total[what] = (total[what] ?? 0) + count
  }
  t.diagnostic(JSON.stringify(total))
  for (const [what, count] of Object.entries(total)) assert.ok(count > SEEDS / 4, `${what} was hardly reached`)
})

test('a second owner of a simulated disk fences the first', async () => {
  const bench = await simulatedBench()
  const first = await bench.open()
  const late = assert.rejects(first.journal.append(1, Buffer.from('x')), { code: 'store_in_use' })
  const second = await bench.open()
  await late
  await assert.rejects(first.journal.append(1, Buffer.from('x')), { code: 'store_in_use' })
  await assert.rejects(first.rows.apply([]), { code: 'store_in_use' })
  await bench.run(second.rows.apply([]))
})

test('below the reserve there is no room', async () => {
  const clock = new SimulatedClock(0)
  const faults = { capacityBytes: 3_000, reserveBytes: 1_000 }
  const disk = new SimulatedDisk({ clock, random: simulatedRandom(1), faults })
  const hooks = { closing: () => {}, committed: () => {}, trimBelow: () => Number.POSITIVE_INFINITY, failed: () => {} }
  const opening = openStore({ backend: disk.open(), hooks, clock })
  while (clock.step()) await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setImmediate(resolve))
  while (clock.step()) await new Promise((resolve) => setImmediate(resolve))
  const { store } = await opening
  assert.equal(store.hasRoom(), true)
  store.put('p', 'a', new Uint8Array(2_100))
  const flushed = store.flushed()
  for (let i = 0; i < 10; i++) {
    clock.step()
    await new Promise((resolve) => setImmediate(resolve))
  }
  await flushed
  assert.equal(store.hasRoom(), false)
  store.put('p', 'b', new Uint8Array(100))
  const acknowledgement = store.flushed()
  for (let i = 0; i < 10; i++) {
    clock.step()
    await new Promise((resolve) => setImmediate(resolve))
  }
  await acknowledgement
})

test('a rush reaches rows soon; little may wait for longer', async () => {
  const bench = await simulatedBench()
  const { store } = await opened(bench)
  const clock = bench.clock as SimulatedClock
  const later = async (ms: number): Promise<number> => {
    clock.advanceTo(clock.now() + ms)
    store.note(new Uint8Array(0))
    await bench.run(store.flushed())
    for (let i = 0; i < 50; i++) {
      clock.step()
      await new Promise((resolve) => setImmediate(resolve))
    }
    return store.stats().checkpoints
  }
  store.append('log', 0, 1, new Uint8Array(1_000))
  assert.equal(await later(STORE_CHECKPOINT_AGE_MS / 2), 0)
  let at = 1
  const rush = (): void => {
    for (let i = 0; i < 3; i++) store.append('log', at, ++at, new Uint8Array(STORE_CHECKPOINT_BYTES / 16))
  }
  rush()
  assert.equal(await later(0), 1)
  rush()
  assert.equal(await later(4 * STORE_CHECKPOINT_REST_MS), 1)
  assert.equal(await later(2 * STORE_CHECKPOINT_REST_MS), 2)
  await bench.run(Promise.resolve(store[Symbol.asyncDispose]()))
})

test('a checkpoint rests after each piece, unless as much waits as begins one', async () => {
  /** How long it takes to write eight rows in four pieces of a millisecond each, and one row of so many bytes. */
  const lasts = async (bytes: number): Promise<number> => {
    const bench = await simulatedBench({ writeMs: [1, 1], appendMs: [0.1, 0.1] })
    const clock = bench.clock as SimulatedClock
    const { store } = await opened(bench, { limits: { checkpointBytes: 4_000, sliceBytes: 500 } })
    for (let i = 0; i < 8; i++) store.put('p', `${i}`, new Uint8Array(250))
    await bench.run(store.flushed())
    assert.equal(store.stats().checkpoints, 0)
    clock.advanceTo(clock.now() + STORE_CHECKPOINT_AGE_MS)
    store.put('p', 'x', new Uint8Array(bytes))
    await bench.run(store.flushed())
    const from = clock.now()
    while (store.stats().checkpoints === 0) {
      assert.ok(clock.step(), 'it does not end')
      await new Promise((resolve) => setImmediate(resolve))
    }
    const tookMs = clock.now() - from
    await bench.run(Promise.resolve(store[Symbol.asyncDispose]()))
    return tookMs
  }
  const [rested, hurried] = [await lasts(10), await lasts(400)]
  assert.ok(rested >= 4 * (1 + STORE_REST_FACTOR), `${rested} ms`)
  assert.ok(hurried < 8, `${hurried} ms`)
})
