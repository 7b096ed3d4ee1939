// Vectors of the sign-in: one transcript with every key that it derives, and messages that each end must refuse.
import { create, toBinary } from '@bufbuild/protobuf'
import { signUnder } from './contexts.ts'
import {
  type Body,
  type Cast,
  type CastRegion,
  certificateRecord,
  filled,
  manifestOf,
  manifestRecord,
  NOW_MS,
} from './fixtures.ts'
import { SignedRecordSchema } from './gen/records_pb.ts'
import {
  SessionSchema,
  SignInHelloSchema,
  SignInNodeBodySchema,
  SignInNodeSchema,
  SignInProofBodySchema,
  SignInProofSchema,
  SignInReadySchema,
} from './gen/session_pb.ts'
import { ephemeral, sharedSecret, transcript } from './handshake.ts'
import { regionIdBytes, userIdBytes } from './ids.ts'
import { SIGN_IN_MESSAGE_MAX_BYTES } from './limits.ts'
import { ParleyError, type RefusalCode, refusalOf } from './refusals.ts'
import { DEVICE_TO_NODE, deriveKeys, type KeyPair, NODE_TO_DEVICE, sealFrame } from './sealed.ts'
import { compact, hex, type VectorCase, type VectorFile } from './vector-file.ts'

export const AUDIENCE = 'https://north.example:443'
export const DEVICE_SECRET = filled(32, 0x41)
export const NODE_SECRET = filled(32, 0x42)

const fixed = (bytes: Uint8Array) => ephemeral({ bytes: () => bytes, fraction: () => 0 })

type Parts = {
  readonly hello: Uint8Array
  readonly node: Uint8Array
  readonly proof: Uint8Array
  readonly hs: KeyPair
  readonly traffic: KeyPair
}

export function helloBytes(cast: Cast, change: Body<typeof SignInHelloSchema> = {}): Uint8Array {
  const body = { version: 1, mode: 1, nonce: filled(32, 0x11), ephemeral: fixed(DEVICE_SECRET).publicKey }
  const hello = create(SignInHelloSchema, {
    ...body,
    regionId: regionIdBytes(cast.north.id),
    audience: AUDIENCE,
    ...change,
  })
  return toBinary(SignInHelloSchema, hello)
}

export function nodeBytes(
  hello: Uint8Array,
  region: CastRegion,
  change: Body<typeof SignInNodeBodySchema> = {},
  key = region.node,
): Uint8Array {
  const fields = {
    nonce: filled(32, 0x22),
    ephemeral: fixed(NODE_SECRET).publicKey,
    bootId: filled(16, 0x33),
    timeMs: BigInt(NOW_MS),
  }
  const body = toBinary(
    SignInNodeBodySchema,
    create(SignInNodeBodySchema, { ...fields, certificate: certificateRecord(region), ...change }),
  )
  const signature = signUnder('parley/sign-in/node/v1', transcript(hello, body), key)
  return toBinary(SignInNodeSchema, create(SignInNodeSchema, { body, signature }))
}

export function proofBytes(
  cast: Cast,
  hello: Uint8Array,
  node: Uint8Array,
  change: Body<typeof SignInProofBodySchema> = {},
  key = cast.ana.device,
): Uint8Array {
  const { ana } = cast
  const device = {
    userId: userIdBytes(ana.id),
    device: 1,
    registrationEpoch: 1,
    registrationVersion: 1,
    sessionCounter: 7n,
  }
  const manifest = { manifestHash: manifestOf(ana).hash, manifest: manifestRecord(ana) }
  const body = toBinary(SignInProofBodySchema, create(SignInProofBodySchema, { ...device, ...manifest, ...change }))
  const signature = signUnder('parley/sign-in/device/v1', transcript(hello, node, body), key)
  return toBinary(SignInProofSchema, create(SignInProofSchema, { body, signature }))
}

function partsOf(cast: Cast): Parts {
  const hello = helloBytes(cast)
  const node = nodeBytes(hello, cast.north)
  const proof = proofBytes(cast, hello, node)
  const secret = sharedSecret(fixed(DEVICE_SECRET).secret, fixed(NODE_SECRET).publicKey)
  const hs = deriveKeys(secret, transcript(hello, node), 'parley/sign-in/hs/v1')
  const traffic = deriveKeys(secret, transcript(hello, node, proof), 'parley/session/v1')
  return { hello, node, proof, hs, traffic }
}

