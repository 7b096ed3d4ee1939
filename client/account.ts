// What a profile keeps about its own account, in the table `self`.
import { toBinary } from '@bufbuild/protobuf'
import {
  type AccountKeys,
  type DeviceKeys,
  packAccountKeys,
  packDeviceKeys,
  unpackAccountKeys,
  unpackDeviceKeys,
} from '#crypto'
import {
  decode,
  limits,
  type Manifest,
  openManifest,
  ParleyError,
  type Region,
  RegionBodySchema,
  SignedRecordSchema,
  type UserId,
} from '#protocol'
import { readRegion, regionBytes } from './regions.ts'
import type { DbReader, DbWriter, DeviceDb } from './rules/schema.ts'

const RECORD_WHOLE_MAX_BYTES = 2 * limits.RECORD_MAX_BYTES
const COUNTER_BYTES = 8

export type SelfName =
  | 'device'
  | 'account'
  | 'manifest'
  | 'head'
  | 'region'
  | 'bootstrap'
  | 'counter'
  | 'came-home'
  | 'replaced'
  | 'pending'
  | 'resend'

/** One of this account's own contents, to be said again by its new device. */
/** `k`: what it had on the device that stopped counting. */
export type Resend = {
  readonly to: UserId
  readonly k: number
  readonly kind: 'text' | 'data'
  readonly body: Uint8Array
}

export function readSelf(db: DbReader, name: SelfName): Uint8Array | undefined {
  return db.get('self', [name])?.value
}

function needSelf(db: DbReader, name: SelfName): Uint8Array {
  const value = readSelf(db, name)
  if (!value)
    throw new ParleyError('no_such_profile', 'this profile holds no account: it was not created to the end', {
      missing: name,
    })
  return value
}

export function putSelf(tx: DbWriter, name: SelfName, value: Uint8Array): void {
  tx.put('self', { name, value })
}

export const readDevice = (db: DbReader): DeviceKeys => unpackDeviceKeys(needSelf(db, 'device'))
export const readAccount = (db: DbReader): AccountKeys => unpackAccountKeys(needSelf(db, 'account'))

export function readOwnManifest(db: DbReader, nowMs: number): Manifest {
  return openManifest(decode(SignedRecordSchema, needSelf(db, 'manifest'), RECORD_WHOLE_MAX_BYTES), nowMs)
}

/**
 * The home region's record. One that has expired meanwhile still shows the way in: who answers there has to prove that it
 * is the region.
 */
export function readHomeRegion(db: DbReader, nowMs: number): Region {
  const bytes = needSelf(db, 'region')
  try {
    return readRegion(bytes, nowMs)
  } catch (error) {
    if (!(error instanceof ParleyError) || error.code !== 'expired') throw error
    const record = decode(SignedRecordSchema, bytes, RECORD_WHOLE_MAX_BYTES)
    return readRegion(bytes, Number(decode(RegionBodySchema, record.payload, limits.RECORD_MAX_BYTES).notAfterMs))
  }
}

export function putRegion(tx: DbWriter, region: Region): void {
  putSelf(tx, 'region', regionBytes(region))
}

export function readBootstraps(db: DbReader): string[] {
  const value = readSelf(db, 'bootstrap')
  return value ? (JSON.parse(Buffer.from(value).toString()) as string[]) : []
}

export function putBootstraps(tx: DbWriter, urls: readonly string[]): void {
  putSelf(tx, 'bootstrap', new Uint8Array(Buffer.from(JSON.stringify(urls))))
}

/** Stored before it is used: a counter that was used before is how a home recognises an old copy. */
export function raiseCounter(db: DeviceDb): bigint {
  return db.transaction((tx) => {
    const last = readSelf(tx, 'counter')
    const next = last ? Buffer.from(last).readBigUInt64BE() + 1n : 1n
    const value = Buffer.alloc(COUNTER_BYTES)
    value.writeBigUInt64BE(next)
    putSelf(tx, 'counter', new Uint8Array(value))
    return next
  })
}

export type OwnRecords = {
  readonly device: DeviceKeys
  readonly account: AccountKeys
  readonly manifest: Parameters<typeof openManifest>[0]
  readonly head: Parameters<typeof openManifest>[0]
}

export function putOwn(tx: DbWriter, { device, account, manifest, head }: OwnRecords): void {
  putSelf(tx, 'device', packDeviceKeys(device))
  putSelf(tx, 'account', packAccountKeys(account))
  putSelf(tx, 'manifest', toBinary(SignedRecordSchema, manifest))
  putSelf(tx, 'head', toBinary(SignedRecordSchema, head))
}

export function readOwnHead(db: DbReader): Parameters<typeof openManifest>[0] {
  return decode(SignedRecordSchema, needSelf(db, 'head'), RECORD_WHOLE_MAX_BYTES)
}

export function packResends(items: readonly Resend[]): Uint8Array {
  const plain = items.map(({ to, k, kind, body }) => ({ to, k, kind, body: Buffer.from(body).toString('base64') }))
  return new Uint8Array(Buffer.from(JSON.stringify(plain)))
}

export function readResends(db: DbReader): Resend[] {
  const value = readSelf(db, 'resend')
  if (!value) return []
  const plain = JSON.parse(Buffer.from(value).toString()) as {
    to: UserId
    k: number
    kind: 'text' | 'data'
    body: string
  }[]
  return plain.map(({ to, k, kind, body }) => ({ to, k, kind, body: new Uint8Array(Buffer.from(body, 'base64')) }))
}
