// HTTP tokens: nodeId 32 ‖ sessionId 16 ‖ 16 random bytes. One is worth something only while its session lives.
import { timingSafeEqual } from 'node:crypto'
import { type Clock, ParleyError, type Random } from '#protocol'
import { TOKEN_LIFE_MS, TOKENS_PER_SESSION_MAX } from '../limits.ts'

export const NODE_ID_BYTES = 32
export const SESSION_ID_BYTES = 16
const SECRET_BYTES = 16
const TOKEN_BYTES = NODE_ID_BYTES + SESSION_ID_BYTES + SECRET_BYTES

export type Token = { readonly bytes: Uint8Array; readonly expiresMs: number }

export type Tokens<T> = {
  /** A fresh token; those given to the session before count until they expire. */
  issue(sessionId: Uint8Array, owner: T): Token
  /** Whether half of the life of the newest token is over. */
  halfOver(sessionId: Uint8Array): boolean
  /** The owner of a token as it came in the Authorization header. Throws `unauthorized`. */
  ownerOf(header: string | undefined): T
  forget(sessionId: Uint8Array): void
}

const nameOf = (sessionId: Uint8Array) => Buffer.from(sessionId).toString('hex')

function readHeader(header: string | undefined): Buffer {
  const text = header?.match(/^Bearer ([A-Za-z0-9_-]{1,128})$/i)?.[1]
  if (text === undefined)
    throw new ParleyError('unauthorized', 'this needs "Authorization: Bearer <token of a session>"')
  return Buffer.from(text, 'base64url')
}

export function createTokens<T>(nodeId: Uint8Array, clock: Pick<Clock, 'now'>, random: Random): Tokens<T> {
  const held = new Map<string, { owner: T; tokens: Token[] }>()
  const refused = () => new ParleyError('unauthorized', 'no such session, or its token has expired: sign in')
  return {
    issue(sessionId, owner) {
      const bytes = new Uint8Array(Buffer.concat([nodeId, sessionId, random.bytes(SECRET_BYTES)]))
      const token = { bytes, expiresMs: clock.now() + TOKEN_LIFE_MS }
      const before = held.get(nameOf(sessionId))?.tokens ?? []
      held.set(nameOf(sessionId), { owner, tokens: [token, ...before].slice(0, TOKENS_PER_SESSION_MAX) })
      return token
    },
    halfOver(sessionId) {
      const newest = held.get(nameOf(sessionId))?.tokens[0]
      return newest !== undefined && newest.expiresMs - clock.now() < TOKEN_LIFE_MS / 2
    },
    ownerOf(header) {
      const bytes = readHeader(header)
      if (bytes.length !== TOKEN_BYTES) throw refused()
      const sessionId = bytes.subarray(NODE_ID_BYTES, NODE_ID_BYTES + SESSION_ID_BYTES)
      const entry = held.get(nameOf(sessionId))
      if (!entry) throw refused()
      const now = clock.now()
      for (const token of entry.tokens) {
        if (timingSafeEqual(token.bytes, bytes) && now < token.expiresMs) return entry.owner
      }
      throw refused()
    },
    forget(sessionId) {
      held.delete(nameOf(sessionId))
    },
  }
}
