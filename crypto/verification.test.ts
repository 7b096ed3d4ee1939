import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { type UserId, userIdBytes, userIdOf } from '#protocol'
import { refused } from './test-people.ts'
import { userAlias } from './user-alias.ts'
import { checkScan, comparisonDigits, parseScan, verificationPayload, verificationQr } from './verification.ts'

const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(userIdOf)
const two = fc.uniqueArray(id, { minLength: 2, maxLength: 2 }) as fc.Arbitrary<[UserId, UserId]>

/** The definition, written out on big numbers. */
function thirtyDigits(of: UserId): string {
  const digest = createHash('sha512').update('parley/verify/v1\0').update(userIdBytes(of)).digest('hex')
  let digits = ''
  for (let chunk = 0; chunk < 6; chunk++) {
    const value = BigInt(`0x${digest.slice(chunk * 10, chunk * 10 + 10)}`)
    digits += (value % 100_000n).toString().padStart(5, '0')
  }
  return digits
}

test('both sides see the same 60 digits, those of the smaller id first', () => {
  fc.assert(
    fc.property(two, ([a, b]) => {
      const groups = comparisonDigits(a, b)
      assert.deepEqual(groups, comparisonDigits(b, a))
      assert.equal(groups.length, 12)
      assert.ok(groups.every((group) => /^\d{5}$/.test(group)))
      const ascending = [a, b].sort((x, y) => Buffer.compare(userIdBytes(x), userIdBytes(y)))
      assert.equal(groups.join(''), ascending.map(thirtyDigits).join(''))
      assert.throws(() => comparisonDigits(a, a), refused('bad_argument'))
    }),
  )
})

test('a scanned code proves both ids or says which one differs', () => {
  fc.assert(
    fc.property(two, id, ([ana, ben], eve) => {
      const scan = parseScan(verificationPayload(ben, ana))
      assert.deepEqual(scan, { shownBy: ben, about: ana })
      assert.deepEqual(parseScan(` ${verificationPayload(ben, ana).toLowerCase()}\n`), scan)
      checkScan(scan, ana, ben)
      if (eve === ana || eve === ben) return
      assert.throws(() => checkScan(parseScan(verificationPayload(eve, ana)), ana, ben), refused('conflict'))
      assert.throws(() => checkScan(parseScan(verificationPayload(ben, eve)), ana, ben), refused('conflict'))
    }),
  )
})

test('what is no such code is refused with a typed error', () => {
  const [ana, ben] = [userIdOf(new Uint8Array(32).fill(1)), userIdOf(new Uint8Array(32).fill(2))]
  const good = verificationPayload(ana, ben)
  const wrong = [
    '',
    good.slice(1),
    `${good}:x`,
    good.replace(':1:', ':2:'),
    'x'.repeat(10_000),
    `${good} `.repeat(9),
    'https://example.org',
  ]
  for (const text of wrong) assert.throws(() => parseScan(text), refused('malformed'))
  for (const text of [good.slice(0, -1), good.replace(/.$/, 'B')])
    assert.throws(() => parseScan(text), refused('bad_id'))
  fc.assert(
    fc.property(fc.string(), (noise) => {
      assert.throws(() => parseScan(`PARLEY:VERIFY:1:${noise}:${noise}`), refused('malformed', 'bad_id'))
    }),
  )
})

test('the QR code is dense (upper case only) and narrow enough for a terminal', () => {
  fc.assert(
    fc.property(two, ([a, b]) => {
      assert.match(verificationPayload(a, b), /^[0-9A-Z $%*+\-./:]+$/)
      const lines = verificationQr(a, b).split('\n')
      assert.ok(lines.every((line) => [...line].length <= 60) && lines.length <= 32, `${lines.length}`)
    }),
    { numRuns: 10 },
  )
})

test('the alias is a version 8 UUID of the first 122 bits', () => {
  fc.assert(
    fc.property(id, (user) => {
      const alias = userAlias(user)
      assert.match(alias, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      const bits = [...alias.replaceAll('-', '')]
        .map((digit) => Number.parseInt(digit, 16).toString(2).padStart(4, '0'))
        .join('')
      const kept = bits.slice(0, 48) + bits.slice(52, 64) + bits.slice(66)
      const source = [...userIdBytes(user)].map((byte) => byte.toString(2).padStart(8, '0')).join('')
      assert.equal(kept, source.slice(0, 122))
    }),
  )
})
