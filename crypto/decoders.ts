// Every decoder of this folder, for the fuzzer.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  ContentSchema,
  convIdBytes,
  convIdOf,
  decode,
  limits,
  PrekeyBundleSchema,
  positionOf,
  type SigningKey,
  simulatedRandom,
  systemRandom,
} from '#protocol'
import { bytesOfText, type Decoder, textOf } from '#protocol/decoders'
import { readBundle } from './bundle.ts'
import { type Opened, packContent, type Sealable, unpackContent } from './content.ts'
import { packAccountKeys, packDeviceKeys, unpackAccountKeys, unpackDeviceKeys } from './key-file.ts'
import { CONTENT_OVERHEAD_BYTES, PHRASE_MAX_CHARS, SCAN_MAX_CHARS } from './limits.ts'
import { pad } from './padding.ts'
import { newRecoveryPhrase, rootKeyOfPhrase } from './recovery.ts'
import { openSessions } from './sessions.ts'
import { newStateKey, openReadMark, READ_REGISTER, sealReadMark, sealRegister } from './state-key.ts'
import { stagedKeyStorage } from './storage.ts'
import { acquainted, clock, newPerson, type Person } from './test-people.ts'
import { parseScan, type Scan, verificationPayload } from './verification.ts'

const PLACE = { convId: convIdOf(new Uint8Array(32).fill(9)), k: 7 }
const KEY_FILE_MAX_BYTES = 16 * 1024

const marked = (mark: number, bytes: Uint8Array): Uint8Array => new Uint8Array(Buffer.concat([Buffer.of(mark), bytes]))

/** What is changed begins with a byte that says whether the rest is taken as it is (0) or wrapped first. */
const wrapping =
  (wrap: (bytes: Uint8Array) => Uint8Array) =>
  (bytes: Uint8Array): Uint8Array =>
    bytes[0] === 0 ? bytes.subarray(1) : wrap(bytes.subarray(1))

function contents(): Sealable[] {
  const stateKey = new Uint8Array(32).fill(4)
  const seen = { at: positionOf(1, 2), hash: new Uint8Array(32).fill(5) }
  const text = { kind: 'text', text: 'Grüße, 世界 🌍' } as const
  const data = { kind: 'data', data: Uint8Array.of(0xff, 0) } as const
  return [
    { body: text, seen: undefined, stateKey },
    { body: data, seen, stateKey: undefined },
    { body: { kind: 'retry', at: positionOf(1, 3), k: 3 }, seen, stateKey: undefined },
    { body: { kind: 'again', k: 3, said: text, stateKey }, seen, stateKey: undefined },
    { body: { kind: 'again', k: 3, said: data, stateKey: undefined }, seen, stateKey: undefined },
    { body: { kind: 'again', k: 3, said: { kind: 'gone' }, stateKey: undefined }, seen, stateKey: undefined },
  ]
}

function packOpened({ body, seen, stateKey }: Opened): Uint8Array {
  if (body.kind !== 'unknown') return packContent(PLACE, { body, seen, stateKey })
  const known = packContent(PLACE, { body: { kind: 'data', data: new Uint8Array(0) }, seen, stateKey })
  const message = decode(ContentSchema, known.subarray(0, known.lastIndexOf(0x80)), known.length)
  return pad(toBinary(ContentSchema, create(ContentSchema, { ...message, body: { case: undefined } })))
}

const contentDecoder: Decoder<Opened> = {
  name: 'crypto/unpackContent',
  covers: ['content.ts unpackContent', 'padding.ts unpad'],
  maxBytes: limits.CONTENT_MAX_BYTES + CONTENT_OVERHEAD_BYTES,
  examples: () =>
    contents().flatMap((content) => {
      const packed = packContent(PLACE, content)
      return [marked(0, packed), marked(1, packed.subarray(0, packed.lastIndexOf(0x80)))]
    }),
  refusedExamples: () => [
    marked(1, toBinary(ContentSchema, create(ContentSchema, { convId: convIdBytes(PLACE.convId), k: 8 }))),
  ],
  wrap: wrapping(pad),
  decode: (bytes) => unpackContent(PLACE, bytes),
  encode: packOpened,
}

