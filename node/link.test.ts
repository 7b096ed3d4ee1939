// One link without sockets: two ends over a pipe that delivers in pieces, on a virtual clock.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import {
  LinkBatchSchema,
  LinkFrameSchema,
  LinkHelloSchema,
  limits,
  ParleyError,
  SimulatedClock,
  simulatedRandom,
} from '#protocol'
import {
  LINK_BUSY_BYTES,
  LINK_CREDIT_STEP_BYTES,
  LINK_HELLO_MAX_MS,
  LINK_SILENCE_MAX_MS,
  LINK_TICK_MS,
} from './limits.ts'
import { Link, type LinkOwner, type LinkPipe } from './link.ts'
import { decodeFrame, encodeBatch, encodeCredit, encodeHello } from './link-codec.ts'
import { LinkNames, LinkNamesRead } from './link-names.ts'
import type { LinkItem } from './types.ts'
import { FrameReader, frame } from './wire.ts'

type End = {
  link: Link
  readonly items: LinkItem[]
  ended: { error: ParleyError | undefined; fault: boolean } | undefined
  cutOff: boolean
}

/** Two ends; bytes take 1 to 20 ms and come in pieces of random size. */
function simulatedPair(seed: number, clock: SimulatedClock): [End, End] {
  const random = simulatedRandom(seed)
  const ends: End[] = []
  const introduction = { bootNonce: random.bytes(16), certificate: undefined, timeMs: clock.now() }
  for (const me of [0, 1]) {
    let at = 0
    const other = (): End => ends[1 - me]!
    const later = (run: () => void): void => {
      at = Math.max(at, clock.monotonic() + 1 + Math.floor(random.fraction() * 20))
      clock.after(at - clock.monotonic(), run)
    }
    const pipe: LinkPipe = {
      write(bytes) {
        if (ends[me]?.cutOff) return true
        for (let from = 0; from < bytes.length; ) {
          const piece = bytes.slice(from, from + 1 + Math.floor(random.fraction() * 5_000))
          from += piece.length
          later(() => other().link.received(piece, clock.monotonic()))
        }
        if (random.fraction() < 0.8) return true
        later(() => ends[me]!.link.drained())
        return false
      },
      end: () => later(() => other().link.closed(undefined)),
    }
    const end = { items: [], ended: undefined, cutOff: false } as unknown as End
    const owner: LinkOwner = {
      hello: () => undefined,
      items: (items) => void end.items.push(...items),
      ended: (error, fault) => {
        end.ended = { error, fault }
      },
    }
    ends.push(end)
    end.link = new Link(pipe, owner, introduction, clock.monotonic(), (callback) => void clock.after(0, callback))
  }
  const tick = (): void => {
    for (const end of ends) end.link.tick(clock.monotonic())
    clock.after(LINK_TICK_MS, tick)
  }
  tick()
  return ends as [End, End]
}

const run = (clock: SimulatedClock, ms: number): void => {
  const until = clock.now() + ms
  while (clock.step(until));
  clock.advanceTo(until)
}

test('whatever the pieces and pauses: everything arrives once, in order, with its id, both ways', () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.array(fc.tuple(fc.boolean(), fc.nat(40), fc.nat(3_000)), { maxLength: 300 }),
      (seed, sends) => {
        const clock = new SimulatedClock(1_000)
        const [a, b] = simulatedPair(seed, clock)
        run(clock, 100)
        const sent: [string[], string[]] = [[], []]
        for (const [i, [fromA, name, length]] of sends.entries()) {
          const item = { id: new Uint8Array(32).fill(name), kind: i, body: new Uint8Array(length).fill(i) }
          assert.ok((fromA ? a : b).link.send(item))
          sent[fromA ? 0 : 1].push(`${name} ${i} ${length}`)
          if (i % 7 === 0) run(clock, 3)
        }
        run(clock, 5_000)
        const texts = ({ items }: End): string[] => items.map(({ id, kind, body }) => `${id[0]} ${kind} ${body.length}`)
        assert.deepEqual(texts(b), sent[0])
        assert.deepEqual(texts(a), sent[1])
        assert.equal(a.link.backlog + b.link.backlog, 0)
        assert.equal(a.ended ?? b.ended, undefined)
      },
    ),
    { numRuns: 60 },
  )
})

