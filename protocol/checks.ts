// Checks of single fields that frames between devices and homes and items between nodes share.
// A decoded message that passes them has no field out of its range; whether it makes sense is for the rules to say.
import {
  checkEntry,
  entryPosition,
  HEADER_BYTES,
  KIND_CONTENT,
  KIND_SKIP,
  KIND_SUPPLEMENT,
  PART_OVERHEAD_BYTES,
  TAG_BYTES,
} from './entry.ts'
import type { HomeRecord } from './gen/records_pb.ts'
import type { ManifestVersion, Part, Refusal, RegisterUpdate, StaleManifests, Submission } from './gen/session_pb.ts'
import {
  DEVICE_NUMBER_MAX,
  ENTRY_MAX_BYTES,
  EPOCH_MAX,
  PART_MAX_BYTES,
  PARTS_MAX,
  REFUSAL_CODE_MAX_CHARS,
  REFUSAL_FACTS_MAX,
  REFUSAL_TEXT_MAX_CHARS,
  REGISTER_BODY_MAX_BYTES,
} from './limits.ts'
import { epochOf, isPosition, nOf } from './position.ts'
import { ParleyError } from './refusals.ts'

export const REGISTER_DELIVERED = 1
export const REGISTER_READ = 2
export const HASH_BYTES = 32

export function ensure(holds: boolean, what: string): asserts holds {
  if (!holds) throw new ParleyError('malformed', what)
}

export function ensureAtMost(count: number, limit: number, what: string): void {
  if (count > limit) throw new ParleyError('too_many', `${what} over the limit`, { limit: `${limit}` })
}

/** (epoch, n) as a cursor: 0.0 and e.0 are places too. */
export function checkCursor(epoch: number, n: number): void {
  ensure(isPosition(epoch, n), 'a position out of range')
}

/** (epoch, n) of something that stands in a log. */
export function checkPlace(epoch: number, n: number): void {
  ensure(isPosition(epoch, n) && epoch >= 1 && n >= 1, 'a position at which nothing can stand')
}

export function checkK(k: number): void {
  ensure(k >= 1, 'k counts from 1')
}

function checkPart(part: Part): void {
  if (part.body.length > PART_MAX_BYTES) {
    throw new ParleyError('too_large', 'part over the limit', {
      limit: `${PART_MAX_BYTES}`,
      size: `${part.body.length}`,
    })
  }
  ensure(part.body.length > 0, 'a part without ciphertext')
  ensure(part.device <= DEVICE_NUMBER_MAX, 'a part for no possible device')
}

function checkManifestVersion(version: ManifestVersion): void {
  ensure(
    version.rootEpoch >= 1 && version.rootEpoch <= EPOCH_MAX && version.version >= 1,
    'a manifest version out of range',
  )
}

/** Everything but `conv`, which a link item leaves 0. */
export function checkSubmission(submission: Submission): void {
  checkK(submission.k)
  ensure(submission.tag.length === TAG_BYTES, 'a tag of the wrong length')
  ensure(
    submission.kind >= KIND_CONTENT && submission.kind <= KIND_SUPPLEMENT,
    `a submission of kind ${submission.kind}`,
  )
  ensure(submission.kind !== KIND_SKIP || submission.parts.length === 0, 'a skip with parts')
  ensureAtMost(submission.parts.length, PARTS_MAX, 'parts')
  ensureAtMost(submission.encryptedFor.length, PARTS_MAX, 'manifest versions')
  let size = HEADER_BYTES + 2
  for (const part of submission.parts) {
    checkPart(part)
    size += PART_OVERHEAD_BYTES + part.body.length
  }
  if (size > ENTRY_MAX_BYTES) {
    throw new ParleyError('too_large', 'submission over the limit of an entry', {
      limit: `${ENTRY_MAX_BYTES}`,
      size: `${size}`,
    })
  }
  for (const version of submission.encryptedFor) checkManifestVersion(version)
}

/** Which version of which register: what an acknowledgement says. */
export function checkRegisterName(register: RegisterUpdate): void {
  const { kind, version, device } = register
  ensure(kind === REGISTER_DELIVERED || kind === REGISTER_READ, `a register of kind ${kind}`)
  ensure(device <= DEVICE_NUMBER_MAX, 'a register of no possible device')
  checkPlace(Number(version >> 32n), Number(version & 0xffff_ffffn))
}

/** Everything but `conv`. */
export function checkRegister(register: RegisterUpdate): void {
  checkRegisterName(register)
  const { kind, body, device } = register
  if (kind === REGISTER_DELIVERED) {
    ensure(body.length === 0 && device === 0, 'a delivered mark with a body or a device')
    return
  }
  if (body.length > REGISTER_BODY_MAX_BYTES) {
    throw new ParleyError('too_large', 'register over the limit', {
      limit: `${REGISTER_BODY_MAX_BYTES}`,
      size: `${body.length}`,
    })
  }
  ensure(body.length > 0 && device >= 1, 'a read mark without a body or a device')
}

export function checkRefusal(refusal: Refusal): void {
  ensure(refusal.code.length > 0 && refusal.code.length <= REFUSAL_CODE_MAX_CHARS, 'a refusal without a code')
  ensure(refusal.message.length <= REFUSAL_TEXT_MAX_CHARS, 'a refusal of too many words')
  const facts = Object.entries(refusal.facts)
  ensureAtMost(facts.length, REFUSAL_FACTS_MAX, 'facts')
  for (const [name, value] of facts)
    ensure(name.length <= REFUSAL_CODE_MAX_CHARS && value.length <= REFUSAL_TEXT_MAX_CHARS, 'a fact too long')
}

export function checkStale(stale: StaleManifests): void {
  ensure(stale.code === 'stale_manifest' || stale.code === 'stale_membership', 'stale for an unknown reason')
  ensureAtMost(stale.newest.length, PARTS_MAX, 'manifest versions')
  for (const version of stale.newest) checkManifestVersion(version)
}

/** Both halves are there; `openHomeRecord` verifies them. */
export function checkHomeRecordShape(record: HomeRecord): void {
  ensure(
    record.head !== undefined && record.countersignature !== undefined,
    'home record without head or countersignature',
  )
}

/** Each an entry; ascending and dense, a new epoch beginning at 1. The hash of the last one may be left out. */
export function checkRun(entries: readonly Uint8Array[], headHash: Uint8Array): void {
  ensure(headHash.length === HASH_BYTES || headHash.length === 0, 'a head hash of the wrong length')
  let previous: Uint8Array | undefined
  for (const entry of entries) {
    checkEntry(entry)
    if (previous) {
      const [before, here] = [entryPosition(previous), entryPosition(entry)]
      const next = epochOf(here) === epochOf(before) ? here === before + 1 : here > before && nOf(here) === 1
      ensure(next, 'entries that do not follow each other')
    }
    previous = entry
  }
}
