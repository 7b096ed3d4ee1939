import assert from 'node:assert/strict'
import { test } from 'node:test'
import { simulatedRandom, systemRandom } from '#protocol'
import { TOKEN_LIFE_MS } from '../limits.ts'
import { createTokens, NODE_ID_BYTES, SESSION_ID_BYTES, type Token } from './tokens.ts'

const SESSIONS_MAX = 3
const STEPS = 400

const header = ({ bytes }: Token): string => `Bearer ${Buffer.from(bytes).toString('base64url')}`

test('each token counts from when it was given until it expires, for its own session, and no other bytes do', (t) => {
  const seed = Math.floor(systemRandom.fraction() * 1e9)
  t.diagnostic(`seed ${seed}`)
  const random = simulatedRandom(seed)
  let [elapsedMs, wallMs] = [0, 1_000_000]
  const clock = { monotonic: () => elapsedMs, now: () => wallMs }
  const tokens = createTokens<string>(new Uint8Array(NODE_ID_BYTES).fill(1), clock, random)
  /** By the clock that only goes forward: the other one is set now and then. */
  const given: { session: string; token: Token; endsMs: number }[] = []
  const open = new Set<string>()
  const give = (session: string, token: Token): void => {
    assert.ok(token.expiresMs > wallMs && token.expiresMs <= wallMs + TOKEN_LIFE_MS)
    given.push({ session, token, endsMs: elapsedMs + token.expiresMs - wallMs })
  }
  for (let step = 0; step < STEPS; step++) {
    const passedMs = random.fraction() * 0.3 * TOKEN_LIFE_MS
    elapsedMs += passedMs
    wallMs += passedMs + (random.fraction() < 0.1 ? (random.fraction() - 0.5) * 4 * TOKEN_LIFE_MS : 0)
    const [oldest] = open
    if (open.size < SESSIONS_MAX) {
      const session = Buffer.from(random.bytes(SESSION_ID_BYTES)).toString('hex')
      open.add(session)
      give(session, tokens.open(session, session))
    } else if (oldest && random.fraction() < 0.1) {
      open.delete(oldest)
      tokens.forget(oldest)
      for (const it of given) if (it.session === oldest) it.endsMs = 0
    }
    for (const one of open) {
      const renewed = tokens.renewed(one)
      if (renewed) give(one, renewed)
      assert.equal(tokens.renewed(one), undefined, 'once each half of its life')
    }
    for (const { session: of, token, endsMs } of given.slice(-8)) {
      // It is told in whole milliseconds, and may count for a part of one longer.
      if (elapsedMs >= endsMs && elapsedMs < endsMs + 1) continue
      if (elapsedMs < endsMs) assert.equal(tokens.ownerOf(header(token)), of)
      else assert.throws(() => tokens.ownerOf(header(token)), { code: 'unauthorized' })
    }
    const forged = given.at(-1)!.token.bytes.slice()
    forged[Math.floor(random.fraction() * forged.length)]! ^= 1
    assert.throws(() => tokens.ownerOf(header({ bytes: forged, expiresMs: 0 })), { code: 'unauthorized' })
  }
})
