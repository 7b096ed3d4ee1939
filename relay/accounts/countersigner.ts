// What makes a region's word: its operational key and the grant that lets it speak.
import {
  countersign,
  type Grant,
  type Home,
  openHomeRecord,
  type RegionId,
  type SignedRecord,
  type SigningKey,
} from '#protocol'
import { COUNTERSIGNED_FOR_MS } from '../limits.ts'

export type RegionKeys = { readonly regionId: RegionId; readonly operational: SigningKey; readonly grant: Grant }

/** Verifies the head and says "lives here" under it. Throws what is wrong with the head. */
export function countersignHead(head: SignedRecord, keys: RegionKeys, nowMs: number): Home {
  const record = countersign(head, keys.regionId, keys.operational, keys.grant, nowMs, nowMs + COUNTERSIGNED_FOR_MS)
  return openHomeRecord(record, nowMs)
}
