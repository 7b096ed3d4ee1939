// The recovery phrase: 24 BIP39 words for 32 random bytes. The account's root key is derived from these bytes, so
// whoever has the phrase is the account, on any device and after any loss.
import { hkdfSync } from 'node:crypto'
import { entropyToMnemonic, mnemonicToEntropy } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english.js'
import { ParleyError, type Random, type SigningKey, signingKey } from '#protocol'
import { PHRASE_MAX_CHARS } from './limits.ts'

const ENTROPY_BYTES = 32
const WORDS = 24
const CONTEXT = 'parley/root-key/v1'
const known = new Set(wordlist)

/** 24 words, separated by single blanks. */
export function newRecoveryPhrase(random: Random): string {
  return entropyToMnemonic(random.bytes(ENTROPY_BYTES), wordlist)
}

/**
 * The account's root key. Case, line breaks and repeated blanks do not matter. A phrase with a mistake is `bad_argument`:
 * the message says which word by its number or names the checksum, and never repeats what was typed (one "word" may
 * be the whole phrase without blanks).
 */
export function rootKeyOfPhrase(phrase: string): SigningKey {
  if (phrase.length > PHRASE_MAX_CHARS) throw new ParleyError('bad_argument', 'recovery phrase: far too long')
  const words = phrase.normalize('NFKD').toLowerCase().split(/\s+/).filter(Boolean)
  const wrong = words.findIndex((word) => !known.has(word))
  if (wrong >= 0) {
    const number = `${wrong + 1}`
    throw new ParleyError('bad_argument', `recovery phrase: word ${number} is not in the word list`, { word: number })
  }
  if (words.length !== WORDS) {
    throw new ParleyError('bad_argument', `recovery phrase: ${WORDS} words are needed, these are ${words.length}`, {
      words: `${words.length}`,
    })
  }
  let entropy: Uint8Array
  try {
    entropy = mnemonicToEntropy(words.join(' '), wordlist)
  } catch {
    throw new ParleyError(
      'bad_argument',
      'recovery phrase: the checksum does not fit: a word is wrong, though in the list, or two have changed places',
      { checksum: 'wrong' },
    )
  }
  return signingKey(new Uint8Array(hkdfSync('sha256', entropy, new Uint8Array(0), CONTEXT, ENTROPY_BYTES)))
}
