import assert from 'node:assert/strict'
import { test } from 'node:test'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import fc from 'fast-check'
import { ParleyError, type Random, simulatedRandom, systemRandom, userIdOfRootKey } from '#protocol'
import { newRecoveryPhrase, rootKeyOfPhrase } from './recovery.ts'

const KNOWN_ROOT_KEY = 'eabdb496e5676ef5484d8b7ec7a6a730f445e5501cb05efb7956fba09f272246'
const KNOWN_USER_ID = 'parley1993hcu07xsx8r6c0pamfjgkh45mvtck7fsq6stxxc0e0rr664ynsvx4v6k'

const seeded = fc.integer().map((seed) => newRecoveryPhrase(simulatedRandom(seed)))

function mistake(phrase: string): ParleyError {
  try {
    rootKeyOfPhrase(phrase)
  } catch (error) {
    assert.ok(error instanceof ParleyError && error.code === 'bad_argument')
    return error
  }
  assert.fail('accepted')
}

test('a phrase is 24 words of the list and always gives the same root key, another phrase another', () => {
  const ids = new Set<string>()
  fc.assert(
    fc.property(fc.uniqueArray(seeded, { minLength: 3, maxLength: 3 }), (phrases) => {
      for (const phrase of phrases) {
        assert.equal(phrase.split(' ').length, 24)
        assert.ok(phrase.split(' ').every((word) => wordlist.includes(word)))
        const untidy = `\n  ${phrase.replaceAll(' ', ' \t ').toUpperCase()} \r\n`
        assert.deepEqual(rootKeyOfPhrase(untidy).publicKey, rootKeyOfPhrase(phrase).publicKey)
      }
      assert.equal(new Set(phrases.map((phrase) => userIdOfRootKey(rootKeyOfPhrase(phrase).publicKey))).size, 3)
      ids.add(phrases[0]!)
    }),
    { numRuns: 20 },
  )
  assert.ok(ids.size > 10)
})

test('all of the entropy comes from Random, and all of it counts', () => {
  const zeros: Random = { bytes: (length) => new Uint8Array(length), fraction: () => 0 }
  assert.equal(newRecoveryPhrase(zeros), `${'abandon '.repeat(23)}art`)
  assert.notEqual(newRecoveryPhrase(systemRandom), newRecoveryPhrase(systemRandom))
})

// Fixed for ever: whoever changes the derivation locks people out of their accounts.
test('the root key of a known phrase', () => {
  const key = rootKeyOfPhrase(`${'abandon '.repeat(23)}art`)
  assert.equal(Buffer.from(key.publicKey).toString('hex'), KNOWN_ROOT_KEY)
  assert.equal(userIdOfRootKey(key.publicKey), KNOWN_USER_ID)
})

test('a word that is not in the list is named by its number', () => {
  fc.assert(
    fc.property(seeded, fc.nat(23), fc.constantFrom('zzz', 'abandonn', 'ünder', '1', 'parley'), (phrase, at, wrong) => {
      const words = phrase.split(' ')
      words[at] = wrong
      assert.equal(mistake(words.join(' ')).facts.word, `${at + 1}`)
    }),
    { numRuns: 50 },
  )
})

test('a wrong word of the list, a missing one, one too many, or two that changed places', () => {
  fc.assert(
    fc.property(seeded, fc.nat(23), fc.nat(2047), (phrase, at, other) => {
      const words = phrase.split(' ')
      assert.equal(mistake(words.slice(0, 23).join(' ')).facts.words, '23')
      assert.equal(mistake([...words, words[at]].join(' ')).facts.words, '25')
      const swapped = [...words]
      swapped[at] = words[(at + 1) % 24]!
      swapped[(at + 1) % 24] = words[at]!
      const replaced = [...words]
      replaced[at] = wordlist[other]!
      // One in 256 passes the checksum: then it is another account, never the same one.
      for (const changed of [swapped, replaced]) {
        if (changed.join() === words.join()) continue
        try {
          assert.notDeepEqual(rootKeyOfPhrase(changed.join(' ')).publicKey, rootKeyOfPhrase(phrase).publicKey)
        } catch (error) {
          assert.ok(
            error instanceof ParleyError && error.code === 'bad_argument' && error.facts.checksum === 'wrong',
            `${error}`,
          )
        }
      }
    }),
    { numRuns: 50 },
  )
})

test('what was typed is never repeated', () => {
  const phrase = newRecoveryPhrase(systemRandom)
  const words = phrase.split(' ')
  // What the messages say of themselves may be words of the list too ("word", "list"): said of any other phrase alike.
  const own = new Set(mistakesWith([...Array(23).fill('abandon'), 'art']).flatMap((shown) => shown.match(/\w+/g) ?? []))
  for (const shown of mistakesWith(words)) {
    for (const word of words)
      if (word.length > 3 && !own.has(word)) assert.ok(!new RegExp(`\\b${word}\\b`).test(shown), word)
    assert.ok(!shown.includes(words.join('')))
  }
  assert.equal(mistake('').facts.words, '0')
})

/** What is shown of each mistake that typing these words allows, without the stack's lines: those name files, not arguments. */
function mistakesWith(words: readonly string[]): string[] {
  const phrase = words.join(' ')
  const typed = [
    words.join(''),
    words.join('-'),
    words.slice(0, 12).join(' '),
    `${phrase} x`,
    phrase.repeat(30),
    `${words.slice(0, 23).join(' ')} ${words[0]}`,
  ]
  return typed.map((attempt) => {
    try {
      rootKeyOfPhrase(attempt)
      return ''
    } catch (error) {
      assert.ok(error instanceof ParleyError && error.code === 'bad_argument')
      return `${error.message} ${JSON.stringify(error.facts)} ${error.stack?.replace(/^\s+at .*$/gm, '')}`
    }
  })
}
