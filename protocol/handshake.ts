// What both ends of a sign-in share: the transcript, the ephemeral secret, and the name of the way in.
import { createPublicKey, diffieHellman, hash, type KeyObject } from 'node:crypto'
import type { Random } from './clock.ts'
import { privateKeyOf, publicKeyOf } from './key-objects.ts'
import { ParleyError } from './refusals.ts'
import type { SignInMode } from './sealed.ts'

export const SIGN_IN_VERSION = 1
/** Repeated fields of a sign-in message. */
export const SIGN_IN_ITEMS_MAX = 1_024

export type Side = { readonly mode: SignInMode; readonly audience: string; readonly hello: Uint8Array }

export function ensureLength(what: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length)
    throw new ParleyError('malformed', `${what} of ${bytes.length} bytes instead of ${length}`)
}

/** SHA-256(LP(a) ‖ LP(b) ‖ …), LP(x) = u32 length ‖ x. */
export function transcript(...parts: readonly Uint8Array[]): Uint8Array {
  let size = 0
  for (const part of parts) size += 4 + part.length
  const out = new Uint8Array(size)
  const view = new DataView(out.buffer)
  let at = 0
  for (const part of parts) {
    view.setUint32(at, part.length)
    out.set(part, at + 4)
    at += 4 + part.length
  }
  return new Uint8Array(hash('sha256', out, 'buffer'))
}

export function ephemeral(random: Random): { secret: KeyObject; publicKey: Uint8Array } {
  const secret = privateKeyOf('x25519', random.bytes(32))
  return { secret, publicKey: new Uint8Array(createPublicKey(secret).export({ format: 'raw-public' })) }
}

/** OpenSSL refuses the all-zero secret of a low-order key with an error of its own. */
export function sharedSecret(secret: KeyObject, other: Uint8Array): Uint8Array {
  try {
    return new Uint8Array(diffieHellman({ privateKey: secret, publicKey: publicKeyOf('x25519', other) }))
  } catch {
    throw new ParleyError('malformed', 'an ephemeral key that gives no secret')
  }
}

export function once(): (what: string) => void {
  let done = false
  return (what) => {
    if (done) throw new Error(`${what} twice in one sign-in`)
    done = true
  }
}

/** `wss://Example.org/x` → `https://example.org:443`: what stands in `hello` for the origin that a device dials. */
export function audienceOf(url: string): string {
  const parsed = URL.parse(url)
  const scheme = parsed && { 'http:': 'http', 'ws:': 'http', 'https:': 'https', 'wss:': 'https' }[parsed.protocol]
  if (!scheme || !parsed.hostname) throw new ParleyError('bad_argument', `not an http(s) address: ${url.slice(0, 200)}`)
  return `${scheme}://${parsed.hostname}:${parsed.port || (scheme === 'https' ? 443 : 80)}`
}

/** Whether frames after `ready` go as they are: TLS is around them, or they do not leave the machine. Else both seal them. */
export function framesGoPlain(mode: SignInMode, audience: string): boolean {
  if (mode !== 1) return false
  const url = URL.parse(audience)
  if (!url) return false
  return (
    url.protocol === 'https:' ||
    url.hostname === 'localhost' ||
    url.hostname === '[::1]' ||
    /^127(\.\d+){3}$/.test(url.hostname)
  )
}
