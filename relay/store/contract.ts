// What every backend must make of the store above it. A backend passes when this suite does.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ParleyError } from '#protocol'
import {
  ALL,
  type Bench,
  bytes,
  type Check,
  crash,
  heldBack,
  list,
  macrotask,
  type Opened,
  opened,
  reopenCold,
  text,
} from './contract-bench.ts'
import { LOG_CHECKS } from './contract-logs.ts'
import type { Backend } from './types.ts'

const CHECKS: Check[] = [...LOG_CHECKS]

/** Registers the suite for one kind of backend. */
export function backendContract(name: string, makeBench: () => Promise<Bench>): void {
  describe(`the store on ${name}`, () => {
    for (const { what, body } of CHECKS) {
      test(what, async () => {
        await using bench = await makeBench()
        await body(bench)
      })
    }
  })
}

function check(what: string, body: (bench: Bench) => Promise<void>): void {
  CHECKS.push({ what, body })
}

check('a restart keeps exactly what was committed, and its annotations', async (bench) => {
  const first = await opened(bench)
  first.store.put('p', 'a', bytes('1'))
  first.store.note(bytes('to the north'))
  await bench.run(first.store.flushed())
  first.store.put('p', 'b', bytes('2'))
  first.store.delete('p', 'a')
  await bench.run(first.store.flushed())
  const held = heldBack(first.backend)
  await crash(bench, first)
  const second = await opened(bench)
  assert.deepEqual(
    second.replayed.map(({ commit, annotations }) => [commit, annotations.map((note) => text(note))]),
    [
      [1, ['to the north']],
      [2, []],
    ],
  )
  assert.equal(list(await bench.run(second.store.range('p', ALL))), 'b=2')
  assert.equal(second.store.committed(), 2)
  assert.equal(second.store.gate(), 2)
  assert.equal(held.held.length, 0)
  second.store.put('p', 'c', bytes('3'))
  assert.equal(second.store.gate(), 3)
  await bench.run(Promise.resolve(second.store[Symbol.asyncDispose]()))
  const third = await opened(bench)
  assert.equal(list(await bench.run(third.store.range('p', ALL))), 'b=2,c=3')
  assert.ok(third.store.gate() >= 3, 'numbers go on after a clean end')
  await crash(bench, third)
})

check('nothing is reported before the journal says that it is durable', async (bench) => {
  const { backend, held } = heldBack(await bench.run(bench.open()))
  const { store, reported } = await opened(bench, { backend })
  store.put('p', 'a', bytes('1'))
  let flushed = false
  const waiting = store.flushed().then(() => {
    flushed = true
  })
  await macrotask()
  await macrotask()
  assert.equal(held.length, 1)
  store.put('p', 'b', bytes('2'))
  await macrotask()
  assert.deepEqual([store.committed(), store.gate(), flushed, reported, held.length], [0, 2, false, [], 1])
  held[0]!.resolve()
  await bench.run(waiting)
  assert.deepEqual([store.committed(), reported], [1, [1]])
  assert.equal(held.length, 2, 'the next commit starts when the one before is durable')
  store.abandon()
  await bench.crash(backend)
})

check('flipped bits and missing ends are refused', async (bench) => {
  const first = await opened(bench)
  first.store.put('p', 'a', bytes('a longer value'))
  first.store.note(bytes('a note'))
  await bench.run(first.store.checkpoint())
  await crash(bench, first)
  const flip = (at: number) => (stored: Uint8Array) => {
    const changed = new Uint8Array(stored)
    changed[at % changed.length]! ^= 1 << (at % 8)
    return changed
  }
  for (let at = 0; at < 40; at += 3) {
    await bench.damage('record', flip(at))
    await assert.rejects(opened(bench), { code: 'store_damaged' })
    await bench.damage('record', flip(at))
  }
  for (const size of [0, 3, 14, 20]) {
    let before = new Uint8Array()
    await bench.damage('record', (stored) => {
      before = new Uint8Array(stored)
      return before.subarray(0, size)
    })
    await assert.rejects(opened(bench), { code: 'store_damaged' })
    await bench.damage('record', () => before)
  }
  const whole = await reopenCold(bench, await opened(bench))
  await crash(bench, whole)
  await bench.damage('row', flip(7))
  const last = await opened(bench)
  await assert.rejects(bench.run(last.store.get('p', 'a')), { code: 'store_damaged' })
  await assert.rejects(bench.run(last.store.range('p', ALL)), { code: 'store_damaged' })
  assert.equal(text(await bench.run(last.store.get('zz', 'filler'))), 'x')
  await crash(bench, last)
})

