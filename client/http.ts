// Asking a home or a bootstrap node over HTTP. What comes back is bounded; what is refused comes as the ParleyError it is.
import { isRefusalCode, ParleyError } from '#protocol'
import { HTTP_ANSWER_MAX_BYTES, HTTP_MS } from './limits.ts'

export type HttpRequest = {
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly origin: string
  readonly path: string
  readonly token: Uint8Array | undefined
  readonly body: unknown
  readonly timeoutMs?: number
}

const FIRST_ERROR_STATUS = 400

async function readBounded(body: AsyncIterable<Uint8Array> | null): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of body ?? []) {
    size += part.length
    if (size > HTTP_ANSWER_MAX_BYTES) {
      throw new ParleyError('too_large', 'the answer is over the limit', { limit: `${HTTP_ANSWER_MAX_BYTES}` })
    }
    parts.push(part)
  }
  return Buffer.concat(parts)
}

function refused(status: number, answer: unknown): ParleyError {
  const error = (answer as { error?: Record<string, unknown> } | undefined)?.error
  const code = `${error?.code ?? ''}`
  const message = `${error?.message ?? `status ${status}`}`.slice(0, 500)
  const facts: Record<string, string> = {}
  for (const [name, value] of Object.entries(error?.facts ?? {}).slice(0, 32)) facts[name] = `${value}`.slice(0, 500)
  const retryAfterMs = typeof error?.retryAfterMs === 'number' ? error.retryAfterMs : undefined
  if (isRefusalCode(code)) return new ParleyError(code, message, facts, retryAfterMs || undefined)
  return new ParleyError(status >= 500 ? 'unreachable' : 'malformed', message, { ...facts, status: `${status}` })
}

/** What an answer of this status says about why not. Rejects when it says too much, or breaks off. */
export const refusalIn = async (status: number, body: AsyncIterable<Uint8Array>): Promise<ParleyError> =>
  refused(status, parse(await readBounded(body), Math.max(status, FIRST_ERROR_STATUS)))

/** The decoded JSON. Rejects with a ParleyError: the other side's, `unreachable`, `timeout` or `malformed`. */
export async function ask<T>(request: HttpRequest): Promise<T> {
  const { method, origin, path, token, body, timeoutMs = HTTP_MS } = request
  try {
    const response = await fetch(new URL(path, origin), {
      method,
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
      headers: {
        ...(token && { authorization: `Bearer ${Buffer.from(token).toString('base64url')}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const bytes = await readBounded(response.body)
    const answer: unknown = bytes.length > 0 ? parse(bytes, response.status) : undefined
    if (!response.ok) throw refused(response.status, answer)
    return answer as T
  } catch (error) {
    if (error instanceof ParleyError) throw error
    const late = error instanceof DOMException && error.name === 'TimeoutError'
    throw new ParleyError(
      late ? 'timeout' : 'unreachable',
      `${origin} ${late ? 'did not answer in time' : 'cannot be reached'}`,
      {
        origin,
      },
    )
  }
}

function parse(bytes: Buffer, status: number): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    if (status >= FIRST_ERROR_STATUS) return undefined
    throw new ParleyError('malformed', 'the answer is not JSON', { status: `${status}` })
  }
}

export const fromBase64 = (text: unknown): Uint8Array => {
  if (typeof text !== 'string') throw new ParleyError('malformed', 'an answer without a record')
  return new Uint8Array(Buffer.from(text, 'base64'))
}
