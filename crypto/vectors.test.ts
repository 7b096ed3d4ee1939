// The vectors that another implementation can be held to, and that this one must never drift from.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { convIdOf, ensureConvId, ensureUserId, type Position, type RefusalCode } from '#protocol'
import { packContent, type Sealable, unpackContent } from './content.ts'
import { sizeClass } from './padding.ts'
import { rootKeyOfPhrase } from './recovery.ts'
import { openReadMark, openRegister, type RegisterName, type Writer } from './state-key.ts'
import { isOwnTag } from './tag.ts'
import { refused } from './test-people.ts'
import { userAlias } from './user-alias.ts'
import vectors from './vectors/crypto.json' with { type: 'json' }
import { comparisonDigits, parseScan } from './verification.ts'

const unhex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const code = (name: string): ((error: unknown) => boolean) => refused(name as RefusalCode)
const writerOf = (writer: Omit<Writer, 'userId'> & { userId: string }): Writer => ({
  ...writer,
  userId: ensureUserId(writer.userId),
})
const nameOf = (name: Omit<RegisterName, 'convId'> & { convId: string }): RegisterName => ({
  ...name,
  convId: ensureConvId(name.convId),
})

test('vectors: phrases', () => {
  for (const { phrase, rootKey } of vectors.phrases) assert.equal(hexOf(rootKeyOfPhrase(phrase).publicKey), rootKey)
  for (const { phrase, facts } of vectors.badPhrases) {
    assert.throws(() => rootKeyOfPhrase(phrase), { code: 'bad_argument', facts })
  }
})

test('vectors: aliases, digits, scanned codes', () => {
  for (const { userId, alias } of vectors.aliases) assert.equal(userAlias(ensureUserId(userId)), alias)
  for (const { a, b, digits } of vectors.digits) {
    assert.equal(comparisonDigits(ensureUserId(a!), ensureUserId(b!)).join(' '), digits)
  }
  for (const { text, shownBy, about } of vectors.scans) assert.deepEqual(parseScan(text), { shownBy, about })
  for (const { text, code: expected } of vectors.badScans) assert.throws(() => parseScan(text), code(expected), text)
})

test('vectors: tags and size classes', () => {
  for (const { secret, convId, k, tag, own } of vectors.tags) {
    assert.equal(isOwnTag(unhex(secret), { convId: ensureConvId(convId), k }, unhex(tag)), own)
  }
  for (const [length, size] of vectors.sizeClasses) assert.equal(sizeClass(length!), size)
})

test('vectors: registers and read marks', () => {
  for (const { stateKey, writer, name, sealed, plaintext } of vectors.registers) {
    assert.equal(hexOf(openRegister([unhex(stateKey)], writerOf(writer), nameOf(name), unhex(sealed))), plaintext)
  }
  for (const { stateKey, writer, name, sealed, code: expected } of vectors.badRegisters) {
    assert.throws(() => openRegister([unhex(stateKey)], writerOf(writer), nameOf(name), unhex(sealed)), code(expected))
  }
  for (const { stateKey, writer, convId, member, version, sealed } of vectors.readMarks) {
    const where = { convId: ensureConvId(convId), member }
    assert.equal(openReadMark([unhex(stateKey)], writerOf(writer), where, version as Position, unhex(sealed)), version)
  }
})

function expected(vector: (typeof vectors.contents)[number]): Sealable {
  const seen = vector.seen && { at: vector.seen.at as Position, hash: unhex(vector.seen.hash) }
  const around = { seen, stateKey: vector.stateKey === undefined ? undefined : unhex(vector.stateKey) }
  if (vector.kind === 'text') return { body: { kind: 'text', text: vector.text! }, ...around }
  if (vector.kind === 'data') return { body: { kind: 'data', data: unhex(vector.data!) }, ...around }
  if (vector.kind === 'retry') return { body: { kind: 'retry', at: vector.at as Position, k: vector.ofK! }, ...around }
  return { body: { kind: 'again', k: vector.ofK!, said: { kind: 'gone' }, stateKey: undefined }, ...around }
}

test('vectors: contents', () => {
  for (const vector of vectors.contents) {
    const place = { convId: ensureConvId(vector.convId), k: vector.k }
    assert.deepEqual(unpackContent(place, unhex(vector.packed)), expected(vector))
    assert.equal(hexOf(packContent(place, expected(vector))), vector.packed)
  }
  for (const { convId, k, packed, code: wrong } of vectors.badContents) {
    assert.throws(
      () => unpackContent({ convId: ensureConvId(convId), k }, unhex(packed)),
      code(wrong),
      packed.slice(0, 40),
    )
  }
  const nowhere = { convId: convIdOf(new Uint8Array(32).fill(1)), k: 1 }
  assert.throws(() => unpackContent(nowhere, unhex(vectors.contents[0]!.packed)), code('conflict'))
})
