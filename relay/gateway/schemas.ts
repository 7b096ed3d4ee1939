// Shapes of the HTTP API.
import { limits } from '#protocol'
import { array, boolean, integer, number, object, string } from '../json-schema.ts'
import { HTTP_BODY_MAX_BYTES } from '../limits.ts'

const base64 = (description: string, maxBytes: number) =>
  string({ description, maxLength: 4 * Math.ceil(maxBytes / 3), pattern: '^[A-Za-z0-9+/]*={0,2}$' })

/** A record with its keys, grant and signatures around the payload. */
const RECORD_WHOLE_MAX_BYTES = 2 * limits.RECORD_MAX_BYTES

export const signedRecord = (what: string) => base64(`${what}: SignedRecord`, RECORD_WHOLE_MAX_BYTES)
export const text = (description: string) => string({ description })
export const count = (description: string) => integer({ description, minimum: 0 })

const FormerHome = object({
  region: string({ description: 'parleyr1…, of somebody who moves here: where they lived', maxLength: 70 }),
  gone: boolean({ description: 'it will not answer any more: what only it had is given up' }),
})
export const AccountBody = object(
  { manifest: signedRecord('ManifestBody'), head: signedRecord('HomeBody') },
  { may: { former: FormerHome } },
)
export const HomeRecordAnswer = object({ homeRecord: text('HomeRecord, countersigned by this region') })
export const UserParams = object({ userId: string({ description: 'parley1…', maxLength: 70 }) })
export const DeviceParams = object({
  userId: string({ description: 'parley1…', maxLength: 70 }),
  number: integer({ minimum: 1, maximum: limits.DEVICE_NUMBER_MAX }),
})
export const RecordsAnswer = object({
  homeRecord: text('HomeRecord'),
  manifest: text('SignedRecord: ManifestBody'),
})
export const PrekeysBody = object({ prekeys: base64('SignedPrekeys', HTTP_BODY_MAX_BYTES) })
export const CountsAnswer = object({
  oneTime: count('one-time EC prekeys left'),
  oneTimeKyber: count('one-time Kyber prekeys left'),
})
export const BundleAnswer = object({ bundle: text('PrekeyBundle') })
export const ConversationParams = object({ convId: string({ description: 'parleyc1…', maxLength: 70 }) })
export const EntriesQuery = object({
  after: string({ description: 'epoch.n', default: '0.0', pattern: '^[0-9]{1,10}\\.[0-9]{1,10}$' }),
})
export const EntriesAnswer = object({
  entries: array(text('header and the parts for this device')),
  head: text('epoch.n of the newest entry'),
})
export const HealthAnswer = object(
  { status: text('ok, or trouble'), timeMs: number() },
  { may: { trouble: text('what is wrong') } },
)
export const RegionAnswer = object({
  regionId: text('parleyr1…'),
  name: text('what the operator calls it'),
  record: text('SignedRecord: RegionBody; empty before the first one is made'),
  timeMs: number({ description: 'this node’s clock' }),
})
