// Every decoder of this folder, for the fuzzer. Examples are the valid cases of the vectors.
import { bytesOfText, type Decoder, textOf } from './decoder.ts'
import { COUNTED_MEMORY_FACTOR, codecDecoders } from './decoders-codecs.ts'
import { recordDecoders } from './decoders-records.ts'
import { signInDecoders } from './decoders-sign-in.ts'
import { verifySignature } from './ed25519.ts'
import { checkEntry, entryPosition, readHeader, readParts, selectParts, writeEntry } from './entry.ts'
import { makeCast } from './fixtures.ts'
import { decodeDeviceFrame, decodeHomeFrame, encodeDeviceFrame, encodeHomeFrame } from './frames.ts'
import { ItemKind } from './gen/link_pb.ts'
import { type Genesis, readGenesis } from './genesis.ts'
import { audienceOf } from './handshake.ts'
import { convIdBytes, ensureConvId, ensureRegionId, ensureUserId, ID_BYTES, regionIdBytes, userIdBytes } from './ids.ts'
import { ENTRY_MAX_BYTES, FRAME_MAX_BYTES, LINK_FRAME_MAX_BYTES, REQUEST_MAX_BYTES } from './limits.ts'
import {
  decodeItem,
  decodeLinkFrame,
  decodeLinkRequest,
  decodeLinkResponse,
  encodeItem,
  encodeLinkFrame,
  encodeLinkRequest,
  encodeLinkResponse,
  itemMaxBytes,
  type RelayItem,
} from './link-frames.ts'
import { ParleyError, refusalOf } from './refusals.ts'
import { bytesOf, type VectorCase } from './vector-file.ts'
import { REFUSAL } from './vector-frames.ts'
import { makeVectors, VECTOR_SEED } from './vectors.ts'

const ID_TEXT_MAX = 70
const URL_MAX = 300
const SIGNED_BYTES = 32 + 64

/** The valid cases of one file of vectors. */
export function validCases(name: string): readonly VectorCase[] {
  return makeVectors()[name]!.cases.filter((vector) => !vector.error)
}

const examplesOf = (name: string): Uint8Array[] =>
  validCases(name).flatMap((vector) => (vector.bytes ? [bytesOf(vector)] : []))

function idDecoder(
  kind: 'user' | 'region' | 'conversation',
  ensure: (text: string) => string,
  raw: (id: never) => Uint8Array,
): Decoder<string> {
  const name = ensure.name
  return {
    name: `protocol/${name}`,
    covers: [`ids.ts ${name}`, `ids.ts ${raw.name}`],
    maxBytes: ID_TEXT_MAX,
    examples: () => {
      const texts = validCases('ids')
        .filter((vector) => vector.kind === kind)
        .map((vector) => String(vector.text))
      return texts.flatMap((text) => [text, text.toUpperCase(), ` ${text}\n`]).map(bytesOfText)
    },
    decode(bytes) {
      const id = ensure(textOf(bytes))
      if (raw(id as never).length !== ID_BYTES) throw new Error('an id of another length')
      return id
    },
    encode: bytesOfText,
  }
}

const genesisDecoder: Decoder<Genesis> = {
  name: 'protocol/readGenesis',
  covers: ['genesis.ts readGenesis'],
  maxBytes: 1 + 2 * ID_BYTES + 8,
  examples: () => examplesOf('genesis'),
  decode: readGenesis,
  encode(genesis) {
    if (genesis.kind === 'direct')
      return new Uint8Array(Buffer.concat([Buffer.of(1), ...genesis.members.map(userIdBytes)]))
    const time = Buffer.alloc(8)
    time.writeBigUInt64BE(BigInt(genesis.timeMs))
    return new Uint8Array(Buffer.concat([Buffer.of(2), userIdBytes(genesis.creator), genesis.nonce, time]))
  },
}

type ReadEntry = { header: ReturnType<typeof readHeader>; parts: ReturnType<typeof readParts> }

const entryDecoder: Decoder<ReadEntry> = {
  name: 'protocol/checkEntry',
  covers: ['entry.ts checkEntry', 'entry.ts readHeader', 'entry.ts readParts'],
  maxBytes: ENTRY_MAX_BYTES,
  examples: () => examplesOf('entries'),
  decode(bytes) {
    checkEntry(bytes)
    const [header, parts] = [readHeader(bytes), readParts(bytes)]
    if (entryPosition(bytes) !== header.at) throw new Error('a position that differs from the header')
    const first = selectParts(bytes, (_member, device) => device <= 1)
    checkEntry(first)
    return { header, parts }
  },
  encode: ({ header, parts }) => writeEntry(header, parts),
}

function frameDecoder<T>(
  name: string,
  of: {
    file: string
    vectors: string
    maxBytes: number
    decode: (bytes: Uint8Array) => T
    encode: (value: T) => Uint8Array
  },
): Decoder<T> {
  const { file, vectors, maxBytes, decode, encode } = of
  return {
    name: `protocol/${name}`,
    covers: [`${file} ${name}`],
    maxBytes,
    memoryFactor: COUNTED_MEMORY_FACTOR,
    examples: () => examplesOf(vectors),
    decode,
    encode,
  }
}

