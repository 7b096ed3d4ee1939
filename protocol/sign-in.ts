// Sign-in: a handshake between a device and its home node, whoever holds the socket between them.
//
// A password-like token could be passed on by an edge or a stranger's relay, so both sides sign the transcript instead:
// nonces, fresh X25519 keys, and the way the connection was made (`audience`: the origin that was dialled, or the edge's
// peer id). A node refuses a hello that was made for another way in, so nobody can relay a sign-in. PROTOCOL.md, section 1.
import type { KeyObject } from 'node:crypto'
import { create, toBinary } from '@bufbuild/protobuf'
import type { Random } from './clock.ts'
import { signUnder, verifyUnder } from './contexts.ts'
import type { SigningKey } from './ed25519.ts'
import type { DeviceKey } from './entry.ts'
import type { SignedRecord } from './gen/records_pb.ts'
import {
  type Session,
  SignInHelloSchema,
  type SignInNodeBody,
  SignInNodeBodySchema,
  SignInNodeSchema,
  SignInProofBodySchema,
  SignInProofSchema,
  SignInReadySchema,
} from './gen/session_pb.ts'
import {
  ensureLength,
  ephemeral,
  framesGoPlain,
  once,
  SIGN_IN_ITEMS_MAX,
  SIGN_IN_VERSION,
  type Side,
  sharedSecret,
  transcript,
} from './handshake.ts'
import { type RegionId, regionIdBytes, type UserId, userIdBytes } from './ids.ts'
import { FRAME_MAX_BYTES, SIGN_IN_MESSAGE_MAX_BYTES } from './limits.ts'
import { errorOf, ParleyError } from './refusals.ts'
import { type NodeCertificate, openNodeCertificate } from './region-records.ts'
import {
  type Channel,
  DEVICE_TO_NODE,
  deriveKeys,
  type KeyPair,
  NODE_TO_DEVICE,
  openChannel,
  openFrame,
  type SignInMode,
  sealFrame,
} from './sealed.ts'
import { decode, ensureSize } from './wire.ts'

export type SignInStart = Side & {
  readonly regionId: RegionId
  readonly secret: KeyObject
  readonly use: (what: string) => void
}

/** `audience`: mode 1 the origin dialled, as `audienceOf` writes it; mode 2 the edge's peer id. */
export function startSignIn(options: { regionId: RegionId; audience: string; mode: SignInMode; random: Random }): {
  hello: Uint8Array
  state: SignInStart
} {
  const { regionId, audience, mode, random } = options
  const { secret, publicKey } = ephemeral(random)
  const hello = toBinary(
    SignInHelloSchema,
    create(SignInHelloSchema, {
      version: SIGN_IN_VERSION,
      mode,
      nonce: random.bytes(32),
      ephemeral: publicKey,
      regionId: regionIdBytes(regionId),
      audience,
    }),
  )
  return { hello, state: { mode, audience, hello, regionId, secret, use: once() } }
}

export type SignInAwaiting = Side & {
  readonly keys: KeyPair
  readonly certificate: NodeCertificate
  /** What the node says of itself: its boot, its clock. */
  readonly bootId: Uint8Array
  readonly nodeTimeMs: number
  readonly use: (what: string) => void
}

export type ProofOptions = {
  readonly userId: UserId
  readonly device: DeviceKey
  readonly deviceKey: SigningKey
  /** Raised and stored before each sign-in. */
  readonly sessionCounter: bigint
  readonly manifestHash: Uint8Array
  /** Absent when the home is believed to have it. */
  readonly manifest: SignedRecord | undefined
  /** Node certificates of a lower root epoch are refused. */
  readonly rootEpochFloor: number
  readonly nowMs: number
}

