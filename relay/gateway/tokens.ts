// HTTP tokens: nodeId 32 ‖ sessionId 16 ‖ 16 bytes that nobody else can tell from random ones. One is worth something only
// while its session lives. Each half of a token's life has a token of its own, made from a secret of this process, so that
// nothing is kept for it: a device that is only there costs little.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { type Clock, ParleyError, type Random } from '#protocol'
import { TOKEN_LIFE_MS } from '../limits.ts'

export const NODE_ID_BYTES = 32
export const SESSION_ID_BYTES = 16
const PROOF_BYTES = 16
const TOKEN_BYTES = NODE_ID_BYTES + SESSION_ID_BYTES + PROOF_BYTES
const SECRET_BYTES = 32
const HALF_LIFE_MS = TOKEN_LIFE_MS / 2

export type Token = { readonly bytes: Uint8Array; readonly expiresMs: number }

/** Sessions are named by their id in hexadecimal. */
export type Tokens<T> = {
  /** The first token of a session that begins. */
  open(sessionId: string, owner: T): Token
  /** A fresh one when half of the life of the newest is over; that one counts until it expires. */
  renewed(sessionId: string): Token | undefined
  /** The owner of a token as it came in the Authorization header. Throws `unauthorized`. */
  ownerOf(header: string | undefined): T
  forget(sessionId: string): void
}

/** `sinceMs` by the monotonic clock; `told`: the newest half-life whose token its device was given. */
type Held<T> = { readonly owner: T; readonly sinceMs: number; told: number }

function readHeader(header: string | undefined): Buffer {
  const text = header?.match(/^Bearer ([A-Za-z0-9_-]{1,128})$/i)?.[1]
  if (text === undefined)
    throw new ParleyError('unauthorized', 'this needs "Authorization: Bearer <token of a session>"')
  return Buffer.from(text, 'base64url')
}

export function createTokens<T>(
  nodeId: Uint8Array,
  clock: Pick<Clock, 'now' | 'monotonic'>,
  random: Random,
): Tokens<T> {
  const secret = random.bytes(SECRET_BYTES)
  const held = new Map<string, Held<T>>()
  const refused = () => new ParleyError('unauthorized', 'no such session, or its token has expired: sign in')
  const halfOf = ({ sinceMs }: Held<T>): number => Math.floor((clock.monotonic() - sinceMs) / HALF_LIFE_MS)
  const proofOf = (sessionId: string, half: number): Buffer =>
    createHmac('sha256', secret).update(`${sessionId} ${half}`).digest().subarray(0, PROOF_BYTES)
  const tokenOf = (sessionId: string, { sinceMs, told }: Held<T>): Token => ({
    bytes: new Uint8Array(Buffer.concat([nodeId, Buffer.from(sessionId, 'hex'), proofOf(sessionId, told)])),
    expiresMs: Math.floor(clock.now() - clock.monotonic() + sinceMs + told * HALF_LIFE_MS + TOKEN_LIFE_MS),
  })
  return {
    open(sessionId, owner) {
      const session = { owner, sinceMs: clock.monotonic(), told: 0 }
      held.set(sessionId, session)
      return tokenOf(sessionId, session)
    },
    renewed(sessionId) {
      const session = held.get(sessionId)
      const half = session ? halfOf(session) : 0
      if (!session || half <= session.told) return undefined
      session.told = half
      return tokenOf(sessionId, session)
    },
    ownerOf(header) {
      const bytes = readHeader(header)
      if (bytes.length !== TOKEN_BYTES || !bytes.subarray(0, NODE_ID_BYTES).equals(nodeId)) throw refused()
      const sessionId = bytes.toString('hex', NODE_ID_BYTES, NODE_ID_BYTES + SESSION_ID_BYTES)
      const session = held.get(sessionId)
      if (!session) throw refused()
      const proof = bytes.subarray(NODE_ID_BYTES + SESSION_ID_BYTES)
      const half = halfOf(session)
      for (const counts of [half, half - 1])
        if (timingSafeEqual(proofOf(sessionId, counts), proof)) return session.owner
      throw refused()
    },
    forget(sessionId) {
      held.delete(sessionId)
    },
  }
}
