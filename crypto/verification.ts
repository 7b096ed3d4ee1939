// Comparing two people's ids. An id is the hash of the person's root key, so two equal ids are the whole verification,
// and it survives new devices. Read aloud: 60 digits, 30 from each id. Scanned: both ids in a QR code.
import { hash } from 'node:crypto'
import { renderUnicodeCompact } from 'uqr'
import { compareIds, ensureUserId, ParleyError, type UserId, userIdBytes } from '#protocol'
import { SCAN_MAX_CHARS } from './limits.ts'

const CONTEXT = Buffer.from('parley/verify/v1\0')
const CHUNKS = 6
const CHUNK_BYTES = 5
const GROUP_DIGITS = 5
/** Upper case: with bech32m and these marks all of it is in the alphabet that QR codes hold densely. */
const QR_PREFIX = 'PARLEY:VERIFY:1'

function groupsOf(id: UserId): string[] {
  const digest = hash('sha512', Buffer.concat([CONTEXT, userIdBytes(id)]), 'buffer')
  return Array.from({ length: CHUNKS }, (_, i) =>
    `${digest.readUIntBE(i * CHUNK_BYTES, CHUNK_BYTES) % 10 ** GROUP_DIGITS}`.padStart(GROUP_DIGITS, '0'),
  )
}

/** Twelve groups of five digits, the same for both sides. `bad_argument` for one id twice. */
export function comparisonDigits(a: UserId, b: UserId): string[] {
  if (a === b) throw new ParleyError('bad_argument', 'comparing needs two people')
  const [first, second] = compareIds(a, b) < 0 ? [a, b] : [b, a]
  return [...groupsOf(first), ...groupsOf(second)]
}

/** What `me` shows so that `them` can scan it. */
export function verificationPayload(me: UserId, them: UserId): string {
  return `${QR_PREFIX}:${me}:${them}`.toUpperCase()
}

/** Text for a terminal: half blocks, two rows a line, light on dark or dark on light both scan. */
export function verificationQr(me: UserId, them: UserId): string {
  return renderUnicodeCompact(verificationPayload(me, them), { ecc: 'L', border: 2 })
}

/** `shownBy`: whose screen it was; `about`: whom that screen takes the reader to be. */
export type Scan = { readonly shownBy: UserId; readonly about: UserId }

/** `malformed` for what is no such code, `bad_id` for one with a broken id. */
export function parseScan(text: string): Scan {
  const fields = text.length > SCAN_MAX_CHARS ? [] : text.trim().toUpperCase().split(':')
  if (fields.length !== 5 || fields.slice(0, 3).join(':') !== QR_PREFIX) {
    throw new ParleyError('malformed', 'not a verification code')
  }
  return { shownBy: ensureUserId(fields[3]!), about: ensureUserId(fields[4]!) }
}

/**
 * Whether a scan proves that `them` is who they say, and that they know `me` by the right id. A code that speaks of
 * other people is `conflict`, with what was seen in the facts.
 */
export function checkScan(scan: Scan, me: UserId, them: UserId): void {
  if (scan.shownBy !== them) {
    throw new ParleyError('conflict', 'this code is of somebody else than the contact', { shownBy: scan.shownBy })
  }
  if (scan.about !== me) {
    throw new ParleyError('conflict', 'the contact knows you by another id', { about: scan.about })
  }
}
