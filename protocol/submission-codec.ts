// Submissions by hand: they come in frames of devices and in items between nodes, and a device keeps its own.
import type { ManifestVersion, Part, Submission } from './gen/session_pb.ts'
import { FRAME_ITEMS_MAX } from './limits.ts'
import { ProtoReader } from './proto-reader.ts'
import { ProtoWriter, sizeOfBytes, sizeOfField } from './proto-writer.ts'

const NO_BYTES = new Uint8Array(0)

function readVersion(from: ProtoReader, end: number): ManifestVersion {
  const version: ManifestVersion = { $typeName: 'parley.v1.ManifestVersion', member: 0, rootEpoch: 0, version: 0 }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x08 || tag === 0x10 || tag === 0x18) seen = from.again(seen, tag >>> 3)
    if (tag === 0x08) version.member = from.uint32(end)
    else if (tag === 0x10) version.rootEpoch = from.uint32(end)
    else if (tag === 0x18) version.version = from.uint32(end)
    else from.other(tag, 3, end)
  }
  return version
}

function readPart(from: ProtoReader, end: number): Part {
  const part: Part = { $typeName: 'parley.v1.Part', member: 0, device: 0, body: NO_BYTES }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    if (tag === 0x08 || tag === 0x10) seen = from.again(seen, tag >>> 3)
    if (tag === 0x08) part.member = from.uint32(end)
    else if (tag === 0x10) part.device = from.uint32(end)
    else if (tag === 0x1a) {
      seen = from.again(seen, 3)
      part.body = from.view(end)
    } else from.other(tag, 3, end)
  }
  return part
}

export function readSubmission(from: ProtoReader, end: number): Submission {
  const submission: Submission = {
    $typeName: 'parley.v1.Submission',
    conv: 0,
    k: 0,
    tag: NO_BYTES,
    rev: 0,
    kind: 0,
    membershipVersion: 0,
    encryptedFor: [],
    parts: [],
  }
  let seen = 0
  while (from.at < end) {
    const tag = from.tag(end)
    switch (tag) {
      case 0x08:
        seen = from.again(seen, 1)
        submission.conv = from.uint32(end)
        break
      case 0x10:
        seen = from.again(seen, 2)
        submission.k = from.uint32(end)
        break
      case 0x1a:
        seen = from.again(seen, 3)
        submission.tag = from.view(end)
        break
      case 0x20:
        seen = from.again(seen, 4)
        submission.rev = from.uint32(end)
        break
      case 0x28:
        seen = from.again(seen, 5)
        submission.kind = from.uint32(end)
        break
      case 0x30:
        seen = from.again(seen, 6)
        submission.membershipVersion = from.uint32(end)
        break
      case 0x3a:
        from.count()
        submission.encryptedFor.push(readVersion(from, from.end(end)))
        break
      case 0x42:
        from.count()
        submission.parts.push(readPart(from, from.end(end)))
        break
      default:
        from.other(tag, 8, end)
    }
  }
  return submission
}

const sizeOfVersion = (version: ManifestVersion): number =>
  sizeOfField(version.member) + sizeOfField(version.rootEpoch) + sizeOfField(version.version)

const sizeOfPart = (part: Part): number =>
  sizeOfField(part.member) + sizeOfField(part.device) + (part.body.length === 0 ? 0 : sizeOfBytes(part.body.length))

/** Bytes of the message itself, without a tag and a length around it. */
export function sizeOfSubmission(submission: Submission): number {
  let size =
    sizeOfField(submission.conv) +
    sizeOfField(submission.k) +
    (submission.tag.length === 0 ? 0 : sizeOfBytes(submission.tag.length)) +
    sizeOfField(submission.rev) +
    sizeOfField(submission.kind) +
    sizeOfField(submission.membershipVersion)
  for (const version of submission.encryptedFor) size += sizeOfBytes(sizeOfVersion(version))
  for (const part of submission.parts) size += sizeOfBytes(sizeOfPart(part))
  return size
}

/** A field with the message in it. */
export function writeSubmission(to: ProtoWriter, tag: number, submission: Submission): void {
  const size = sizeOfSubmission(submission)
  to.room(sizeOfBytes(size))
  to.begin(tag, size)
  writeFields(to, submission)
}

/** Room has been made. */
function writeFields(to: ProtoWriter, submission: Submission): void {
  to.field(0x08, submission.conv)
  to.field(0x10, submission.k)
  to.bytes(0x1a, submission.tag)
  to.field(0x20, submission.rev)
  to.field(0x28, submission.kind)
  to.field(0x30, submission.membershipVersion)
  for (const version of submission.encryptedFor) {
    to.begin(0x3a, sizeOfVersion(version))
    to.field(0x08, version.member)
    to.field(0x10, version.rootEpoch)
    to.field(0x18, version.version)
  }
  for (const part of submission.parts) {
    to.begin(0x42, sizeOfPart(part))
    to.field(0x08, part.member)
    to.field(0x10, part.device)
    to.bytes(0x1a, part.body)
  }
}

const alone = new ProtoWriter()

/** One that stands alone. */
export function packSubmission(submission: Submission): Uint8Array {
  alone.room(sizeOfSubmission(submission))
  writeFields(alone, submission)
  return alone.done()
}

/** Fields of bytes are views into `bytes`. */
export function unpackSubmission(bytes: Uint8Array): Submission {
  return readSubmission(new ProtoReader(bytes, FRAME_ITEMS_MAX), bytes.length)
}