test('an idle link stays; a peer that falls silent is noticed; one that never says hello too', () => {
  const clock = new SimulatedClock(1_000)
  const [a, b] = simulatedPair(1, clock)
  run(clock, 60_000)
  assert.ok(a.link.isUp && b.link.isUp)
  a.cutOff = true
  run(clock, LINK_SILENCE_MAX_MS + 2 * LINK_TICK_MS)
  assert.equal(b.ended?.error?.code, 'timeout')
  const [mute, waiting] = simulatedPair(2, clock)
  mute.cutOff = true
  mute.link.cut(new ParleyError('closing', 'gone'))
  run(clock, LINK_HELLO_MAX_MS + 2 * LINK_TICK_MS)
  assert.ok(waiting.ended)
})

test('a process that stood still does not take its peers for dead', () => {
  const clock = new SimulatedClock(1_000)
  const [a, b] = simulatedPair(3, clock)
  run(clock, 1_000)
  const far = clock.monotonic() + 60_000
  a.link.tick(far)
  b.link.tick(far)
  assert.ok(a.link.isUp && b.link.isUp)
})

/** A link that is up, what it wrote as `case size`, and the ends of moments, which the test decides. */
function aloneUp() {
  const wrote: string[] = []
  const moments: (() => void)[] = []
  const reader = new FrameReader()
  const pipe: LinkPipe = {
    write(bytes) {
      reader.push(bytes)
      const cases: string[] = []
      for (let one = reader.next(2 ** 20); one; one = reader.next(2 ** 20)) {
        const what = decodeFrame(one, 2 ** 20)
        cases.push(what.case === 'batch' ? `batch ${what.value.items.length}` : `${what.case}`)
      }
      wrote.push(cases.join(' + '))
      return true
    },
    end: () => undefined,
  }
  const owner: LinkOwner = { hello: () => undefined, items: () => undefined, ended: () => undefined }
  const introduction = { bootNonce: new Uint8Array(16), certificate: undefined, timeMs: 0 }
  const link = new Link(pipe, owner, introduction, 0, (callback) => void moments.push(callback))
  link.received(encodeHello(create(LinkHelloSchema, { version: 1, bootNonce: new Uint8Array(16) })), 0)
  wrote.length = 0
  const say = (bytes: number): boolean =>
    link.send({ id: new Uint8Array(32), kind: 1, body: new Uint8Array(bytes).fill(1) })
  const endMoment = (): void => {
    for (const end of moments.splice(0)) end()
  }
  return { link, wrote, say, endMoment }
}

const batchOf = (number: number, bytes: number): Uint8Array =>
  encodeBatch({
    number,
    names: number === 1 ? [{ ref: 1, id: new Uint8Array(32) }] : [],
    items: [{ ref: 1, kind: 1, body: new Uint8Array(bytes) }],
  })

test('where little goes the first step of a moment waits for nobody, where much goes all of it is gathered', async () => {
  const { wrote, say, endMoment } = aloneUp()
  say(10)
  say(10)
  assert.deepEqual(wrote, [])
  await undefined
  assert.deepEqual(wrote.splice(0), ['batch 2'])
  for (const size of [10, LINK_BUSY_BYTES]) {
    say(size)
    await undefined
    assert.deepEqual(wrote, [])
  }
  endMoment()
  assert.deepEqual(wrote.splice(0), ['batch 2'])

  say(10)
  await undefined
  assert.deepEqual(wrote, [], 'it was busy')
  endMoment()
  assert.deepEqual(wrote.splice(0), ['batch 1'])
  say(10)
  await undefined
  assert.deepEqual(wrote, ['batch 1'])
})

test('a step that says that it is done need not be over', async () => {
  const { link, wrote, say, endMoment } = aloneUp()
  say(10)
  link.stepDone()
  assert.deepEqual(wrote, ['batch 1'])
  say(10)
  link.stepDone()
  await undefined
  assert.deepEqual(wrote, ['batch 1'], 'the first step only')
  endMoment()
  assert.deepEqual(wrote.splice(0), ['batch 1', 'batch 1'])
  say(LINK_BUSY_BYTES)
  await undefined
  say(LINK_BUSY_BYTES)
  endMoment()
  say(10)
  link.stepDone()
  assert.equal(wrote.length, 2, 'not on a busy link')
})

