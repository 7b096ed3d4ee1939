import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { ContentSchema, convIdBytes, convIdOf, directConvId, limits, positionOf } from '#protocol'
import { type ContentBody, openContent, packContent, type Sealable, unpackContent } from './content.ts'
import { CONTENT_OVERHEAD_BYTES, PADDING_STEP_BYTES } from './limits.ts'
import { pad, sizeClass, unpad } from './padding.ts'
import type { Place } from './place.ts'
import { acquainted, introduce, newPerson, outcome, type Person, refused, sealContent } from './test-people.ts'

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const at = fc
  .record({ epoch: fc.nat(limits.EPOCH_MAX), n: fc.nat(2 ** 31) })
  .map(({ epoch, n }) => positionOf(epoch, n))
const k = fc.integer({ min: 1, max: limits.K_MAX })
const said = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 300 }).map((text) => ({ kind: 'text' as const, text })),
  fc.uint8Array({ maxLength: 600 }).map((data) => ({ kind: 'data' as const, data })),
)
const maybeKey = fc.option(bytes32, { nil: undefined })
const plain = { noNullPrototype: true }
const body: fc.Arbitrary<ContentBody> = fc.oneof(
  said,
  fc.record({ kind: fc.constant('retry' as const), at, k }, plain),
  fc.record(
    {
      kind: fc.constant('again' as const),
      k,
      said: fc.oneof(said, fc.constant({ kind: 'gone' as const })),
      stateKey: maybeKey,
    },
    plain,
  ),
)
const content: fc.Arbitrary<Sealable> = fc.record(
  {
    body,
    seen: fc.option(fc.record({ at, hash: bytes32 }, plain), { nil: undefined }),
    stateKey: maybeKey,
  },
  plain,
)
const place: fc.Arbitrary<Place> = fc.record({ convId: bytes32.map(convIdOf), k }, plain)
const text = (said: string): Sealable => ({ body: { kind: 'text', text: said }, seen: undefined, stateKey: undefined })
const convOf = (a: Person, b: Person) => directConvId(a.peer.userId, b.peer.userId)

test('whatever is sealed is opened as it was, at its own place only', () => {
  fc.assert(
    fc.property(place, place, content, (here, there, sealed) => {
      const packed = packContent(here, sealed)
      assert.deepEqual(unpackContent(here, packed), sealed)
      assert.throws(
        () => unpackContent({ ...here, k: there.k === here.k ? here.k + 1 : there.k }, packed),
        refused('conflict'),
      )
      if (there.convId !== here.convId) {
        assert.throws(() => unpackContent({ ...here, convId: there.convId }, packed), refused('conflict'))
      }
    }),
  )
})

test('ciphertext that was moved is refused, and can still be read where it belongs', async () => {
  const [ana, ben] = await acquainted()
  const here = { convId: convOf(ana, ben), k: 7 }
  const [sealed] = await sealContent(ana.sessions, [ben.peer], here, text('here'))
  const elsewhere = { convId: convOf(ana, newPerson()), k: 7 }
  for (const wrong of [elsewhere, { ...here, k: 8 }, { ...here, k: 6 }]) {
    await assert.rejects(openContent(ben.sessions, ana.peer, wrong, sealed!), refused('conflict'))
    assert.deepEqual(ben.staged.changes(), [])
  }
  assert.deepEqual((await openContent(ben.sessions, ana.peer, here, sealed!)).body, { kind: 'text', text: 'here' })
  ben.commit()
  await assert.rejects(openContent(ben.sessions, ana.peer, here, sealed!), refused('replayed'))
  await assert.rejects(openContent(ben.sessions, newPerson().peer, here, sealed!), refused('no_session'))
})

test('what decrypts and is no content is malformed, and the ratchet has not moved', async () => {
  const [ana, ben] = await acquainted()
  const here = { convId: convOf(ana, ben), k: 1 }
  const proto = (fields: object): Uint8Array =>
    pad(toBinary(ContentSchema, create(ContentSchema, { convId: convIdBytes(here.convId), k: 1, ...fields })))
  const invalidUtf8 = pad(Uint8Array.of(...unpad(proto({})), 0x52, 2, 0xc3, 0x28))
  const plaintexts = [
    new Uint8Array(0),
    new Uint8Array(128),
    Uint8Array.of(0x80),
    pad(Uint8Array.of(0xff, 0xff, 0xff)),
    unpad(proto({ body: { case: 'text', value: 'not padded' } })),
    invalidUtf8,
    proto({ stateKey: { key: new Uint8Array(31) } }),
    proto({ body: { case: 'again', value: { k: 1, stateKey: { key: new Uint8Array(33) } } } }),
    proto({ seen: { epoch: 1, n: 1, hash: new Uint8Array(31) } }),
    proto({ seen: { epoch: limits.EPOCH_MAX + 1, n: 1, hash: new Uint8Array(32) } }),
    proto({ body: { case: 'retry', value: { epoch: 2 ** 32 - 1, n: 1, k: 1 } } }),
  ]
  for (const [i, plaintext] of plaintexts.entries()) {
    const sealed = await ana.sessions.encrypt(ben.peer, plaintext)
    const got = await outcome(openContent(ben.sessions, ana.peer, here, sealed))
    assert.ok(
      'code' in got && (got.code === 'malformed' || (i === 2 && got.code === 'conflict')),
      `${i}: ${JSON.stringify(got)}`,
    )
    assert.deepEqual(ben.staged.changes(), [])
    assert.deepEqual(new Uint8Array(await ben.sessions.decrypt(ana.peer, sealed)), plaintext)
    ben.commit()
  }
  for (const newer of [proto({}), proto({ body: { case: 'again', value: { k: 1 } } })]) {
    assert.deepEqual(unpackContent(here, newer).body, { kind: 'unknown' })
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      assert.throws(() => unpackContent(here, pad(noise)), refused('malformed', 'conflict'))
    }),
  )
})