const keysOf = ([up, down]: KeyPair) => ({
  deviceToNode: { key: hex(up.key), iv: hex(up.iv) },
  nodeToDevice: { key: hex(down.key), iv: hex(down.iv) },
})

const caseOf =
  (step: string) =>
  (name: string, error: RefusalCode, bytes: Uint8Array): VectorCase => ({
    name: `${step}: ${name}`,
    step,
    bytes: compact(bytes),
    error,
  })

function badHellos(cast: Cast): VectorCase[] {
  const bad = caseOf('hello')
  const made = (change: Body<typeof SignInHelloSchema>): Uint8Array => helloBytes(cast, change)
  return [
    bad('version 2', 'unsupported_version', made({ version: 2 })),
    bad('mode 3', 'malformed', made({ mode: 3 })),
    bad('a nonce of 31 bytes', 'malformed', made({ nonce: filled(31, 1) })),
    bad('a key that gives an all-zero secret', 'malformed', made({ ephemeral: filled(32, 0) })),
    bad('a key of 33 bytes', 'malformed', made({ ephemeral: filled(33, 9) })),
    bad('for another region', 'wrong_audience', made({ regionId: regionIdBytes(cast.south.id) })),
    bad('for another origin', 'wrong_audience', made({ audience: 'https://south.example:443' })),
    bad('through an edge, on a direct connection', 'wrong_audience', made({ mode: 2 })),
    bad('cut off', 'malformed', made({}).subarray(0, -1)),
    bad('empty', 'unsupported_version', new Uint8Array(0)),
    bad('over the limit', 'too_large', made({ nonce: filled(SIGN_IN_MESSAGE_MAX_BYTES, 1) })),
  ]
}

function badNodes(cast: Cast): VectorCase[] {
  const bad = caseOf('node')
  const hello = helloBytes(cast)
  const made = (change: Body<typeof SignInNodeBodySchema>, key = cast.north.node): Uint8Array =>
    nodeBytes(hello, cast.north, change, key)
  return [
    bad('signed by another key', 'bad_signature', made({}, cast.stranger)),
    bad(
      'an answer to another hello',
      'bad_signature',
      nodeBytes(helloBytes(cast, { nonce: filled(32, 9) }), cast.north),
    ),
    bad('of another region', 'wrong_root', nodeBytes(hello, cast.south)),
    bad('no certificate', 'not_granted', nodeBytes(hello, cast.north, { certificate: undefined as never })),
    bad(
      'a certificate that expired',
      'expired',
      made({ certificate: certificateRecord(cast.north, { notAfterMs: 1n }) }),
    ),
    bad(
      'the certificate of another node',
      'bad_signature',
      made({ certificate: certificateRecord(cast.north, { nodeKey: cast.stranger.publicKey }) }),
    ),
    bad('a key that gives an all-zero secret', 'malformed', made({ ephemeral: filled(32, 0) })),
    bad('a nonce of 31 bytes', 'malformed', made({ nonce: filled(31, 1) })),
    bad('a boot id of 15 bytes', 'malformed', made({ bootId: filled(15, 1) })),
    bad('cut off', 'malformed', made({}).subarray(0, -1)),
    bad('over the limit', 'too_large', filled(SIGN_IN_MESSAGE_MAX_BYTES + 1, 0)),
  ]
}

function badProofs(cast: Cast, { hello, node, hs, traffic }: Parts): VectorCase[] {
  const bad = caseOf('proof')
  const sealed = (proof: Uint8Array): Uint8Array => sealFrame(hs, 1, DEVICE_TO_NODE, 0, proof)
  const made = (change: Body<typeof SignInProofBodySchema>, key = cast.ana.device): Uint8Array =>
    sealed(proofBytes(cast, hello, node, change, key))
  const good = proofBytes(cast, hello, node)
  return [
    bad('signed by another key', 'bad_signature', made({}, cast.stranger)),
    bad('a device that is not in the manifest', 'unsigned_device', made({ device: 2 })),
    bad('another registration of the device', 'unsigned_device', made({ registrationVersion: 2 })),
    bad('device 0', 'malformed', made({ device: 0 })),
    bad('the manifest of somebody else', 'wrong_root', made({ manifest: manifestRecord(cast.ben) })),
    bad('another manifest than is named', 'malformed', made({ manifestHash: filled(32, 1) })),
    bad('a user id of 31 bytes', 'malformed', made({ userId: filled(31, 1) })),
    bad('not sealed', 'bad_signature', good),
    bad('sealed with the keys of the session', 'bad_signature', sealFrame(traffic, 1, DEVICE_TO_NODE, 0, good)),
    bad('sealed for the other direction', 'bad_signature', sealFrame(hs, 1, NODE_TO_DEVICE, 0, good)),
    bad('sealed with counter 1', 'bad_signature', sealFrame(hs, 1, DEVICE_TO_NODE, 1, good)),
    bad('sealed for mode 2', 'bad_signature', sealFrame(hs, 2, DEVICE_TO_NODE, 0, good)),
    bad(
      'of a sign-in with another node key',
      'bad_signature',
      sealed(proofBytes(cast, hello, nodeBytes(hello, cast.north, { bootId: filled(16, 9) }))),
    ),
    bad('a frame of 15 bytes', 'malformed', filled(15, 1)),
    bad('sealed bytes that are no message', 'malformed', sealed(filled(20, 0xff))),
    bad('over the limit', 'too_large', filled(SIGN_IN_MESSAGE_MAX_BYTES + 1, 0)),
  ]
}

