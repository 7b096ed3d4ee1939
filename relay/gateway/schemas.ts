// Shapes of the HTTP API.
import Type from 'typebox'
import { limits } from '#protocol'
import { HTTP_BODY_MAX_BYTES } from '../limits.ts'

const base64 = (description: string, maxBytes: number) =>
  Type.String({ description, maxLength: 4 * Math.ceil(maxBytes / 3), pattern: '^[A-Za-z0-9+/]*={0,2}$' })

/** A record with its keys, grant and signatures around the payload. */
const RECORD_WHOLE_MAX_BYTES = 2 * limits.RECORD_MAX_BYTES

export const signedRecord = (what: string) => base64(`${what}: SignedRecord`, RECORD_WHOLE_MAX_BYTES)
export const text = (description: string) => Type.String({ description })
export const count = (description: string) => Type.Integer({ description, minimum: 0 })

export const AccountBody = Type.Object({
  manifest: signedRecord('ManifestBody'),
  head: signedRecord('HomeBody'),
  former: Type.Optional(
    Type.Object({
      region: Type.String({ description: 'parleyr1…, of somebody who moves here: where they lived', maxLength: 70 }),
      gone: Type.Boolean({ description: 'it will not answer any more: what only it had is given up' }),
    }),
  ),
})
export const HomeRecordAnswer = Type.Object({ homeRecord: text('HomeRecord, countersigned by this region') })
export const UserParams = Type.Object({ userId: Type.String({ description: 'parley1…', maxLength: 70 }) })
export const DeviceParams = Type.Object({
  userId: Type.String({ description: 'parley1…', maxLength: 70 }),
  number: Type.Integer({ minimum: 1, maximum: limits.DEVICE_NUMBER_MAX }),
})
export const RecordsAnswer = Type.Object({
  homeRecord: text('HomeRecord'),
  manifest: text('SignedRecord: ManifestBody'),
})
export const PrekeysBody = Type.Object({ prekeys: base64('SignedPrekeys', HTTP_BODY_MAX_BYTES) })
export const CountsAnswer = Type.Object({
  oneTime: count('one-time EC prekeys left'),
  oneTimeKyber: count('one-time Kyber prekeys left'),
})
export const BundleAnswer = Type.Object({ bundle: text('PrekeyBundle') })
export const ConversationParams = Type.Object({ convId: Type.String({ description: 'parleyc1…', maxLength: 70 }) })
export const EntriesQuery = Type.Object({
  after: Type.String({ description: 'epoch.n', default: '0.0', pattern: '^[0-9]{1,10}\\.[0-9]{1,10}$' }),
})
export const EntriesAnswer = Type.Object({
  entries: Type.Array(text('header and the parts for this device')),
  head: text('epoch.n of the newest entry'),
})
export const HealthAnswer = Type.Object({
  status: Type.String({ description: 'ok, or trouble' }),
  trouble: Type.Optional(text('what is wrong')),
  timeMs: Type.Number(),
})
export const RegionAnswer = Type.Object({
  regionId: text('parleyr1…'),
  name: text('what the operator calls it'),
  record: text('SignedRecord: RegionBody; empty before the first one is made'),
  timeMs: Type.Number({ description: 'this node’s clock' }),
})
