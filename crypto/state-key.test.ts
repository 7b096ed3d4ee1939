import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { convIdOf, isPosition, limits, NOWHERE, positionOf, simulatedRandom, systemRandom, userIdOf } from '#protocol'
import {
  newStateKey,
  openReadMark,
  openRegister,
  READ_REGISTER,
  type RegisterName,
  sealReadMark,
  sealRegister,
  type Writer,
} from './state-key.ts'
import { refused } from './test-people.ts'

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const number = fc.nat(2 ** 31)
const writerOf = fc.record<Writer>({
  userId: bytes32.map(userIdOf),
  device: fc.integer({ min: 1, max: 127 }),
  registrationEpoch: number,
  registrationVersion: number,
})
const nameOf = fc.record<RegisterName>({
  convId: bytes32.map(convIdOf),
  kind: fc.nat(9),
  member: number,
  version: fc.maxSafeNat(),
})
const at = fc.tuple(fc.nat(limits.EPOCH_MAX), fc.nat(2 ** 31)).map(([epoch, n]) => positionOf(epoch, n))

test('a register is opened with any set of keys that has its own, and only as what and whose it is', () => {
  fc.assert(
    fc.property(
      writerOf,
      writerOf,
      nameOf,
      nameOf,
      fc.uint8Array({ maxLength: 400 }),
      fc.integer(),
      (writer, other, name, otherName, value, seed) => {
        const random = simulatedRandom(seed)
        const [key, before] = [newStateKey(random), newStateKey(random)]
        const sealed = sealRegister(key, writer, name, value, random)
        assert.deepEqual(openRegister([before, key], writer, name, sealed), value)
        assert.throws(() => openRegister([before], writer, name, sealed), refused('not_found'))
        assert.throws(() => openRegister([], writer, name, sealed), refused('not_found'))
        for (const field of ['userId', 'device', 'registrationEpoch', 'registrationVersion'] as const) {
          if (other[field] === writer[field]) continue
          assert.throws(
            () => openRegister([key], { ...writer, [field]: other[field] }, name, sealed),
            refused('undecryptable'),
          )
        }
        for (const field of ['convId', 'kind', 'member', 'version'] as const) {
          if (otherName[field] === name[field]) continue
          assert.throws(
            () => openRegister([key], writer, { ...name, [field]: otherName[field] }, sealed),
            refused('undecryptable'),
          )
        }
      },
    ),
  )
})

test('every changed or missing byte is noticed', () => {
  const writer: Writer = {
    userId: userIdOf(new Uint8Array(32)),
    device: 1,
    registrationEpoch: 1,
    registrationVersion: 1,
  }
  const name = { convId: convIdOf(new Uint8Array(32)), kind: 2, member: 0, version: 5 }
  const key = newStateKey(systemRandom)
  const sealed = sealRegister(key, writer, name, Uint8Array.of(1, 2, 3), systemRandom)
  for (let i = 0; i < sealed.length; i++) {
    const changed = sealed.slice()
    changed[i]! ^= 0x40
    assert.throws(() => openRegister([key], writer, name, changed), refused('undecryptable', 'not_found'))
    assert.throws(
      () => openRegister([key], writer, name, sealed.subarray(0, i)),
      refused('malformed', 'undecryptable', 'not_found'),
    )
  }
  const tooLong = new Uint8Array(limits.REGISTER_BODY_MAX_BYTES + 1)
  assert.throws(() => openRegister([key], writer, name, tooLong), refused('malformed'))
  assert.throws(() => sealRegister(key, writer, name, tooLong, systemRandom), refused('too_large'))
  const fullest = sealRegister(key, writer, name, new Uint8Array(limits.REGISTER_BODY_MAX_BYTES - 32), systemRandom)
  assert.equal(fullest.length, limits.REGISTER_BODY_MAX_BYTES)
  assert.notDeepEqual(
    sealRegister(key, writer, name, Uint8Array.of(1), systemRandom),
    sealRegister(key, writer, name, Uint8Array.of(1), systemRandom),
  )
})

test('read marks say which place was read, and cannot be given another version', () => {
  fc.assert(
    fc.property(writerOf, bytes32, at, at, fc.integer(), (writer, conv, read, other, seed) => {
      const random = simulatedRandom(seed)
      const key = newStateKey(random)
      const where = { convId: convIdOf(conv), member: 1 }
      const sealed = sealReadMark(key, writer, where, read, random)
      assert.equal(openReadMark([key], writer, where, read, sealed), read)
      if (other !== read)
        assert.throws(() => openReadMark([key], writer, where, other, sealed), refused('undecryptable'))
      const lying = sealRegister(
        key,
        writer,
        { ...where, kind: READ_REGISTER, version: read },
        Uint8Array.of(8, 7),
        random,
      )
      assert.throws(() => openReadMark([key], writer, where, read, lying), refused('conflict'))
      const noise = sealRegister(
        key,
        writer,
        { ...where, kind: READ_REGISTER, version: read },
        Uint8Array.of(255),
        random,
      )
      assert.throws(() => openReadMark([key], writer, where, read, noise), refused('malformed'))
    }),
  )
  assert.ok(isPosition(0, 0) && NOWHERE === 0)
})
