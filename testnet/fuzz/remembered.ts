// Most changed records keep most of their signatures. Ed25519 is a function of its inputs, so what was verified before is
// remembered here instead of being worked out again: most of the time of a run would go there.
import crypto, { type KeyObject } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { LRUCache } from 'lru-cache'

const REMEMBERED = 20_000

export function rememberSignatures(): void {
  const answers = new LRUCache<string, boolean>({ max: REMEMBERED })
  const names = new WeakMap<object, number>()
  let last = 0
  const real = crypto.verify
  const verify = (algorithm: null, message: Uint8Array, key: KeyObject, signature: Uint8Array): boolean => {
    if (!names.has(key)) names.set(key, ++last)
    const name = `${names.get(key)} ${Buffer.concat([signature, message]).toString('latin1')}`
    let answer = answers.get(name)
    if (answer === undefined) {
      answer = real(algorithm, message, key, signature)
      answers.set(name, answer)
    }
    return answer
  }
  Object.assign(crypto, { verify })
  syncBuiltinESMExports()
}
