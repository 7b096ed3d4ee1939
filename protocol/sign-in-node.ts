// The node's end of a sign-in (sign-in.ts has the device's).
import { create, toBinary } from '@bufbuild/protobuf'
import type { Random } from './clock.ts'
import { signUnder, verifyUnder } from './contexts.ts'
import type { SigningKey } from './ed25519.ts'
import type { DeviceKey } from './entry.ts'
import type { Device, SignedRecord } from './gen/records_pb.ts'
import {
  type Session,
  type SignInHello,
  SignInHelloSchema,
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
import { type RegionId, regionIdBytes, type UserId, userIdOf } from './ids.ts'
import { AUDIENCE_MAX_CHARS, DEVICE_NUMBER_MAX, FRAME_MAX_BYTES, SIGN_IN_MESSAGE_MAX_BYTES } from './limits.ts'
import { type Manifest, openManifest } from './records.ts'
import { ParleyError, refusalOf } from './refusals.ts'
import {
  type Channel,
  DEVICE_TO_NODE,
  deriveKeys,
  NODE_TO_DEVICE,
  openChannel,
  openFrame,
  type SignInMode,
  sealFrame,
} from './sealed.ts'
import { decode, ensureSize } from './wire.ts'

/** Status with which a node closes a socket that it refuses before there is a key to seal a refusal with; the reason is the code. */
export const SIGN_IN_REFUSED_CLOSE = 4_000

export type SignInHelloOptions = {
  readonly regionId: RegionId
  /** The node's own client origins, as `audienceOf` writes them. */
  readonly audiences: readonly string[]
  /** The authenticated peer on whose link the hello came; undefined on a socket of the node's own. */
  readonly peerId: string | undefined
  readonly nodeKey: SigningKey
  readonly certificate: SignedRecord
  readonly bootId: Uint8Array
  readonly nowMs: number
  readonly random: Random
}

export type SignInHeard = Side & {
  readonly node: Uint8Array
  readonly secret: Uint8Array
  readonly use: (what: string) => void
}

function readHello(bytes: Uint8Array): SignInHello & { mode: SignInMode } {
  const hello = decode(SignInHelloSchema, bytes, SIGN_IN_MESSAGE_MAX_BYTES, SIGN_IN_ITEMS_MAX)
  const { version, mode } = hello
  if (version !== SIGN_IN_VERSION)
    throw new ParleyError('unsupported_version', `sign-in of version ${version}`, { version: `${version}` })
  if (mode !== 1 && mode !== 2) throw new ParleyError('malformed', `sign-in of mode ${mode}`)
  ensureLength('nonce', hello.nonce, 32)
  ensureLength('ephemeral key', hello.ephemeral, 32)
  ensureLength('region id', hello.regionId, 32)
  if (hello.audience.length > AUDIENCE_MAX_CHARS) throw new ParleyError('malformed', 'audience too long')
  return hello as SignInHello & { mode: SignInMode }
}

/** Node: refuses what was meant for another node or another way in, else answers. */
export function receiveHello(bytes: Uint8Array, options: SignInHelloOptions): { node: Uint8Array; state: SignInHeard } {
  const hello = readHello(bytes)
  const { mode, audience } = hello
  if (Buffer.compare(hello.regionId, regionIdBytes(options.regionId)) !== 0) {
    throw new ParleyError('wrong_audience', 'this node is of another region', { region: options.regionId })
  }
  const mine =
    mode === 1 ? options.peerId === undefined && options.audiences.includes(audience) : options.peerId === audience
  if (!mine) throw new ParleyError('wrong_audience', 'the sign-in was made for another way in')
  const { secret, publicKey } = ephemeral(options.random)
  const shared = sharedSecret(secret, hello.ephemeral)
  const body = toBinary(
    SignInNodeBodySchema,
    create(SignInNodeBodySchema, {
      nonce: options.random.bytes(32),
      ephemeral: publicKey,
      bootId: options.bootId,
      timeMs: BigInt(options.nowMs),
      certificate: options.certificate,
    }),
  )
  const signature = signUnder('parley/sign-in/node/v1', transcript(bytes, body), options.nodeKey)
  const node = toBinary(SignInNodeSchema, create(SignInNodeSchema, { body, signature }))
  return { node, state: { mode, audience, hello: bytes.slice(), node, secret: shared, use: once() } }
}

/** What a proof says; worth nothing before `verify` has passed with the newest manifest of the user. */
export type SignInClaim = {
  readonly userId: UserId
  readonly device: DeviceKey
  readonly sessionCounter: bigint
  readonly manifestHash: Uint8Array
  /** Verified in itself; whether it is the newest is for the caller to say. */
  readonly manifest: Manifest | undefined
}

export type SignInProved = {
  readonly claim: SignInClaim
  /** Returns the device as the manifest has it. Throws `unsigned_device`, `bad_signature`. */
  verify(manifest: Manifest): Device
  /** Only after `verify`. */
  ready(session: Session): { ready: Uint8Array; channel: Channel; plain: boolean }
  refuse(error: ParleyError): Uint8Array
}

export function deviceOf(manifest: Manifest, key: DeviceKey): Device | undefined {
  return manifest.devices.find(
    (device) =>
      device.number === key.device &&
      device.registrationEpoch === key.registrationEpoch &&
      device.registrationVersion === key.registrationVersion,
  )
}

function readClaim(bytes: Uint8Array, nowMs: number): SignInClaim {
  const body = decode(SignInProofBodySchema, bytes, SIGN_IN_MESSAGE_MAX_BYTES, SIGN_IN_ITEMS_MAX)
  ensureLength('user id', body.userId, 32)
  ensureLength('manifest hash', body.manifestHash, 32)
  const { device, registrationEpoch, registrationVersion, sessionCounter, manifestHash } = body
  if (device < 1 || device > DEVICE_NUMBER_MAX) throw new ParleyError('malformed', `device number ${device}`)
  const userId = userIdOf(body.userId)
  const manifest = body.manifest && openManifest(body.manifest, nowMs)
  if (manifest && manifest.userId !== userId) throw new ParleyError('wrong_root', 'the manifest is of somebody else')
  if (manifest && Buffer.compare(manifest.hash, manifestHash) !== 0)
    throw new ParleyError('malformed', 'the manifest is not the one that is named')
  return { userId, device: { device, registrationEpoch, registrationVersion }, sessionCounter, manifestHash, manifest }
}

/** Node: opens the proof. Everything that it throws can only be told by closing the socket. */
export function receiveProof(state: SignInHeard, sealedBytes: Uint8Array, options: { nowMs: number }): SignInProved {
  state.use('receiveProof')
  ensureSize('proof', sealedBytes, SIGN_IN_MESSAGE_MAX_BYTES)
  const { mode, audience, hello, node, secret } = state
  const handshake = deriveKeys(secret, transcript(hello, node), 'parley/sign-in/hs/v1')
  const proofBytes = openFrame(handshake, mode, DEVICE_TO_NODE, 0, sealedBytes)
  const proof = decode(SignInProofSchema, proofBytes, SIGN_IN_MESSAGE_MAX_BYTES, SIGN_IN_ITEMS_MAX)
  const claim = readClaim(proof.body, options.nowMs)
  const keys = deriveKeys(secret, transcript(hello, node, proofBytes), 'parley/session/v1')
  const use = once()
  let verified = false
  const seal = (outcome: Parameters<typeof create<typeof SignInReadySchema>>[1]): Uint8Array => {
    use('ready')
    return sealFrame(keys, mode, NODE_TO_DEVICE, 0, toBinary(SignInReadySchema, create(SignInReadySchema, outcome)))
  }
  return {
    claim,
    verify(manifest) {
      if (manifest.userId !== claim.userId) throw new Error('verified against the manifest of somebody else')
      const device = deviceOf(manifest, claim.device)
      if (!device) throw new ParleyError('unsigned_device', 'the device is not in the newest manifest')
      if (
        !verifyUnder('parley/sign-in/device/v1', transcript(hello, node, proof.body), device.deviceKey, proof.signature)
      ) {
        throw new ParleyError('bad_signature', 'the device did not sign this sign-in')
      }
      verified = true
      return device
    },
    ready(session) {
      if (!verified) throw new Error('ready before verify')
      const ready = seal({ outcome: { case: 'session', value: session } })
      const channel = openChannel(keys, mode, NODE_TO_DEVICE, { sealed: 1, opened: 0 }, FRAME_MAX_BYTES)
      return { ready, channel, plain: framesGoPlain(mode, audience) }
    },
    refuse: (error) => seal({ outcome: { case: 'refusal', value: refusalOf(error) } }),
  }
}
