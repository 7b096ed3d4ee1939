// The people of simulated networks are always the same, and so are their signatures: each is verified for real once in a
// process, and its answer remembered.
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'

const KEPT = 4_096
const known = new Map<string, boolean>()
const verify = crypto.verify as (...args: unknown[]) => boolean

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')

const names = new WeakMap<object, string>()
function nameOf(key: object): string {
  let name = names.get(key)
  if (name === undefined) {
    name = (key as crypto.KeyObject).export({ format: 'jwk' }).x!
    names.set(key, name)
  }
  return name
}

function remembered(...args: unknown[]): boolean {
  const [algorithm, message, key, signature] = args
  if (algorithm !== null || !(message instanceof Uint8Array) || !(signature instanceof Uint8Array))
    return verify(...args)
  const name = `${nameOf(key as object)} ${latin1(signature)}${latin1(message)}`
  let answer = known.get(name)
  if (answer === undefined) {
    answer = verify(...args)
    if (known.size >= KEPT) known.clear()
    known.set(name, answer)
  }
  return answer
}

export function rememberSignatures(): void {
  crypto.verify = remembered as typeof crypto.verify
  syncBuiltinESMExports()
}