check('what is put in one turn shares a commit, nothing pending makes none', async (bench) => {
  const { store, reported, backend } = await opened(bench)
  for (let i = 0; i < 100; i++) store.put('p', `k${i}`, bytes('x'))
  await Promise.resolve()
  for (let i = 0; i < 100; i++) store.put('p', `k${i}`, bytes('y'))
  await bench.run(store.flushed())
  assert.deepEqual(reported, [1])
  await bench.run(store.flushed())
  await macrotask()
  assert.deepEqual([store.gate(), store.stats().commits], [1, 1])
  await bench.crash(backend)
})

check('what is large is closed in order, a synchronous run stays whole', async (bench) => {
  const closed: number[] = []
  const limits = { sealBytes: 1_000, commitMaxBytes: 4_000 }
  const first = await opened(bench, { limits, hooks: { closing: (commit) => void closed.push(commit) } })
  const gates: number[][] = []
  for (let run = 0; run < 20; run++) {
    const inRun = new Set<number>()
    for (let i = 0; i < 5; i++) {
      first.store.put(`run${run}`, `k${i}`, bytes('x'.repeat(300)))
      inRun.add(first.store.gate())
    }
    gates.push([...inRun])
    await Promise.resolve()
  }
  assert.ok(gates.every((inRun) => inRun.length === 1))
  await bench.run(first.store.flushed())
  assert.deepEqual(first.reported, closed)
  assert.equal(first.reported.at(-1), gates.at(-1)![0])
  assert.ok(first.reported.length >= 10)
  assert.throws(() => first.store.put('p', 'k', new Uint8Array(5_000)), /larger than a commit/)
  for (let i = 0; i < 100; i++) first.store.put('p', `k${i}`, bytes('x'.repeat(300)))
  await bench.run(first.store.flushed())
  await crash(bench, first)
  const second = await opened(bench)
  assert.equal((await bench.run(second.store.range('p', ALL))).length, 100)
  await crash(bench, second)
})

check('the closing hook puts into the commit that is being closed', async (bench) => {
  const first: Opened = await opened(bench, {
    hooks: { closing: (commit) => first.store.put('p', 'commit', bytes(`${commit}`)) },
  })
  first.store.put('p', 'a', bytes('1'))
  await bench.run(first.store.flushed())
  assert.deepEqual([first.store.gate(), first.store.stats().commits], [1, 1])
  await crash(bench, first)
  const second = await opened(bench)
  assert.equal(list(await bench.run(second.store.range('p', ALL))), 'a=1,commit=1')
  await crash(bench, second)
})

check('ranges lay memory over rows, in both directions, and see no other partition', async (bench) => {
  const opening = await opened(bench)
  const { store } = opening
  const partitions = ['', 'a', 'a\0', 'a\0\xff', 'a\0\x01', 'a\x01', 'ab', '\xff']
  const keys = ['', '\0', '\x01', 'a', 'b', 'c', '\x7f', '\x80', '\xff', '\xff\xff']
  for (const [at, partition] of partitions.entries()) for (const key of keys) store.put(partition, key, bytes(`${at}`))
  await bench.run(store.checkpoint())
  await bench.run(reopenCold(bench, opening)).then(async (cold) => {
    for (const key of ['a', '\x80', '\xff\xff']) cold.store.delete('a', key)
    cold.store.put('a', 'aa', bytes('1'))
    cold.store.put('a', '\0\0', bytes('1'))
    const expected = ['', '\0', '\0\0', '\x01', 'aa', 'b', 'c', '\x7f', '\xff']
    for (let limit = 1; limit <= 12; limit++) {
      for (const [from, to] of [
        [undefined, undefined],
        ['\0\0', undefined],
        [undefined, 'c'],
        ['a', '\x80'],
      ] as const) {
        const within = expected.filter((key) => key >= (from ?? '') && (to === undefined || key < to))
        const up = await bench.run(cold.store.range('a', { from, to, limit, reverse: false }))
        assert.deepEqual(
          up.map(([key]) => key),
          within.slice(0, limit),
        )
        const down = await bench.run(cold.store.range('a', { from, to, limit, reverse: true }))
        assert.deepEqual(
          down.map(([key]) => key),
          within.reverse().slice(0, limit),
        )
        assert.ok([...up, ...down].every(([, value]) => text(value) === '1'))
      }
    }
    for (const [at, partition] of partitions.entries()) {
      if (partition === 'a') continue
      const found = await bench.run(cold.store.range(partition, ALL))
      assert.deepEqual(
        found.map(([key, value]) => [key, text(value)]),
        [...keys].sort().map((key) => [key, `${at}`]),
      )
    }
    await crash(bench, cold)
  })
})