function readMarkDecoder({ userId }: Pick<Person['device'], 'userId'>): Decoder<number> {
  const key = newStateKey(simulatedRandom(1))
  const writer = { userId, device: 1, registrationEpoch: 1, registrationVersion: 1 }
  const where = { convId: PLACE.convId, member: 0 }
  const at = positionOf(1, 3)
  const name = { ...where, kind: READ_REGISTER, version: at }
  const sealed = sealReadMark(key, writer, where, at, simulatedRandom(2))
  const seal = (plain: Uint8Array): Uint8Array =>
    plain.length > 400 ? plain : sealRegister(key, writer, name, plain, simulatedRandom(2))
  return {
    name: 'crypto/openReadMark',
    covers: ['state-key.ts openReadMark', 'state-key.ts openRegister'],
    maxBytes: limits.REGISTER_BODY_MAX_BYTES,
    examples: () => [marked(0, sealed), marked(1, Uint8Array.of(8, 1, 16, 3))],
    wrap: wrapping(seal),
    decode: (bytes) => openReadMark([key], writer, where, at, bytes),
  }
}

const scanDecoder = (one: Person, other: Person): Decoder<Scan> => ({
  name: 'crypto/parseScan',
  covers: ['verification.ts parseScan'],
  maxBytes: SCAN_MAX_CHARS,
  examples: () => [bytesOfText(verificationPayload(one.device.userId, other.device.userId))],
  decode: (bytes) => parseScan(textOf(bytes)),
  encode: ({ shownBy, about }) => bytesOfText(verificationPayload(shownBy, about)),
})

const phraseDecoder: Decoder<Uint8Array> = {
  name: 'crypto/rootKeyOfPhrase',
  covers: ['recovery.ts rootKeyOfPhrase'],
  maxBytes: PHRASE_MAX_CHARS,
  examples: () => {
    const phrase = newRecoveryPhrase(systemRandom)
    return [phrase, phrase.toUpperCase(), ` ${phrase.replaceAll(' ', '\n ')}`].map(bytesOfText)
  },
  decode: (bytes): SigningKey['publicKey'] => rootKeyOfPhrase(textOf(bytes)).publicKey,
}

function keyFileDecoders({ device, account }: Person): Decoder[] {
  const ofDevice: Decoder<Person['device']> = {
    name: 'crypto/unpackDeviceKeys',
    covers: ['key-file.ts unpackDeviceKeys'],
    maxBytes: KEY_FILE_MAX_BYTES,
    examples: () => [packDeviceKeys(device)],
    decode: unpackDeviceKeys,
    encode: packDeviceKeys,
  }
  const ofAccount: Decoder<Person['account']> = {
    name: 'crypto/unpackAccountKeys',
    covers: ['key-file.ts unpackAccountKeys'],
    maxBytes: KEY_FILE_MAX_BYTES,
    examples: () => [packAccountKeys(account)],
    decode: unpackAccountKeys,
    encode: packAccountKeys,
  }
  return [ofDevice, ofAccount]
}

/** Keys that libsignal takes; whether their signatures hold is its business at set-up. */
function bundleDecoder(person: Person): Decoder {
  const bundle = person.home.bundle()
  const { oneTime: _, ...without } = bundle
  return {
    name: 'crypto/readBundle',
    covers: ['bundle.ts readBundle'],
    maxBytes: limits.PREKEYS_MAX_BYTES,
    examples: () => [bundle, create(PrekeyBundleSchema, without)].map((one) => toBinary(PrekeyBundleSchema, one)),
    decode: (bytes) =>
      readBundle(decode(PrekeyBundleSchema, bytes, limits.PREKEYS_MAX_BYTES), person.peer).registrationId(),
  }
}

/** From a session that stands; each time over again from the same state. */
function ciphertextDecoder(ana: Person, ben: Person): Decoder<Uint8Array> {
  return {
    name: 'crypto/decrypt',
    covers: ['sessions.ts openSessions'],
    maxBytes: limits.PART_MAX_BYTES,
    examples: async () => [await ana.sessions.encrypt(ben.peer, pad(Uint8Array.of(1, 2, 3)))],
    decode: (bytes) => {
      const { storage } = stagedKeyStorage(ben.base)
      return openSessions({ storage, device: ben.device, clock }).decrypt(ana.peer, bytes)
    },
  }
}

export async function decoders(): Promise<Decoder[]> {
  const [ana, ben] = await acquainted()
  return [
    contentDecoder,
    readMarkDecoder(ana.device),
    scanDecoder(ana, ben),
    phraseDecoder,
    ...keyFileDecoders(ana),
    bundleDecoder(newPerson()),
    ciphertextDecoder(ana, ben),
  ]
}