function itemDecoders(): Decoder[] {
  return Object.entries(ItemKind).flatMap(([word, kind]) => {
    if (typeof kind !== 'number' || kind === ItemKind.UNSPECIFIED) return []
    const one: Decoder<RelayItem> = {
      name: `protocol/decodeItem-${word.toLowerCase()}`,
      covers: ['link-frames.ts decodeItem'],
      maxBytes: itemMaxBytes(kind),
      memoryFactor: COUNTED_MEMORY_FACTOR,
      examples: () =>
        validCases('items')
          .filter((vector) => vector.kind === kind)
          .map(bytesOf),
      decode: (bytes) => decodeItem(kind, bytes),
      encode: encodeItem,
    }
    return [one]
  })
}

function requestDecoders(): Decoder[] {
  const body = new Uint8Array(40).fill(7)
  const refusal = refusalOf(new ParleyError('overloaded', 'later', REFUSAL.facts, 500))
  const request: Decoder<ReturnType<typeof decodeLinkRequest>> = {
    name: 'protocol/decodeLinkRequest',
    covers: ['link-frames.ts decodeLinkRequest'],
    maxBytes: REQUEST_MAX_BYTES,
    examples: () => [encodeLinkRequest({ $typeName: 'parley.v1.LinkRequest', id: 3, method: 'records', body })],
    decode: decodeLinkRequest,
    encode: encodeLinkRequest,
  }
  const response: Decoder<ReturnType<typeof decodeLinkResponse>> = {
    name: 'protocol/decodeLinkResponse',
    covers: ['link-frames.ts decodeLinkResponse'],
    maxBytes: REQUEST_MAX_BYTES,
    examples: () => [
      encodeLinkResponse({ $typeName: 'parley.v1.LinkResponse', id: 3, body }),
      encodeLinkResponse({ $typeName: 'parley.v1.LinkResponse', id: 4, body: new Uint8Array(0), refusal }),
    ],
    decode: decodeLinkResponse,
    encode: encodeLinkResponse,
  }
  return [request, response]
}

const audienceDecoder: Decoder<string> = {
  name: 'protocol/audienceOf',
  covers: ['handshake.ts audienceOf'],
  maxBytes: URL_MAX,
  examples: () =>
    ['wss://Example.org/x', 'http://[::1]:8080', 'https://a.example:443/?q#h', 'ws://user:pw@1.2.3.4'].map(bytesOfText),
  decode: (bytes) => audienceOf(textOf(bytes)),
  encode: bytesOfText,
}

/** Public key, signature, and the message. */
const signatureDecoder: Decoder<boolean> = {
  name: 'protocol/verifySignature',
  covers: ['ed25519.ts verifySignature'],
  maxBytes: 4_096,
  examples() {
    const { root } = makeCast(VECTOR_SEED).ana
    const message = bytesOfText('a message')
    return [new Uint8Array(Buffer.concat([root.publicKey, root.sign(message), message]))]
  },
  decode: (bytes) =>
    verifySignature(bytes.subarray(0, 32), bytes.subarray(SIGNED_BYTES), bytes.subarray(32, SIGNED_BYTES)),
}

export { bytesOfText, type Decoder, JSON_MEMORY_FACTOR, textOf } from './decoder.ts'
export { certificateRecord, homeRecord, makeCast, manifestRecord, NOW_MS, regionRecord } from './fixtures.ts'

export function decoders(): Decoder[] {
  const cast = makeCast(VECTOR_SEED)
  return [
    idDecoder('user', ensureUserId, userIdBytes as never),
    idDecoder('region', ensureRegionId, regionIdBytes as never),
    idDecoder('conversation', ensureConvId, convIdBytes as never),
    genesisDecoder,
    entryDecoder,
    frameDecoder('decodeDeviceFrame', {
      file: 'frames.ts',
      vectors: 'device-frames',
      maxBytes: FRAME_MAX_BYTES,
      decode: decodeDeviceFrame,
      encode: encodeDeviceFrame,
    }),
    frameDecoder('decodeHomeFrame', {
      file: 'frames.ts',
      vectors: 'home-frames',
      maxBytes: FRAME_MAX_BYTES,
      decode: decodeHomeFrame,
      encode: encodeHomeFrame,
    }),
    frameDecoder('decodeLinkFrame', {
      file: 'link-frames.ts',
      vectors: 'link-frames',
      maxBytes: LINK_FRAME_MAX_BYTES,
      decode: decodeLinkFrame,
      encode: encodeLinkFrame,
    }),
    ...codecDecoders(),
    ...itemDecoders(),
    ...requestDecoders(),
    audienceDecoder,
    signatureDecoder,
    ...recordDecoders(cast),
    ...signInDecoders(cast),
  ]
}