function readNode(
  state: SignInStart,
  bytes: Uint8Array,
  rootEpochFloor: number,
  nowMs: number,
): { body: SignInNodeBody; certificate: NodeCertificate } {
  const node = decode(SignInNodeSchema, bytes, SIGN_IN_MESSAGE_MAX_BYTES, SIGN_IN_ITEMS_MAX)
  const body = decode(SignInNodeBodySchema, node.body, SIGN_IN_MESSAGE_MAX_BYTES, SIGN_IN_ITEMS_MAX)
  ensureLength('nonce', body.nonce, 32)
  ensureLength('ephemeral key', body.ephemeral, 32)
  ensureLength('boot id', body.bootId, 16)
  if (!body.certificate) throw new ParleyError('not_granted', 'a node without a certificate')
  const certificate = openNodeCertificate(body.certificate, nowMs)
  if (certificate.regionId !== state.regionId)
    throw new ParleyError('wrong_root', 'the node is of another region', { region: certificate.regionId })
  if (certificate.rootEpoch < rootEpochFloor)
    throw new ParleyError('too_old', 'the certificate is of a root epoch that was replaced')
  if (!verifyUnder('parley/sign-in/node/v1', transcript(state.hello, node.body), certificate.nodeKey, node.signature)) {
    throw new ParleyError('bad_signature', 'the node did not sign this sign-in')
  }
  return { body, certificate }
}

/** Device: checks the node's answer, then proves who it is. Once per start. */
export function answerNode(
  state: SignInStart,
  nodeBytes: Uint8Array,
  options: ProofOptions,
): { proof: Uint8Array; awaiting: SignInAwaiting } {
  state.use('answerNode')
  const { body, certificate } = readNode(state, nodeBytes, options.rootEpochFloor, options.nowMs)
  const secret = sharedSecret(state.secret, body.ephemeral)
  const proofBody = toBinary(
    SignInProofBodySchema,
    create(SignInProofBodySchema, {
      userId: userIdBytes(options.userId),
      ...options.device,
      sessionCounter: options.sessionCounter,
      manifestHash: options.manifestHash,
      ...(options.manifest && { manifest: options.manifest }),
    }),
  )
  const signature = signUnder(
    'parley/sign-in/device/v1',
    transcript(state.hello, nodeBytes, proofBody),
    options.deviceKey,
  )
  const proof = toBinary(SignInProofSchema, create(SignInProofSchema, { body: proofBody, signature }))
  const handshake = deriveKeys(secret, transcript(state.hello, nodeBytes), 'parley/sign-in/hs/v1')
  const sealed = sealFrame(handshake, state.mode, DEVICE_TO_NODE, 0, proof)
  ensureSize('proof', sealed, SIGN_IN_MESSAGE_MAX_BYTES)
  const keys = deriveKeys(secret, transcript(state.hello, nodeBytes, proof), 'parley/session/v1')
  const { mode, audience, hello } = state
  const awaiting = {
    mode,
    audience,
    hello,
    keys,
    certificate,
    bootId: body.bootId,
    nodeTimeMs: Number(body.timeMs),
    use: once(),
  }
  return { proof: sealed, awaiting }
}

/** Device: the session, or the node's refusal thrown as the ParleyError that it is. Nothing counts as signed in before. */
export function openReady(
  awaiting: SignInAwaiting,
  bytes: Uint8Array,
): { session: Session; channel: Channel; plain: boolean } {
  awaiting.use('openReady')
  ensureSize('ready', bytes, SIGN_IN_MESSAGE_MAX_BYTES)
  const { mode, audience, keys } = awaiting
  const ready = decode(
    SignInReadySchema,
    openFrame(keys, mode, NODE_TO_DEVICE, 0, bytes),
    SIGN_IN_MESSAGE_MAX_BYTES,
    SIGN_IN_ITEMS_MAX,
  )
  if (ready.outcome.case === 'refusal') throw errorOf(ready.outcome.value)
  if (ready.outcome.case !== 'session') throw new ParleyError('malformed', 'ready without an outcome')
  const session = ready.outcome.value
  ensureLength('session id', session.sessionId, 16)
  ensureLength('manifest hash', session.manifestHash, 32)
  ensureLength('home record hash', session.homeRecordHash, 32)
  const channel = openChannel(keys, mode, DEVICE_TO_NODE, { sealed: 0, opened: 1 }, FRAME_MAX_BYTES)
  return { session, channel, plain: framesGoPlain(mode, audience) }
}
