import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  chainHash,
  checkEntry,
  type EntryHeader,
  type EntryPart,
  entryPosition,
  HEADER_BYTES,
  KIND_CONTENT,
  partFor,
  readHeader,
  readParts,
  selectParts,
  writeEntry,
} from './entry.ts'
import { filled, makeCast } from './fixtures.ts'
import { directConvId, directGenesis, readGenesis } from './genesis.ts'
import { compareIds, convIdBytes, ensureUserId, userIdBytes, userIdOf } from './ids.ts'
import { EPOCH_MAX, N_MAX, PARTS_MAX } from './limits.ts'
import { epochOf, isPosition, NOWHERE, nextOf, nOf, positionOf, positionText } from './position.ts'
import { HEADER } from './vector-basics.ts'

const cast = makeCast(3)
const u32 = fc.integer({ min: 1, max: N_MAX })
const place = fc.tuple(fc.integer({ min: 1, max: EPOCH_MAX }), u32)

describe('positions', () => {
  it('keep their two numbers and order like pairs', () => {
    fc.assert(
      fc.property(place, place, ([e1, n1], [e2, n2]) => {
        const [a, b] = [positionOf(e1, n1), positionOf(e2, n2)]
        assert.ok(Number.isSafeInteger(a))
        assert.deepEqual([epochOf(a), nOf(a)], [e1, n1])
        assert.equal(a < b, e1 < e2 || (e1 === e2 && n1 < n2))
      }),
    )
  })

  it('begin nowhere, follow each other, and stay within their range', () => {
    assert.equal(NOWHERE, positionOf(0, 0))
    assert.equal(nextOf(positionOf(3, 16)), positionOf(3, 17))
    assert.equal(positionText(positionOf(3, 17)), '3.17')
    for (const [epoch, n] of [
      [-1, 0],
      [0, -1],
      [EPOCH_MAX + 1, 0],
      [0, N_MAX + 1],
      [0.5, 1],
      [1, Number.NaN],
    ] as const) {
      assert.throws(() => positionOf(epoch, n), RangeError)
    }
    assert.ok(isPosition(EPOCH_MAX, N_MAX) && !isPosition(EPOCH_MAX + 1, 0))
  })
})

describe('ids', () => {
  it('text and bytes say the same', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        const id = userIdOf(bytes)
        assert.equal(id.length, 65)
        assert.deepEqual(userIdBytes(id), bytes)
        assert.equal(ensureUserId(` ${id.toUpperCase()} `), id)
      }),
    )
  })

  it('a changed letter is noticed', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 7, max: 64 }),
        fc.constantFrom(...'qpzry9x8gf2tvdw0s3jn54khce6mua7l'),
        (at, letter) => {
          const changed = cast.ana.id.slice(0, at) + letter + cast.ana.id.slice(at + 1)
          if (changed !== cast.ana.id) assert.throws(() => ensureUserId(changed), { code: 'bad_id' })
        },
      ),
    )
  })

  it('whatever is typed is an id or a bad_id', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 100 }), (text) => {
        assert.throws(() => ensureUserId(text), { code: 'bad_id' })
      }),
    )
  })

  it('order is that of the bytes', () => {
    const ids = [cast.ana.id, cast.ben.id]
    assert.equal(
      Math.sign(compareIds(ids[0]!, ids[1]!)),
      Math.sign(Buffer.compare(userIdBytes(ids[0]!), userIdBytes(ids[1]!))),
    )
    assert.equal(compareIds(cast.ana.id, cast.ana.id), 0)
  })
})

describe('genesis', () => {
  it('of two people is the same from both sides', () => {
    const { ana, ben } = cast
    assert.deepEqual(directGenesis(ana.id, ben.id), directGenesis(ben.id, ana.id))
    const [smaller, larger] = [ana.id, ben.id].sort(compareIds)
    assert.deepEqual(readGenesis(directGenesis(ana.id, ben.id)), { kind: 'direct', members: [smaller, larger] })
    assert.throws(() => directGenesis(ana.id, ana.id), { code: 'bad_argument' })
  })

  it('any bytes are a genesis or malformed', () => {
    const length = fc.constantFrom(0, 1, 64, 65, 66, 73)
    const bytes = length.chain((size) => fc.uint8Array({ minLength: size, maxLength: size }))
    fc.assert(
      fc.property(bytes, fc.constantFrom(1, 2, 3), (raw, kind) => {
        if (raw.length > 0) raw[0] = kind
        try {
          readGenesis(raw)
        } catch (error) {
          assert.equal((error as { code: string }).code, 'malformed')
        }
      }),
    )
  })
})

