import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { limits } from '#protocol'
import { printable } from './chat.ts'
import { contentOf, linesOf, wholeOf } from './lines.ts'

async function* inChunks(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1
    yield bytes.subarray(at, at + size)
    at += size
  }
}

async function all(bytes: Uint8Array, sizes: readonly number[]): Promise<Buffer[]> {
  const out: Buffer[] = []
  for await (const { number, bytes: line } of linesOf(inChunks(bytes, sizes))) {
    assert.equal(number, out.length + 1)
    out.push(Buffer.from(line))
  }
  return out
}

test('lines joined again are the input, however it comes in pieces', async () => {
  const piece = fc.oneof(fc.constant(10), fc.constant(13), fc.integer({ min: 0, max: 255 }))
  const input = fc.array(piece, { maxLength: 200 }).map((values) => Uint8Array.from(values))
  await fc.assert(
    fc.asyncProperty(input, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), async (bytes, sizes) => {
      const lines = await all(bytes, sizes)
      const joined = Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\n')]))
      const whole =
        bytes.length === 0 || bytes.at(-1) === 10 ? Buffer.from(bytes) : Buffer.concat([bytes, Buffer.from('\n')])
      assert.deepEqual(joined, whole)
    }),
  )
})

test('empty lines count, nothing after the last newline does', async () => {
  const texts = async (text: string) => (await all(Buffer.from(text), [3])).map(String)
  assert.deepEqual(await texts(''), [])
  assert.deepEqual(await texts('\n'), [''])
  assert.deepEqual(await texts('a\n\nb'), ['a', '', 'b'])
  assert.deepEqual(await texts('a\r\n'), ['a\r'])
})

test('a line over the limit is refused without being kept in memory; one at the limit goes', async () => {
  const limit = limits.CONTENT_MAX_BYTES
  assert.equal((await all(Buffer.alloc(limit, 97), [4_096]))[0]?.length, limit)
  let taken = 0
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) {
      taken += 4_096
      yield new Uint8Array(4_096)
    }
  }
  const drain = async (lines: AsyncIterable<unknown>): Promise<void> => {
    for await (const _ of lines);
  }
  await assert.rejects(drain(linesOf(endless())), { code: 'too_large' })
  await assert.rejects(drain(wholeOf(endless())), { code: 'too_large' })
  assert.ok(taken <= 4 * limit)
})

test('UTF-8 is text, with its byte order mark; anything else stays bytes', () => {
  assert.equal(contentOf(Buffer.from('grüß 你好')), 'grüß 你好')
  assert.equal(contentOf(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)), '\ufeffa')
  assert.deepEqual(contentOf(Uint8Array.of(0xff, 0x61)), Uint8Array.of(0xff, 0x61))
})

test('nothing that is received moves the cursor of a terminal', () => {
  assert.equal(printable(Buffer.from('a\u001b[2Jb\u202ec\td')), 'a\ufffd[2Jb\ufffdc\td')
})
