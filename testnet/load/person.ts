// People of a load: real accounts with one device each, registered over HTTP like anybody's.
import { toBinary } from '@bufbuild/protobuf'
import { createAccount, deviceSigningKey } from '#crypto'
import {
  decode,
  type HomeRecord,
  HomeRecordSchema,
  limits,
  openManifest,
  openRegionRecord,
  ParleyError,
  type RegionId,
  type SignedRecord,
  SignedRecordSchema,
  type SigningKey,
  signingKey,
  systemClock,
  systemRandom,
  type UserId,
} from '#protocol'

/** A relay as its clients see it. */
export type Target = { readonly origin: string; readonly regionId: RegionId }

export type Person = {
  readonly userId: UserId
  readonly target: Target
  readonly deviceKey: SigningKey
  readonly manifestHash: Uint8Array
  readonly homeRecord: HomeRecord
  /** Of the last sign-in. */
  counter: bigint
}

const base64 = (record: SignedRecord): string => Buffer.from(toBinary(SignedRecordSchema, record)).toString('base64')

async function answerOf(response: Response): Promise<Record<string, string>> {
  const text = await response.text()
  if (!response.ok) throw new ParleyError('unreachable', `${response.url}: ${response.status} ${text.slice(0, 300)}`)
  return JSON.parse(text)
}

export async function targetAt(origin: string): Promise<Target> {
  const { record } = await answerOf(await fetch(`${origin}/v1/region`))
  const bytes = Buffer.from(record ?? '', 'base64')
  const region = openRegionRecord(decode(SignedRecordSchema, bytes, 2 * limits.RECORD_MAX_BYTES), systemClock.now())
  return { origin, regionId: region.regionId }
}

export async function registerPerson(target: Target): Promise<Person> {
  const { origin, regionId } = target
  const root = signingKey(systemRandom.bytes(32))
  const made = createAccount(root, { homeRegion: regionId, fallbackRegions: [] }, systemRandom)
  const body = JSON.stringify({ manifest: base64(made.manifest), head: base64(made.head) })
  const headers = { 'content-type': 'application/json' }
  const { homeRecord } = await answerOf(await fetch(`${origin}/v1/accounts`, { method: 'POST', headers, body }))
  return {
    userId: made.account.userId,
    target,
    deviceKey: deviceSigningKey(made.device),
    manifestHash: openManifest(made.manifest, systemClock.now()).hash,
    homeRecord: decode(HomeRecordSchema, Buffer.from(homeRecord ?? '', 'base64'), limits.HOME_RECORD_MAX_BYTES),
    counter: 0n,
  }
}