function frames(traffic: KeyPair): VectorCase[] {
  return [
    {
      name: 'a frame of the device, sealed: "hello"',
      step: 'frame',
      direction: 0,
      counter: 0,
      plaintext: hex(Buffer.from('hello')),
      bytes: hex(sealFrame(traffic, 1, DEVICE_TO_NODE, 0, Buffer.from('hello'))),
    },
    {
      name: 'the 257th frame of the node, sealed: empty',
      step: 'frame',
      direction: 1,
      counter: 256,
      plaintext: '',
      bytes: hex(sealFrame(traffic, 1, NODE_TO_DEVICE, 256, new Uint8Array(0))),
    },
  ]
}

export function signInVectors(cast: Cast): VectorFile {
  const parts = partsOf(cast)
  const seal = (outcome: Body<typeof SignInReadySchema>['outcome']): Uint8Array =>
    sealFrame(
      parts.traffic,
      1,
      NODE_TO_DEVICE,
      0,
      toBinary(SignInReadySchema, create(SignInReadySchema, { outcome: outcome! })),
    )
  const hashes = { manifestHash: manifestOf(cast.ana).hash, homeRecordHash: filled(32, 0x55) }
  const session = create(SessionSchema, {
    sessionId: filled(16, 0x44),
    ...hashes,
    frameMaxBytes: 1_048_576,
    inFlightMax: 256,
  })
  const ready = seal({ case: 'session', value: session })
  const bad = caseOf('ready')
  return {
    about: 'One sign-in in mode 1, with fixed secrets. A bad message takes the place of the good one of its step.',
    nowMs: NOW_MS,
    regionId: cast.north.id,
    audience: AUDIENCE,
    userId: cast.ana.id,
    manifest: hex(toBinary(SignedRecordSchema, manifestRecord(cast.ana))),
    deviceEphemeralSecret: hex(DEVICE_SECRET),
    nodeEphemeralSecret: hex(NODE_SECRET),
    hello: hex(parts.hello),
    node: hex(parts.node),
    proof: hex(parts.proof),
    handshakeKeys: keysOf(parts.hs),
    trafficKeys: keysOf(parts.traffic),
    cases: [
      { name: 'hello', step: 'hello', bytes: hex(parts.hello) },
      { name: 'node', step: 'node', bytes: hex(parts.node) },
      { name: 'proof', step: 'proof', bytes: hex(sealFrame(parts.hs, 1, DEVICE_TO_NODE, 0, parts.proof)) },
      { name: 'ready', step: 'ready', bytes: hex(ready) },
      ...frames(parts.traffic),
      ...badHellos(cast),
      ...badNodes(cast),
      ...badProofs(cast, parts),
      bad(
        'a refusal',
        'old_profile',
        seal({ case: 'refusal', value: refusalOf(new ParleyError('old_profile', 'seen before')) }),
      ),
      bad('no outcome', 'malformed', seal({ case: undefined })),
      bad('a session without an id', 'malformed', seal({ case: 'session', value: create(SessionSchema, hashes) })),
      bad(
        'changed',
        'bad_signature',
        ready.map((byte, index) => (index === 5 ? byte ^ 1 : byte)),
      ),
      bad('the proof sent back', 'bad_signature', sealFrame(parts.hs, 1, DEVICE_TO_NODE, 0, parts.proof)),
      bad('over the limit', 'too_large', filled(SIGN_IN_MESSAGE_MAX_BYTES + 1, 0)),
    ],
  }
}