const header: fc.Arbitrary<EntryHeader> = fc
  .record({
    at: place,
    member: fc.integer({ min: 0, max: N_MAX }),
    device: fc.integer({ min: 1, max: 127 }),
    registrationEpoch: u32,
    registrationVersion: u32,
    k: u32,
    tag: fc.uint8Array({ minLength: 8, maxLength: 8 }),
    membershipVersion: fc.integer({ min: 0, max: N_MAX }),
    timeMs: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  })
  .map(({ at: [epoch, n], ...rest }) => ({ ...rest, kind: KIND_CONTENT, at: positionOf(epoch, n) }))

const part: fc.Arbitrary<EntryPart> = fc
  .record({
    member: fc.integer({ min: 0, max: 9 }),
    device: fc.integer({ min: 0, max: 127 }),
    body: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  })
  .map((fields) => ({ ...fields }))
const parts = fc.array(part, { maxLength: 8 })

describe('entries', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(header, parts, (head, list) => {
        const bytes = writeEntry(head, list)
        checkEntry(bytes)
        assert.deepEqual(readHeader(bytes), head)
        assert.deepEqual(readParts(bytes), list)
        assert.equal(entryPosition(bytes), head.at)
      }),
    )
  })

  it("a device's part is the first that names it, or all devices of its member", () => {
    const few = fc.array(fc.record({ member: fc.nat(2), device: fc.nat(2), body: fc.uint8Array({ minLength: 1 }) }))
    fc.assert(
      fc.property(header, few, fc.nat(2), fc.integer({ min: 1, max: 2 }), (head, list, member, device) => {
        const mine = list.find((it) => it.member === member && (it.device === device || it.device === 0))
        assert.deepEqual(partFor(writeEntry(head, list), member, device), mine?.body)
      }),
    )
  })

  it('selecting parts is writing the entry with those parts', () => {
    fc.assert(
      fc.property(header, parts, fc.integer({ min: 0, max: 9 }), (head, list, member) => {
        const bytes = writeEntry(head, list)
        const mine = list.filter((one) => one.member === member)
        const selected = selectParts(bytes, (who) => who === member)
        assert.deepEqual(selected, writeEntry(head, mine))
        if (mine.length === list.length) assert.equal(selected, bytes)
      }),
    )
  })

  it('the chain is over headers: parts do not change it, any byte of a header does', () => {
    const entry = writeEntry(HEADER, [{ member: 1, device: 1, body: filled(4, 1) }])
    const previous = convIdBytes(directConvId(cast.ana.id, cast.ben.id))
    const hash = chainHash(previous, entry)
    assert.deepEqual(
      chainHash(
        previous,
        selectParts(entry, () => false),
      ),
      hash,
    )
    for (let at = 0; at < HEADER_BYTES; at++) {
      const changed = entry.slice()
      changed[at]! ^= 1
      assert.notDeepEqual(chainHash(previous, changed), hash, `byte ${at}`)
    }
    assert.notDeepEqual(chainHash(hash, entry), hash)
  })

  it('any bytes are an entry or refused', () => {
    const good = writeEntry(HEADER, [{ member: 1, device: 1, body: filled(4, 1) }])
    fc.assert(
      fc.property(fc.integer({ min: 0, max: good.length - 1 }), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const changed = good.slice()
        changed[at] = value
        try {
          checkEntry(changed)
        } catch (error) {
          assert.ok(['malformed', 'too_large', 'too_many'].includes((error as { code: string }).code))
        }
      }),
    )
  })

  it('what would be refused is not written', () => {
    const one = { member: 1, device: 1, body: filled(1, 1) }
    assert.throws(
      () =>
        writeEntry(
          HEADER,
          Array.from({ length: PARTS_MAX + 1 }, () => one),
        ),
      RangeError,
    )
    assert.throws(
      () =>
        writeEntry(
          HEADER,
          Array.from({ length: 5 }, () => ({ ...one, body: filled(70_000, 1) })),
        ),
      RangeError,
    )
    assert.throws(() => writeEntry({ ...HEADER, tag: filled(7, 1) }, []), RangeError)
  })
})