test('a crash between encrypting and committing: the same k is encrypted again, and the session goes on', async () => {
  for (const ana of [newPerson(), (await acquainted())[0]]) {
    const ben = newPerson()
    await introduce(ana, ben)
    const convId = convOf(ana, ben)
    await sealContent(ana.sessions, [ben.peer], { convId, k: 1 }, text('lost'))
    ana.staged.reset()
    for (const [i, line] of ['one', 'two', 'three'].entries()) {
      const [sealed] = await sealContent(ana.sessions, [ben.peer], { convId, k: i + 1 }, text(line))
      ana.commit()
      const opened = await openContent(ben.sessions, ana.peer, { convId, k: i + 1 }, sealed!)
      ben.commit()
      assert.deepEqual(opened.body, { kind: 'text', text: line })
    }
  }
})

test('the largest content fits a part, as the first message too; one byte more is refused', async () => {
  const [ana, ben] = [newPerson(), newPerson()]
  await introduce(ana, ben)
  const here = { convId: convOf(ana, ben), k: limits.K_MAX }
  const data = new Uint8Array(limits.CONTENT_MAX_BYTES).fill(0xff)
  const largest: Sealable = {
    body: { kind: 'again', k: limits.K_MAX, said: { kind: 'data', data }, stateKey: new Uint8Array(32) },
    seen: { at: positionOf(limits.EPOCH_MAX, limits.N_MAX), hash: new Uint8Array(32) },
    stateKey: new Uint8Array(32),
  }
  const [sealed] = await sealContent(ana.sessions, [ben.peer], here, largest)
  assert.ok(sealed!.length <= limits.PART_MAX_BYTES)
  assert.deepEqual(await openContent(ben.sessions, ana.peer, here, sealed!), largest)
  const more: Sealable = { ...largest, body: { kind: 'data', data: new Uint8Array(limits.CONTENT_MAX_BYTES + 1) } }
  await assert.rejects(sealContent(ana.sessions, [ben.peer], here, more), refused('too_large'))
  assert.ok(packContent(here, text('€'.repeat(limits.CONTENT_MAX_BYTES / 3))).length > 0)
  assert.throws(() => packContent(here, text('€'.repeat(limits.CONTENT_MAX_BYTES / 3 + 1))), refused('too_large'))
})

test('asking again over a broken session: the question brings a new one, the answer comes on it', async () => {
  const [ana, ben] = await acquainted()
  const convId = convOf(ana, ben)
  const [lost] = await sealContent(ana.sessions, [ben.peer], { convId, k: 5 }, text('say it again'))
  ana.commit()
  ben.sessions.forget(ana.peer)
  await assert.rejects(openContent(ben.sessions, ana.peer, { convId, k: 5 }, lost!), refused('no_session'))

  await introduce(ben, ana)
  const retry: ContentBody = { kind: 'retry', at: positionOf(1, 9), k: 5 }
  const [asked] = await sealContent(ben.sessions, [ana.peer], { convId, k: 2 }, { ...text(''), body: retry })
  assert.deepEqual((await openContent(ana.sessions, ben.peer, { convId, k: 2 }, asked!)).body, retry)

  const again: ContentBody = { kind: 'again', k: 5, said: { kind: 'text', text: 'say it again' }, stateKey: undefined }
  const [answer] = await sealContent(ana.sessions, [ben.peer], { convId, k: 6 }, { ...text(''), body: again })
  assert.deepEqual((await openContent(ben.sessions, ana.peer, { convId, k: 6 }, answer!)).body, again)
})

test('padding: reversible, few classes, little waste, and nothing else is taken for padding', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5_000 }), (bytes) => {
      const padded = pad(bytes)
      assert.deepEqual(unpad(padded), bytes)
      assert.equal(padded.length, sizeClass(bytes.length + 1))
      assert.equal(padded.length % PADDING_STEP_BYTES, 0)
      assert.ok(padded.length - bytes.length <= Math.max(PADDING_STEP_BYTES, bytes.length / 16 + 1))
    }),
  )
  const classes = new Set<number>()
  let last = 0
  for (let length = 0; length <= limits.CONTENT_MAX_BYTES + CONTENT_OVERHEAD_BYTES; length++) {
    const size = sizeClass(length)
    assert.ok(size >= length && size >= last && sizeClass(size) === size)
    classes.add(size)
    last = size
  }
  assert.ok(classes.size < 100, `${classes.size}`)
  for (const bad of [[], [0], [0, 0], [1, 0], [0x81], [0x80, 1]]) {
    assert.throws(() => unpad(Uint8Array.from(bad)), refused('malformed'))
  }
})
