// The chain behind everything that is signed: the id is the hash of the root key, the root key granted the signing key for
// a purpose, and both signatures hold over the bytes as received.
import { hash } from 'node:crypto'
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { type Context, signUnder, verifyUnder } from './contexts.ts'
import type { SigningKey } from './ed25519.ts'
import {
  type Grant,
  type GrantBody,
  type GrantBody_Purpose,
  GrantBodySchema,
  GrantSchema,
  type SignedRecord,
  SignedRecordSchema,
} from './gen/records_pb.ts'
import { CLOCK_SKEW_MS, EPOCH_MAX, RECORD_MAX_BYTES } from './limits.ts'
import { ParleyError } from './refusals.ts'
import { decode, ensureSize } from './wire.ts'

/** Root epoch first, then version: the order of everything that is signed, floors included. */
export type Version = { readonly rootEpoch: number; readonly version: number }

export function compareVersions(a: Version, b: Version): number {
  return a.rootEpoch - b.rootEpoch || a.version - b.version
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', bytes, 'buffer'))
}

export function grant(body: GrantBody, rootKey: SigningKey): Grant {
  const payload = toBinary(GrantBodySchema, body)
  return create(GrantSchema, {
    rootKey: rootKey.publicKey,
    payload,
    signature: signUnder('parley/grant/v1', payload, rootKey),
  })
}

export function signRecord(context: Context, payload: Uint8Array, key: SigningKey, by: Grant): SignedRecord {
  return create(SignedRecordSchema, {
    payload,
    publicKey: key.publicKey,
    grant: by,
    signature: signUnder(context, payload, key),
  })
}

/** Past its not-after by more than two honest clocks may differ. */
export function hasExpired(notAfterMs: number | bigint, nowMs: number): boolean {
  return Number(notAfterMs) + CLOCK_SKEW_MS < nowMs
}

/**
 * The same message in memory of its own. What was decoded is a view into the frame that brought it; a record that is kept
 * would otherwise keep a whole frame alive. Throws `too_large` above the limit.
 */
export function ownCopy<T extends DescMessage>(
  schema: T,
  message: MessageShape<T>,
  limitBytes: number,
): MessageShape<T> {
  const bytes = toBinary(schema, message)
  ensureSize(schema.typeName, bytes, limitBytes)
  return fromBinary(schema, bytes)
}

function openGrant(by: Grant | undefined, purpose: GrantBody_Purpose, nowMs: number): GrantBody {
  if (!by) throw new ParleyError('not_granted', 'record without a grant')
  const body = decode(GrantBodySchema, by.payload, RECORD_MAX_BYTES)
  if (!verifyUnder('parley/grant/v1', by.payload, by.rootKey, by.signature)) {
    throw new ParleyError('bad_signature', 'the grant is not signed by its root key')
  }
  if (body.purpose !== purpose) throw new ParleyError('not_granted', 'the grant is for another purpose')
  if (body.rootEpoch < 1 || body.rootEpoch > EPOCH_MAX)
    throw new ParleyError('malformed', `root epoch ${body.rootEpoch}`)
  if (body.notAfterMs !== 0n && hasExpired(body.notAfterMs, nowMs)) {
    throw new ParleyError('expired', 'the grant has expired')
  }
  return body
}

/** The grant behind a record, when everything about both holds but what the payload says. */
export function openRecord(
  context: Context,
  record: SignedRecord,
  purpose: GrantBody_Purpose,
  nowMs: number,
): GrantBody {
  ensureSize('record', record.payload, RECORD_MAX_BYTES)
  const granted = openGrant(record.grant, purpose, nowMs)
  if (Buffer.compare(granted.key, record.publicKey) !== 0)
    throw new ParleyError('not_granted', 'signed by a key that the root key did not grant')
  if (!verifyUnder(context, record.payload, record.publicKey, record.signature)) {
    throw new ParleyError('bad_signature', `the signature does not hold (${context})`)
  }
  return granted
}

export function ensureRoot(id: string, ofRoot: string): void {
  if (id !== ofRoot) throw new ParleyError('wrong_root', 'the id is not the hash of the root key', { id })
}

export function ensureEpoch(body: { rootEpoch: number; version?: number }, granted: GrantBody): void {
  if (body.rootEpoch !== granted.rootEpoch)
    throw new ParleyError('not_granted', 'record and grant are of different root epochs')
  if (body.version !== undefined && body.version < 1) throw new ParleyError('malformed', 'versions count from 1')
}
