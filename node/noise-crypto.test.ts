import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pureJsCrypto } from '@chainsafe/libp2p-noise'
import fc from 'fast-check'
import { recordOf, testNode, testRegion, until } from './fixtures.ts'
import { noiseCipher } from './noise-crypto.ts'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const message = fc.record({
  plaintext: fc.uint8Array({ maxLength: 3_000 }),
  nonce: bytes(12),
  associated: fc.constantFrom(new Uint8Array(0), new Uint8Array(32).fill(3)),
  key: bytes(32),
})

test('what is encrypted here the library decrypts, and the other way round', () => {
  fc.assert(
    fc.property(message, ({ plaintext, nonce, associated, key }) => {
      const here = noiseCipher.encrypt(plaintext, nonce, associated, key)
      const there = pureJsCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, associated, key).subarray()
      assert.deepEqual(Buffer.from(here), Buffer.from(there))
      assert.deepEqual(Buffer.from(noiseCipher.decrypt(here, nonce, associated, key)), Buffer.from(plaintext))
    }),
  )
})

test('what was changed, cut off or belongs elsewhere does not decrypt', () => {
  fc.assert(
    fc.property(message, fc.nat(), fc.integer({ min: 1, max: 255 }), (it, where, flip) => {
      const { plaintext, nonce, associated, key } = it
      const sealed = noiseCipher.encrypt(plaintext, nonce, associated, key)
      const changed = sealed.slice()
      changed[where % changed.length]! ^= flip
      const other = nonce.slice()
      other[where % other.length]! ^= flip
      assert.throws(() => noiseCipher.decrypt(changed, nonce, associated, key))
      assert.throws(() => noiseCipher.decrypt(sealed, other, associated, key))
      assert.throws(() => noiseCipher.decrypt(sealed.subarray(0, where % sealed.length), nonce, associated, key))
      assert.throws(() => noiseCipher.decrypt(sealed, nonce, new Uint8Array(5), key))
    }),
  )
})

test('nodes speak with it', async (t) => {
  const encrypt = t.mock.method(noiseCipher, 'encrypt')
  const decrypt = t.mock.method(noiseCipher, 'decrypt')
  const [north, south] = [testRegion(), testRegion()]
  await using owned = new AsyncDisposableStack()
  const a = owned.use((await testNode({ region: north })).node)
  const b = owned.use((await testNode({ region: south })).node)
  a.directory.learnRegionRecord(recordOf(south, [b], 1))
  b.directory.learnRegionRecord(recordOf(north, [a], 1))
  for (const node of [a, b]) node.links.serve({ up: () => {}, down: () => {}, items: () => {} })
  b.links.want(north.regionId)
  await until('up', () => a.links.isUp(south.regionId))
  assert.ok(encrypt.mock.callCount() > 0 && decrypt.mock.callCount() > 0)
})
