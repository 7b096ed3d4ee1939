import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Random, simulatedRandom, systemRandom } from '#protocol'
import { BLOCK_BYTES, readSegment } from './segment.ts'
import { openSegments, type Segments } from './segments.ts'

const SCHEDULES = 20
const STEPS = 200
const FIRST_BYTES = 3 * BLOCK_BYTES

async function inDirectory(act: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'parley-segments-'))
  try {
    await act(directory)
  } finally {
    await rm(directory, { recursive: true })
  }
}

const open = (directory: string): Promise<Segments> =>
  openSegments({ directory, bootId: systemRandom.bytes(16), firstBytes: FIRST_BYTES })

const recordOf = (number: number): Buffer =>
  Buffer.alloc(1 + Math.floor(simulatedRandom(number).fraction() ** 3 * 20_000), `record ${number} `)

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i)

async function numbersIn({ journal }: Segments): Promise<number[]> {
  const numbers: number[] = []
  for await (const { number, record } of journal.replay(0)) {
    assert.ok(recordOf(number).equals(record), `record ${number}`)
    numbers.push(number)
  }
  return numbers
}

async function filesIn(directory: string): Promise<{ path: string; bytes: Buffer }[]> {
  const paths = (await readdir(directory)).map((name) => join(directory, name))
  return Promise.all(paths.map(async (path) => ({ path, bytes: await readFile(path) })))
}

/** As if the newest write had not come to its end: some of its blocks, one of them for sure, are what they were `before`. */
async function tear(directory: string, before: ReadonlyMap<string, Buffer>, random: Random): Promise<void> {
  for (const { path, bytes } of await filesIn(directory)) {
    const old = before.get(path) ?? Buffer.alloc(bytes.length)
    const changed: number[] = []
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      if (!bytes.subarray(at, at + BLOCK_BYTES).equals(old.subarray(at, at + BLOCK_BYTES))) changed.push(at)
    }
    const last = changed.at(Math.floor(random.fraction() * changed.length))
    for (const at of changed) {
      if (at === last || random.fraction() < 0.5) bytes.set(old.subarray(at, at + BLOCK_BYTES), at)
    }
    if (changed.length > 0) await writeFile(path, bytes)
  }
}

test('random appends, trims, restarts and torn writes: what was acknowledged and not let go of is there', async (t) => {
  const first = Math.floor(systemRandom.fraction() * 1e9)
  t.diagnostic(`seeds from ${first}`)
  let restarts = 0
  for (let seed = first; seed < first + SCHEDULES; seed++) {
    await inDirectory(async (directory) => {
      const random = simulatedRandom(seed)
      let segments = await open(directory)
      // `marked`: what the files say already. Nothing can be marked before the first append of a boot.
      let [last, low, marked, begun] = [0, 1, 1, false]
      for (let step = 0; step < STEPS; step++) {
        const dice = random.fraction()
        if (dice < 0.92) {
          await segments.journal.append(++last, recordOf(last))
          if (!begun) marked = low
          begun = true
        } else if (dice < 0.96 && last > 0) {
          low = Math.max(low, last - Math.floor(random.fraction() * 10))
          await segments.journal.trim(low)
          if (begun) marked = low
        } else {
          const torn = random.fraction() < 0.7
          const before = new Map((await filesIn(directory)).map(({ path, bytes }) => [path, bytes]))
          if (torn) await segments.journal.append(last + 1, recordOf(last + 1))
          await segments[Symbol.asyncDispose]()
          if (torn) await tear(directory, before, random)
          segments = await open(directory)
          restarts++
          // What was being written may be there: when all that is missing is not needed.
          if (torn && segments.last === last + 1) last++
          assert.equal(segments.last, last, `seed ${seed}`)
          const numbers = await numbersIn(segments)
          const from = Math.min(numbers[0] ?? low, low)
          assert.ok(from >= marked, `seed ${seed}: from ${from} instead of ${marked}`)
          assert.deepEqual(numbers, range(from, last), `seed ${seed}`)
          low = marked = from
          begun = false
        }
      }
      await segments[Symbol.asyncDispose]()
    })
  }
  t.diagnostic(`${restarts} restarts`)
})

test('what was let go of is written over', async () => {
  await inDirectory(async (directory) => {
    const segments = await open(directory)
    for (let number = 1; number <= 200; number++) {
      await segments.journal.append(number, recordOf(number))
      if (number > 5) await segments.journal.trim(number - 5)
    }
    const { length } = await readdir(directory)
    await segments[Symbol.asyncDispose]()
    assert.ok(length <= 6, `${length} files`)
  })
})

test('a flipped bit in any record but the newest, and a missing file, are refused', async () => {
  await inDirectory(async (directory) => {
    const segments = await open(directory)
    for (let number = 1; number <= 12; number++) await segments.journal.append(number, recordOf(number))
    await segments[Symbol.asyncDispose]()
    const files = await filesIn(directory)
    const records = files.flatMap(({ path, bytes }) =>
      (readSegment(bytes)?.frames ?? []).map((f) => ({ ...f, path, bytes })),
    )
    assert.ok(new Set(records.map(({ path }) => path)).size > 2)
    for (const { number, from, to, path, bytes } of records) {
      if (number === 12) continue
      const bad = Buffer.from(bytes)
      bad[from + ((to - from) >> 1)]! ^= 4
      await writeFile(path, bad)
      await assert.rejects(open(directory), { code: 'store_damaged' }, `record ${number}`)
      await rm(path)
      if (path !== records.at(-1)!.path) {
        await assert.rejects(open(directory), { code: 'store_damaged' }, `without that of record ${number}`)
      }
      await writeFile(path, bytes)
    }
    const again = await open(directory)
    assert.equal(again.last, 12)
    await again[Symbol.asyncDispose]()
  })
})

test('it is closed when the append under way has come to its end', () =>
  inDirectory(async (directory) => {
    const segments = await open(directory)
    await segments.journal.append(1, recordOf(1))
    let appended = false
    // Begins another file.
    const large = segments.journal.append(2, Buffer.alloc(FIRST_BYTES)).then(() => {
      appended = true
    })
    await segments[Symbol.asyncDispose]()
    assert.ok(appended)
    await large
  }))
