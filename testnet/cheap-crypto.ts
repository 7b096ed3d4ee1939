// Most of the time of a run of many small stories would go into cryptography whose answers are known, or that nobody
// attacks. What is put in its place here gives the same answers to whoever uses it as it should be used.
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'

const KEPT = 20_000
const known = new Map<string, boolean>()
const verify = crypto.verify as (...args: unknown[]) => boolean
const { createHmac } = crypto

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

/** Ed25519 is a function of its inputs: each signature is verified once in this process, and the answer remembered. */
export function rememberSignatures(): void {
  crypto.verify = remembered as typeof crypto.verify
  syncBuiltinESMExports()
}

/** One hash of secret and parts: enough where nobody lengthens what they were given. */
class HashForHmac {
  readonly #algorithm: string
  readonly #parts: Buffer[]

  constructor(algorithm: string, secret: Uint8Array) {
    this.#algorithm = algorithm
    this.#parts = [Buffer.from(secret)]
  }

  update(part: Uint8Array | string): this {
    this.#parts.push(Buffer.from(part as string))
    return this
  }

  digest(): Buffer {
    return crypto.hash(this.#algorithm, Buffer.concat(this.#parts), 'buffer')
  }
}

/** For secrets that are bytes. */
export function hashForHmac(): void {
  crypto.createHmac = ((algorithm: string, secret: crypto.BinaryLike | crypto.KeyObject) =>
    secret instanceof Uint8Array
      ? new HashForHmac(algorithm, secret)
      : createHmac(algorithm, secret)) as unknown as typeof crypto.createHmac
  syncBuiltinESMExports()
}