check('loading is single-flight, and what was put meanwhile counts', async (bench) => {
  const opening = await opened(bench)
  opening.store.put('p', 'a', bytes('old'))
  await bench.run(opening.store.checkpoint())
  const cold = await reopenCold(bench, opening)
  let asked = 0
  const get = cold.backend.rows.get.bind(cold.backend.rows)
  cold.backend.rows.get = (partition, key) => {
    asked++
    return get(partition, key)
  }
  assert.equal(cold.store.peek('p', 'b'), undefined)
  const before = cold.store.stats().rowReads
  const reads = [cold.store.get('p', 'b'), cold.store.get('p', 'b'), cold.store.get('p', 'c')]
  assert.equal(asked, 2)
  assert.equal(cold.store.stats().rowReads - before, 2)
  cold.store.put('p', 'b', bytes('new'))
  assert.deepEqual((await bench.run(Promise.all(reads))).map(text), ['new', 'new', undefined])
  assert.equal(cold.store.peek('p', 'c'), null)
  assert.throws(() => cold.store.put('p', 'Ł', bytes('x')), /Latin-1/)
  await crash(bench, cold)
})

check('what was put and deleted between two checkpoints never touches rows', async (bench) => {
  const backend = await bench.run(bench.open())
  const written: string[] = []
  const rows = {
    ...backend.rows,
    apply: (changes: Parameters<Backend['rows']['apply']>[0]) => {
      written.push(...changes.map(({ key }) => key))
      return backend.rows.apply(changes)
    },
  }
  const { store } = await opened(bench, { backend: { ...backend, rows } })
  for (let i = 0; i < 20; i++) {
    store.create('log', `n${i}`, bytes('entry'))
    await bench.run(store.flushed())
    if (i > 2) store.delete('log', `n${i - 3}`)
  }
  await bench.run(store.get('q', 'looked up'))
  store.put('q', 'looked up', bytes('1'))
  await bench.run(store.flushed())
  store.delete('q', 'looked up')
  await bench.run(store.checkpoint())
  assert.deepEqual(written.sort(), ['n17', 'n18', 'n19'])
  assert.equal(store.stats().elided, 18)
  store.delete('log', 'n17')
  await bench.run(store.checkpoint())
  assert.deepEqual(written.slice(3), ['n17'])
  await bench.run(Promise.resolve(store[Symbol.asyncDispose]()))
})

check('the journal is trimmed, but not beyond what feeds need', async (bench) => {
  let needed = 3
  const first = await opened(bench, { hooks: { trimBelow: () => needed }, limits: { trimRecords: 1 } })
  for (let i = 0; i < 6; i++) {
    first.store.put('p', `k${i}`, bytes('x'))
    first.store.note(bytes(`${i}`))
    await bench.run(first.store.flushed())
  }
  await bench.run(first.store.checkpoint())
  await crash(bench, first)
  const second = await opened(bench, { hooks: { trimBelow: () => needed }, limits: { trimRecords: 1 } })
  assert.deepEqual(
    second.replayed.map(({ commit }) => commit),
    [3, 4, 5, 6, 7],
  )
  needed = 100
  await bench.run(second.store.checkpoint())
  await crash(bench, second)
  const third = await opened(bench)
  assert.deepEqual(
    third.replayed.map(({ commit }) => commit),
    [8],
  )
  await crash(bench, third)
})

