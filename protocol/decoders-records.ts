// Decoders of signed records. Changed bytes are signed again by whoever signed them first: behind a signature stands
// somebody with a key, who may be hostile.
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { sha256 } from './chain.ts'
import { type Context, signUnder } from './contexts.ts'
import type { Decoder } from './decoder.ts'
import type { SigningKey } from './ed25519.ts'
import {
  type Cast,
  certificateRecord,
  homeRecord,
  manifestOf,
  manifestRecord,
  NOW_MS,
  regionRecord,
} from './fixtures.ts'
import {
  CountersignatureBodySchema,
  HomeRecordSchema,
  SignedPrekeysSchema,
  type SignedRecord,
  SignedRecordSchema,
} from './gen/records_pb.ts'
import { openClosed, openHostRegister, readHostRegister } from './host-registers.ts'
import {
  ENVELOPE_MAX_BYTES,
  HOME_RECORD_MAX_BYTES,
  HOST_REGISTER_MAX_BYTES,
  MANIFEST_MAX_BYTES,
  PREKEYS_MAX_BYTES,
  RECORD_MAX_BYTES,
} from './limits.ts'
import { openPrekeys } from './prekeys.ts'
import { openHomeRecord, openManifest } from './records.ts'
import { openNodeCertificate, openRegionRecord } from './region-records.ts'
import { bytesOf } from './vector-file.ts'
import { closedRecord, hostRegisterOf } from './vector-moves.ts'
import { prekeyVectors } from './vector-regions.ts'
import { decode } from './wire.ts'

const RECORD_WHOLE_MAX_BYTES = 2 * RECORD_MAX_BYTES

/** What is no such message stays as it is. */
export function changed<T extends DescMessage>(
  schema: T,
  bytes: Uint8Array,
  change: (message: MessageShape<T>) => MessageShape<T>,
): Uint8Array {
  let message: MessageShape<T>
  try {
    message = fromBinary(schema, bytes)
  } catch {
    return bytes
  }
  return toBinary(schema, change(message))
}

const signedAgain = (record: SignedRecord, context: Context, key: SigningKey): SignedRecord =>
  create(SignedRecordSchema, {
    ...record,
    publicKey: key.publicKey,
    signature: signUnder(context, record.payload, key),
  })

type Opened = { readonly record: SignedRecord }

function recordDecoder<T extends Opened>(
  name: string,
  file: string,
  of: {
    maxBytes: number
    examples: () => readonly SignedRecord[]
    open: (record: SignedRecord, nowMs: number) => T
    context: Context
    key: SigningKey
  },
): Decoder<T> {
  const { maxBytes, examples, open, context, key } = of
  const write = (record: SignedRecord): Uint8Array => toBinary(SignedRecordSchema, record)
  const good = examples()
  return {
    name: `protocol/${name}`,
    covers: [`${file} ${name}`, 'chain.ts openRecord'],
    maxBytes,
    examples: () => good.map(write),
    decode: (bytes) => open(decode(SignedRecordSchema, bytes, RECORD_WHOLE_MAX_BYTES), NOW_MS),
    encode: ({ record }) => write(record),
    mend: (bytes) =>
      changed(SignedRecordSchema, bytes, (record) => signedAgain({ ...record, grant: good[0]!.grant! }, context, key)),
  }
}

function homeDecoder({ ana, north }: Cast): Decoder<ReturnType<typeof openHomeRecord>> {
  const good = homeRecord(ana)
  return {
    name: 'protocol/openHomeRecord',
    covers: ['records.ts openHomeRecord'],
    maxBytes: HOME_RECORD_MAX_BYTES,
    examples: () => [toBinary(HomeRecordSchema, good)],
    decode: (bytes) => openHomeRecord(decode(HomeRecordSchema, bytes, RECORD_WHOLE_MAX_BYTES), NOW_MS),
    encode: ({ record }) => toBinary(HomeRecordSchema, record),
    mend: (bytes) =>
      changed(HomeRecordSchema, bytes, (record) => {
        const head = signedAgain({ ...good.head!, ...record.head, grant: ana.grant }, 'parley/home/v1', ana.manifestKey)
        const payload = changed(
          CountersignatureBodySchema,
          record.countersignature?.payload ?? new Uint8Array(0),
          (body) => ({
            ...body,
            headHash: sha256(head.payload),
          }),
        )
        const draft = { ...good.countersignature!, grant: north.grant, payload }
        const countersignature = signedAgain(draft, 'parley/countersignature/v1', north.operational)
        return create(HomeRecordSchema, { head, countersignature })
      }),
  }
}

function prekeysDecoder(cast: Cast): Decoder<ReturnType<typeof openPrekeys>> {
  const { ana } = cast
  const manifest = manifestOf(ana)
  const owner = { userId: manifest.userId, device: manifest.devices[0]! }
  return {
    name: 'protocol/openPrekeys',
    covers: ['prekeys.ts openPrekeys'],
    maxBytes: PREKEYS_MAX_BYTES + ENVELOPE_MAX_BYTES,
    examples: () =>
      prekeyVectors(cast)
        .cases.filter((vector) => !vector.error)
        .map(bytesOf),
    decode: (bytes) =>
      openPrekeys(decode(SignedPrekeysSchema, bytes, PREKEYS_MAX_BYTES + ENVELOPE_MAX_BYTES), owner, NOW_MS),
    mend: (bytes) =>
      changed(SignedPrekeysSchema, bytes, (record) => ({
        ...record,
        signature: signUnder('parley/prekeys/v1', record.payload, ana.device),
      })),
  }
}

export function recordDecoders(cast: Cast): Decoder[] {
  const { ana, north, south } = cast
  return [
    recordDecoder('openManifest', 'records.ts', {
      maxBytes: MANIFEST_MAX_BYTES + ENVELOPE_MAX_BYTES,
      examples: () => [manifestRecord(ana)],
      open: openManifest,
      context: 'parley/manifest/v1',
      key: ana.manifestKey,
    }),
    homeDecoder(cast),
    recordDecoder('openRegionRecord', 'region-records.ts', {
      maxBytes: RECORD_MAX_BYTES + ENVELOPE_MAX_BYTES,
      examples: () => [regionRecord(north)],
      open: openRegionRecord,
      context: 'parley/region-record/v1',
      key: north.operational,
    }),
    recordDecoder('openNodeCertificate', 'region-records.ts', {
      maxBytes: RECORD_MAX_BYTES + ENVELOPE_MAX_BYTES,
      examples: () => [certificateRecord(north)],
      open: openNodeCertificate,
      context: 'parley/node/v1',
      key: north.operational,
    }),
    recordDecoder('openClosed', 'host-registers.ts', {
      maxBytes: RECORD_MAX_BYTES + ENVELOPE_MAX_BYTES,
      examples: () => [closedRecord(cast, north)],
      open: openClosed,
      context: 'parley/closed/v1',
      key: north.operational,
    }),
    recordDecoder('openHostRegister', 'host-registers.ts', {
      maxBytes: HOST_REGISTER_MAX_BYTES + ENVELOPE_MAX_BYTES,
      examples: () => [hostRegisterOf(cast, [closedRecord(cast, north)])],
      open: openHostRegister,
      context: 'parley/host-register/v1',
      key: south.operational,
    }),
    {
      name: 'protocol/readHostRegister',
      covers: ['host-registers.ts readHostRegister'],
      maxBytes: HOST_REGISTER_MAX_BYTES,
      examples: () => [hostRegisterOf(cast, [closedRecord(cast, north)]).payload],
      decode: (bytes) => readHostRegister(bytes, NOW_MS),
    },
    prekeysDecoder(cast),
  ]
}
