// The host's table (PROTOCOL, section 2): which submission gets the next number.
import {
  compareVersions,
  type DeviceKey,
  KIND_CONTENT,
  KIND_SKIP,
  KIND_SUPPLEMENT,
  limits,
  type Manifest,
  type Submission,
  type Version,
} from '#protocol'
import type { Author, Conversation } from './conversation.ts'
import type { Placed } from './window.ts'

export type HostOutcome =
  | { readonly do: 'append' }
  | { readonly do: 'duplicate'; readonly placed: Placed }
  | { readonly do: 'past'; readonly last: number }
  | { readonly do: 'behind'; readonly k: number }
  | { readonly do: 'stale'; readonly newest: readonly (Version & { readonly member: number })[] }
  | { readonly do: 'final'; readonly code: 'unsigned_device' | 'not_member' | 'malformed' | 'too_large' }

/** Newest manifest of a member that this host knows; undefined when it has none. */
export type ManifestOf = (member: number) => Manifest | undefined

export function isDeviceOf(manifest: Manifest, device: DeviceKey): boolean {
  for (const d of manifest.devices) {
    const same =
      d.number === device.device &&
      d.registrationEpoch === device.registrationEpoch &&
      d.registrationVersion === device.registrationVersion
    if (same) return true
  }
  return false
}

type Outdated = Version & { readonly member: number }

/** Whom the author encrypted for as they were before their devices changed: it has to encrypt again. */
function outdated(conv: Conversation, submission: Submission, manifestOf: ManifestOf): readonly Outdated[] {
  let newest: Outdated[] | undefined
  for (let member = 0; member < conv.members.length; member++) {
    const manifest = manifestOf(member)
    if (!manifest || isFor(submission, member, manifest)) continue
    newest ??= []
    newest.push({ member, rootEpoch: manifest.rootEpoch, version: manifest.version })
  }
  return newest ?? NONE
}

const NONE: readonly Outdated[] = []

function isFor(submission: Submission, member: number, { rootEpoch, devicesSince }: Manifest): boolean {
  const devices = { rootEpoch, version: devicesSince }
  for (const named of submission.encryptedFor) if (named.member === member) return compareVersions(named, devices) >= 0
  return false
}

function isForMembers(conv: Conversation, submission: Submission): boolean {
  for (const part of submission.parts) if (part.member >= conv.members.length) return false
  return true
}

function partsFit(submission: Submission): boolean {
  if (submission.parts.length > limits.PARTS_MAX) return false
  for (const part of submission.parts) if (part.body.length > limits.PART_MAX_BYTES) return false
  return true
}

export function hostTake(
  conv: Conversation,
  author: Author,
  submission: Submission,
  manifestOf: ManifestOf,
): HostOutcome {
  const { k } = submission
  if (k <= author.last) {
    const placed = author.window.get(k)
    return placed ? { do: 'duplicate', placed } : { do: 'past', last: author.last }
  }
  if (k > author.last + 1) return { do: 'behind', k: author.last + 1 }
  if (author.member >= conv.members.length) return { do: 'final', code: 'not_member' }
  const manifest = manifestOf(author.member)
  if (!manifest || !isDeviceOf(manifest, author)) return { do: 'final', code: 'unsigned_device' }
  // A skip is a header only, and any member may have one at any time: it is how a refused k is filled.
  if (submission.kind === KIND_SKIP) return { do: 'append' }
  if (submission.kind !== KIND_CONTENT && submission.kind !== KIND_SUPPLEMENT) return { do: 'final', code: 'malformed' }
  if (!isForMembers(conv, submission)) return { do: 'final', code: 'malformed' }
  if (!partsFit(submission)) return { do: 'final', code: 'too_large' }
  const newest = outdated(conv, submission, manifestOf)
  return newest.length > 0 ? { do: 'stale', newest } : { do: 'append' }
}
