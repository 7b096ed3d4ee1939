import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { convIdBytes, convIdOf, limits, simulatedRandom, TAG_BYTES } from '#protocol'
import { isOwnTag, makeTag } from './tag.ts'

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const place = fc.record({ convId: bytes32.map(convIdOf), k: fc.integer({ min: 1, max: limits.K_MAX }) })

test("a tag is its device's own for one place, and differs each time", () => {
  fc.assert(
    fc.property(bytes32, bytes32, place, place, fc.integer(), (secret, other, here, there, seed) => {
      const random = simulatedRandom(seed)
      const tag = makeTag(secret, here, random)
      assert.equal(tag.length, TAG_BYTES)
      assert.notDeepEqual(makeTag(secret, here, random), tag)
      assert.ok(isOwnTag(secret, here, tag))
      assert.ok(!isOwnTag(secret, { ...here, k: here.k === 1 ? 2 : here.k - 1 }, tag))
      if (there.convId !== here.convId) assert.ok(!isOwnTag(secret, { ...here, convId: there.convId }, tag))
      if (Buffer.compare(secret, other) !== 0) assert.ok(!isOwnTag(other, here, tag))
      for (let at = 0; at < TAG_BYTES; at++) {
        const changed = tag.slice()
        changed[at]! ^= 1
        assert.ok(!isOwnTag(secret, here, changed))
      }
      assert.ok(!isOwnTag(secret, here, tag.slice(1)) && !isOwnTag(secret, here, new Uint8Array(9)))
    }),
  )
})

test("the tag's bytes are what is written down", () => {
  const secret = new Uint8Array(32).fill(3)
  const here = { convId: convIdOf(new Uint8Array(32).fill(4)), k: 0x01020304 }
  const tag = makeTag(secret, here, { bytes: (length) => new Uint8Array(length).fill(5), fraction: () => 0 })
  const mac = createHmac('sha256', secret)
    .update(
      Buffer.concat([Buffer.from('parley/tag/v1\0'), convIdBytes(here.convId), Buffer.from([1, 2, 3, 4, 5, 5, 5, 5])]),
    )
    .digest()
  assert.deepEqual(Buffer.from(tag), Buffer.concat([Buffer.from([5, 5, 5, 5]), mac.subarray(0, 4)]))
})
