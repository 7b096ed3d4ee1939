// Decoders of the sign-in and of sealed frames: each message goes into a handshake that stands just before it.
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { signUnder } from './contexts.ts'
import type { Decoder } from './decoder.ts'
import { changed } from './decoders-records.ts'
import { type Cast, certificateRecord, filled, manifestOf, NOW_MS } from './fixtures.ts'
import {
  SessionSchema,
  SignInNodeSchema,
  type SignInProof,
  SignInProofSchema,
  SignInReadySchema,
} from './gen/session_pb.ts'
import { ephemeral, sharedSecret, transcript } from './handshake.ts'
import { FRAME_MAX_BYTES, SIGN_IN_MESSAGE_MAX_BYTES } from './limits.ts'
import { ParleyError } from './refusals.ts'
import { DEVICE_TO_NODE, deriveKeys, NODE_TO_DEVICE, openChannel, SEAL_OVERHEAD_BYTES, sealFrame } from './sealed.ts'
import { answerNode, openReady } from './sign-in.ts'
import { receiveHello, receiveProof } from './sign-in-node.ts'
import { heardOf, proofOptions, sessionOf, startOf } from './sign-in-player.ts'
import { simulatedRandom } from './simulated.ts'
import { REFUSAL } from './vector-frames.ts'
import { AUDIENCE, DEVICE_SECRET, NODE_SECRET, nodeBytes, proofBytes } from './vector-sign-in.ts'

/** These run again and again from one handshake. */
const again = (): void => undefined
const fixedSecret = (bytes: Uint8Array) => ephemeral({ bytes: () => bytes, fraction: () => 0 })

/** Both ends' keys: the secrets of the cast's handshake are fixed. */
function keysOf(cast: Cast) {
  const { hello } = startOf(cast)
  const node = nodeBytes(hello, cast.north)
  const proof = proofBytes(cast, hello, node)
  const secret = sharedSecret(fixedSecret(DEVICE_SECRET).secret, fixedSecret(NODE_SECRET).publicKey)
  return {
    hello,
    node,
    proof,
    handshake: deriveKeys(secret, transcript(hello, node), 'parley/sign-in/hs/v1'),
    traffic: deriveKeys(secret, transcript(hello, node, proof), 'parley/session/v1'),
  }
}

function helloDecoder(cast: Cast): Decoder {
  const options = {
    regionId: cast.north.id,
    audiences: [AUDIENCE],
    peerId: undefined,
    nodeKey: cast.north.node,
    certificate: certificateRecord(cast.north),
    bootId: filled(16, 0x33),
    nowMs: NOW_MS,
    random: simulatedRandom(1),
  }
  return {
    name: 'protocol/receiveHello',
    covers: ['sign-in-node.ts receiveHello'],
    maxBytes: SIGN_IN_MESSAGE_MAX_BYTES,
    examples: () => [startOf(cast).hello],
    decode: (bytes) => receiveHello(bytes, options).state.audience,
  }
}

function nodeDecoder(cast: Cast): Decoder {
  const { hello, node } = keysOf(cast)
  const state = { ...startOf(cast).state, use: again }
  const options = proofOptions(cast)
  return {
    name: 'protocol/answerNode',
    covers: ['sign-in.ts answerNode'],
    maxBytes: SIGN_IN_MESSAGE_MAX_BYTES,
    examples: () => [node],
    decode: (bytes) => answerNode(state, bytes, options).awaiting.nodeTimeMs,
    mend: (bytes) =>
      changed(SignInNodeSchema, bytes, (message) => ({
        ...message,
        signature: signUnder('parley/sign-in/node/v1', transcript(hello, message.body), cast.north.node),
      })),
  }
}

type Sealed = {
  readonly plain: readonly Uint8Array[]
  readonly refused?: readonly Uint8Array[]
  readonly seal: (plain: Uint8Array) => Uint8Array
  readonly open: (sealed: Uint8Array) => unknown
  readonly maxBytes: number
}

const marked = (mark: number, bytes: Uint8Array): Uint8Array => new Uint8Array(Buffer.concat([Buffer.of(mark), bytes]))

/** What is changed begins with a byte that says whether the rest is taken as it is (0) or sealed first. */
function sealedDecoder(name: string, file: string, { plain, refused = [], seal, open, maxBytes }: Sealed): Decoder {
  return {
    name: `protocol/${name}`,
    covers: name === 'openFrame' ? [`${file} openFrame`, `${file} openChannel`] : [`${file} ${name}`],
    maxBytes: maxBytes + SEAL_OVERHEAD_BYTES,
    examples: () => plain.flatMap((one) => [marked(1, one), marked(0, seal(one))]),
    refusedExamples: () => refused.map((one) => marked(1, one)),
    wrap: (bytes) => (bytes[0] === 0 ? bytes.subarray(1) : seal(bytes.subarray(1))),
    decode: open,
  }
}

export function signInDecoders(cast: Cast): Decoder[] {
  const { hello, node, proof, handshake, traffic } = keysOf(cast)
  const heard = { ...heardOf(cast, hello).state, use: again }
  const awaiting = { ...answerNode(startOf(cast).state, node, proofOptions(cast)).awaiting, use: again }
  const manifest = manifestOf(cast.ana)
  const signed = (message: SignInProof): SignInProof => ({
    ...message,
    signature: signUnder('parley/sign-in/device/v1', transcript(hello, node, message.body), cast.ana.device),
  })
  const session = sessionOf(cast)
  const outcome = (of: MessageInitShape<typeof SignInReadySchema>['outcome']): Uint8Array =>
    toBinary(SignInReadySchema, create(SignInReadySchema, of ? { outcome: of } : {}))
  return [
    helloDecoder(cast),
    nodeDecoder(cast),
    sealedDecoder('receiveProof', 'sign-in-node.ts', {
      maxBytes: SIGN_IN_MESSAGE_MAX_BYTES,
      plain: [proof],
      seal: (plain) => {
        const good = plain.length % 2 === 0 ? changed(SignInProofSchema, plain, signed) : plain
        return sealFrame(handshake, 1, DEVICE_TO_NODE, 0, good)
      },
      open: (sealed) => {
        const { claim, verify } = receiveProof(heard, sealed, { nowMs: NOW_MS })
        if (claim.userId !== manifest.userId) throw new ParleyError('unknown_user', 'nobody here')
        return verify(manifest).number
      },
    }),
    sealedDecoder('openReady', 'sign-in.ts', {
      maxBytes: SIGN_IN_MESSAGE_MAX_BYTES,
      plain: [outcome({ case: 'session', value: session })],
      refused: [outcome({ case: 'refusal', value: REFUSAL }), outcome(undefined)],
      seal: (plain) => sealFrame(traffic, 1, NODE_TO_DEVICE, 0, plain),
      open: (sealed) => openReady(awaiting, sealed).session,
    }),
    sealedDecoder('openFrame', 'sealed.ts', {
      maxBytes: FRAME_MAX_BYTES,
      plain: [filled(100, 3), filled(0, 0), toBinary(SessionSchema, session)],
      seal: (plain) => sealFrame(traffic, 1, NODE_TO_DEVICE, 1, plain),
      open: (sealed) => openChannel(traffic, 1, DEVICE_TO_NODE, { sealed: 0, opened: 1 }, FRAME_MAX_BYTES).open(sealed),
    }),
  ]
}
