// Errors that cross a boundary carry a code from this list, the facts, and whether a retry helps.
import { create } from '@bufbuild/protobuf'
import { type Refusal, RefusalSchema } from './gen/session_pb.ts'

/** code -> does the same request help when it is made again later? */
const CODES = {
  malformed: false, // bytes that are no such message
  unsupported_version: false, // facts: version
  too_large: false, // over a limit; facts: limit, size
  too_many: false, // over a count; facts: limit
  bad_id: false,
  bad_signature: false,
  wrong_root: false, // the key is not what the id is the hash of
  expired: false,
  too_old: false, // older than a version already seen
  conflict: false, // same version or k, other content
  unsigned_device: false,
  not_granted: false,
  no_session: false, // no Signal session with this device: set one up
  undecryptable: false, // ciphertext that does not open: ask for it again
  wrong_audience: false,
  replayed: false,
  old_profile: false, // a session counter that was used before: a restored copy
  not_home: false, // facts: home
  home_restored: false, // the account is of before the home's store went back: come home again, to a later generation
  not_host: false,
  not_member: false,
  unknown_user: false,
  unknown_device: false,
  unknown_conversation: false,
  unknown_region: false,
  bad_name: false, // a small number that names nothing here
  stale_manifest: false,
  stale_membership: false,
  blocked: false,
  not_admitted: false,
  unauthorized: false,
  not_found: false,
  already_registered: false,
  wrong_passphrase: false,
  profile_in_use: false,
  store_in_use: false,
  store_damaged: false, // bytes on disk are not what was written
  old_backup: false, // a store that is older than what was said since
  no_such_profile: false,
  bad_argument: false,
  unreachable: true,
  timeout: true,
  overloaded: true,
  no_room: true,
  full_disk: true,
  closing: true,
  signed_in_elsewhere: false,
} as const

export type RefusalCode = keyof typeof CODES

export class ParleyError extends Error {
  override readonly name = 'ParleyError'
  readonly code: RefusalCode
  readonly facts: Readonly<Record<string, string>>
  /** Milliseconds, when the other side said so. */
  readonly retryAfterMs: number | undefined

  constructor(code: RefusalCode, message: string, facts: Record<string, string> = {}, retryAfterMs?: number) {
    super(message)
    this.code = code
    this.facts = facts
    this.retryAfterMs = retryAfterMs
  }

  /** Whether the same request can succeed later without being changed. */
  get retry(): boolean {
    return CODES[this.code]
  }
}

export function isRefusalCode(code: string): code is RefusalCode {
  return Object.hasOwn(CODES, code)
}

export function refusalOf(error: unknown): Refusal {
  if (!(error instanceof ParleyError)) throw error
  return create(RefusalSchema, {
    code: error.code,
    message: error.message,
    retry: error.retry,
    retryAfterMs: error.retryAfterMs ?? 0,
    facts: { ...error.facts },
  })
}

/** A refusal that came over the wire; a code unknown here (a newer peer's) becomes `malformed` with the code as a fact. */
export function errorOf(refusal: Refusal): ParleyError {
  const known = isRefusalCode(refusal.code)
  return new ParleyError(
    known ? (refusal.code as RefusalCode) : 'malformed',
    refusal.message.slice(0, 500),
    known ? refusal.facts : { ...refusal.facts, code: refusal.code.slice(0, 64) },
    refusal.retryAfterMs || undefined,
  )
}
