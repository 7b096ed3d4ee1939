// The two kinds of records that the directory holds, seen alike: bytes, id, place in the order, expiry.
import { toBinary } from '@bufbuild/protobuf'
import {
  compareVersions,
  decode,
  type Home,
  HomeRecordSchema,
  limits,
  openHomeRecord,
  openRegionRecord,
  type Region,
  type RegionId,
  regionIdBytes,
  regionIdOf,
  SignedRecordSchema,
  sha256,
  type UserId,
  userIdBytes,
  userIdOf,
} from '#protocol'
import type { RecordKind } from './types.ts'

/** A record's head, countersignature and grants, each within its own limit. */
export const RECORD_BYTES_MAX = 2 * limits.RECORD_MAX_BYTES

/** A verified record together with its bytes. */
export type Entry = {
  readonly kind: RecordKind
  /** Text form of the id. */
  readonly id: string
  readonly rootEpoch: number
  readonly version: number
  /** SHA-256 of the signed payload, as Latin-1: equal versions must have equal ones. */
  readonly hash: string
  readonly notAfterMs: number
  readonly bytes: Uint8Array
} & ({ readonly kind: 'home'; readonly home: Home } | { readonly kind: 'region'; readonly region: Region })

const hashText = (payload: Uint8Array): string => Buffer.from(sha256(payload)).toString('latin1')

export function homeEntry(home: Home, bytes: Uint8Array = toBinary(HomeRecordSchema, home.record)): Entry {
  const { userId: id, rootEpoch, version, notAfterMs } = home
  return { kind: 'home', id, rootEpoch, version, notAfterMs, hash: hashText(home.record.head!.payload), bytes, home }
}

export function regionEntry(region: Region, bytes: Uint8Array = toBinary(SignedRecordSchema, region.record)): Entry {
  const { regionId: id, rootEpoch, version, notAfterMs } = region
  return { kind: 'region', id, rootEpoch, version, notAfterMs, hash: hashText(region.record.payload), bytes, region }
}

/** Verifies; throws the ParleyError of what is wrong. */
export function openEntry(kind: RecordKind, bytes: Uint8Array, nowMs: number): Entry {
  if (kind === 'home') return homeEntry(openHomeRecord(decode(HomeRecordSchema, bytes, RECORD_BYTES_MAX), nowMs), bytes)
  return regionEntry(openRegionRecord(decode(SignedRecordSchema, bytes, RECORD_BYTES_MAX), nowMs), bytes)
}

export const idBytes = (kind: RecordKind, id: string): Uint8Array =>
  kind === 'home' ? userIdBytes(id as UserId) : regionIdBytes(id as RegionId)

export const idText = (kind: RecordKind, bytes: Uint8Array): string =>
  kind === 'home' ? userIdOf(bytes) : regionIdOf(bytes)

/** What decides between two verified records of one id: all that a floor keeps. */
export type Standing = Pick<Entry, 'rootEpoch' | 'version' | 'hash' | 'notAfterMs'>

/** How `a` stands to `b`: by version, then by the later not-after; another record of one version is a `conflict`. */
export function standingOf(a: Standing, b: Standing): 'newer' | 'same' | 'older' | 'conflict' {
  const order = compareVersions(a, b)
  if (order !== 0) return order > 0 ? 'newer' : 'older'
  if (a.hash !== b.hash) return 'conflict'
  if (a.notAfterMs === b.notAfterMs) return 'same'
  return a.notAfterMs > b.notAfterMs ? 'newer' : 'older'
}