check('memory is bounded: checkpoints begin by themselves, and without them there is no room', async (bench) => {
  const limits = { checkpointBytes: 20_000, cleanMaxBytes: 5_000, memoryMaxBytes: 100_000 }
  const first = await opened(bench, { limits })
  for (let i = 0; i < 500; i++) {
    first.store.put('p', `k${i}`, new Uint8Array(100))
    if (i % 10 === 0) await bench.run(first.store.flushed())
  }
  await bench.run(first.store.checkpoint())
  const { checkpoints: count, memoryBytes } = first.store.stats()
  assert.ok(count >= 3 && memoryBytes < 10_000, `${count} checkpoints, ${memoryBytes} bytes`)
  assert.equal(first.store.hasRoom(), true)
  await bench.run(Promise.resolve(first.store[Symbol.asyncDispose]()))
  const backend = await bench.run(bench.open())
  const stuck: Backend = { ...backend, rows: { ...backend.rows, apply: () => new Promise(() => {}) } }
  const second = await opened(bench, { limits, backend: stuck })
  for (let i = 0; second.store.hasRoom(); i++) {
    assert.ok(i < 1_000)
    second.store.put('p', `k${i}`, new Uint8Array(100))
    if (i % 10 === 0) await bench.run(second.store.flushed())
  }
  await crash(bench, second)
})

check('a failed commit ends the store', async (bench) => {
  const backend = await bench.run(bench.open())
  let good = 1
  const append = (number: number, record: Uint8Array): Promise<void> =>
    good-- > 0 ? backend.journal.append(number, record) : Promise.reject(new Error('unknown outcome'))
  const failing = await opened(bench, { backend: { ...backend, journal: { ...backend.journal, append } } })
  const { store, reported, failures: seen } = failing
  store.put('p', 'a', bytes('1'))
  await bench.run(store.flushed())
  store.put('p', 'b', bytes('2'))
  await assert.rejects(bench.run(store.flushed()), /unknown outcome/)
  assert.throws(() => store.put('p', 'c', bytes('3')), /unknown outcome/)
  assert.throws(() => store.note(bytes('3')), /unknown outcome/)
  await assert.rejects(store.flushed(), /unknown outcome/)
  await macrotask()
  assert.deepEqual([reported, seen.length, store.committed()], [[1], 1, 1])
  await bench.crash(backend)
})

check('a journal that never answers lets nothing be reported', async (bench) => {
  const backend = await bench.run(bench.open())
  const append = (): Promise<void> => new Promise(() => {})
  const { store, reported } = await opened(bench, { backend: { ...backend, journal: { ...backend.journal, append } } })
  let flushed = false
  for (let i = 0; i < 50; i++) {
    store.put('p', `k${i}`, bytes('x'))
    store.flushed().then(
      () => {
        flushed = true
      },
      () => {},
    )
    await macrotask()
  }
  assert.deepEqual([store.committed(), reported, flushed, store.gate()], [0, [], false, 2])
  assert.equal((await bench.run(store.range('p', ALL))).length, 50)
  store.abandon()
  await bench.crash(backend)
})

check('a hook that throws ends the store and commits nothing of its step', async (bench) => {
  let angry = false
  const first = await opened(bench, {
    hooks: {
      closing: () => {
        if (angry) throw new Error('half a step')
      },
    },
  })
  first.store.put('p', 'a', bytes('1'))
  await bench.run(first.store.flushed())
  angry = true
  first.store.put('p', 'a', bytes('2'))
  await assert.rejects(bench.run(first.store.flushed()), /half a step/)
  assert.equal(first.failures.length, 1)
  await bench.crash(first.backend)
  const second = await opened(bench)
  assert.equal(text(await bench.run(second.store.get('p', 'a'))), '1')
  await crash(bench, second)
})

check('a closed store takes nothing any more', async (bench) => {
  const { store } = await opened(bench)
  store.put('p', 'a', bytes('1'))
  await bench.run(Promise.all([store[Symbol.asyncDispose](), store[Symbol.asyncDispose]()]))
  assert.throws(
    () => store.put('p', 'a', bytes('2')),
    (error) => error instanceof ParleyError && error.code === 'closing',
  )
})
