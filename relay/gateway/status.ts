// How a refusal looks over HTTP.
import { ParleyError, type RefusalCode } from '#protocol'

/** None is 421: whoever fetches repeats such a request by themselves, and fails at that when it has a body. */
const STATUS: { readonly [code in RefusalCode]: number } = {
  malformed: 400,
  too_large: 413,
  too_many: 400,
  bad_id: 400,
  bad_signature: 403,
  wrong_root: 403,
  expired: 403,
  too_old: 409,
  conflict: 409,
  unsigned_device: 403,
  not_granted: 403,
  wrong_audience: 403,
  replayed: 403,
  old_profile: 403,
  not_home: 409,
  home_restored: 409,
  not_host: 409,
  not_member: 403,
  unknown_user: 404,
  unknown_device: 404,
  unknown_conversation: 404,
  unknown_region: 404,
  unsupported_version: 400,
  bad_name: 400,
  stale_manifest: 409,
  stale_membership: 409,
  blocked: 403,
  not_admitted: 403,
  unauthorized: 401,
  not_found: 404,
  already_registered: 409,
  wrong_passphrase: 400,
  profile_in_use: 409,
  store_in_use: 409,
  no_such_profile: 404,
  bad_argument: 400,
  unreachable: 502,
  timeout: 504,
  overloaded: 429,
  no_room: 507,
  full_disk: 507,
  closing: 503,
  signed_in_elsewhere: 409,
  no_session: 401,
  store_damaged: 500,
  old_backup: 500,
  undecryptable: 400,
}

export type ErrorBody = {
  readonly error: {
    readonly code: string
    readonly message: string
    readonly retry: boolean
    readonly retryAfterMs: number
    readonly facts: Readonly<Record<string, string>>
  }
}

export function errorBody(error: ParleyError): ErrorBody {
  const { code, message, retry, retryAfterMs, facts } = error
  return { error: { code, message, retry, retryAfterMs: retryAfterMs ?? 0, facts } }
}

export function statusOf(error: ParleyError): number {
  return STATUS[error.code]
}

type HttpError = { readonly statusCode?: number; readonly message?: string }

/** What Fastify itself refuses (schema, body size, media type), in our words; `undefined` for a fault of ours. */
export function fromHttpError(error: HttpError): ParleyError | undefined {
  const status = error.statusCode ?? 500
  if (status === 413) return new ParleyError('too_large', 'the body is over the limit')
  if (status === 404) return new ParleyError('not_found', 'no such resource')
  if (status === 408) return new ParleyError('timeout', 'the request took too long')
  if (status >= 400 && status < 500)
    return new ParleyError('malformed', (error.message ?? 'malformed request').slice(0, 300))
  return undefined
}