test('credit goes with what leaves, when it is worth a frame, or with the next tick, and is not answered', async () => {
  const { link, wrote, say, endMoment } = aloneUp()
  link.received(batchOf(1, 100), 1)
  await undefined
  endMoment()
  assert.deepEqual(wrote, [])
  say(10)
  await undefined
  endMoment()
  assert.deepEqual(wrote.splice(0), ['credit + batch 1'])
  link.received(encodeCredit(10, 1), 2)
  link.received(batchOf(2, 100), 2)
  await undefined
  endMoment()
  assert.deepEqual(wrote, [])
  link.tick(3)
  await undefined
  endMoment()
  assert.deepEqual(wrote.splice(0), ['credit'])
  for (let number = 3; number < 6; number++) link.received(batchOf(number, LINK_CREDIT_STEP_BYTES / 2), 4)
  await undefined
  assert.deepEqual(wrote, ['credit'])
})

test('batches written by hand are what the generated code writes and reads', () => {
  const name = fc.record({
    ref: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    id: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  })
  const item = fc.record({ ref: fc.nat(2 ** 31), kind: fc.nat(300), body: fc.uint8Array({ maxLength: 400 }) })
  const batch = fc.record({ number: fc.nat(2 ** 31), names: fc.array(name), items: fc.array(item) })
  fc.assert(
    fc.property(batch, (value) => {
      const message = create(LinkFrameSchema, { what: { case: 'batch', value: create(LinkBatchSchema, value) } })
      assert.deepEqual(Buffer.from(encodeBatch(value)), Buffer.from(frame(toBinary(LinkFrameSchema, message))))
    }),
  )
})

test('no bytes make the decoder throw anything but a typed error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        decodeFrame(bytes, 1_000)
      } catch (error) {
        assert.ok(error instanceof ParleyError, String(error))
      }
    }),
    { numRuns: 3_000 },
  )
})

test('frames are found again in any pieces, and a header over the limit is refused at once', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 9_000 })),
      fc.array(fc.integer({ min: 1, max: 6_000 }), { minLength: 1 }),
      (bodies, sizes) => {
        const bytes = Buffer.concat(bodies.map(frame))
        const reader = new FrameReader()
        const got: Uint8Array[] = []
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length]!
          reader.push(bytes.subarray(at, at + size))
          at += size
          for (let next = reader.next(9_000); next; next = reader.next(9_000)) got.push(next)
        }
        assert.deepEqual(
          got.map((one) => Buffer.from(one)),
          bodies.map((one) => Buffer.from(one)),
        )
        assert.equal(reader.pending, 0)
      },
    ),
  )
  const reader = new FrameReader()
  reader.push(new Uint8Array([255, 0, 0, 0]))
  assert.throws(() => reader.next(9_000), { code: 'too_large' })
})

test('numbers for ids start again when they are used up, the same at both ends', () => {
  const [out, back] = [new LinkNames(), new LinkNamesRead()]
  const idOf = (n: number): Uint8Array => {
    const id = new Uint8Array(32)
    new DataView(id.buffer).setUint32(0, n)
    return id
  }
  for (let n = 0; n < limits.NAMES_MAX + 1_000; n++) {
    const { ref, isNew } = out.refOf(idOf(n))
    assert.ok(isNew)
    back.resolve({
      $typeName: 'parley.v1.LinkBatch',
      number: 0,
      items: [],
      names: [{ $typeName: 'parley.v1.LinkName', ref, id: idOf(n) }],
    })
  }
  assert.ok(out.recycles(idOf(0)))
  assert.ok(!out.recycles(idOf(5_000)))
  for (const n of [1_000, 5_000, limits.NAMES_MAX + 999]) {
    const { ref, isNew } = out.refOf(idOf(n))
    assert.ok(!isNew)
    const [item] = back.resolve({
      $typeName: 'parley.v1.LinkBatch',
      number: 0,
      names: [],
      items: [{ $typeName: 'parley.v1.LinkItem', ref, kind: 1, body: new Uint8Array() }],
    })
    assert.deepEqual(item?.id, idOf(n))
  }
})
