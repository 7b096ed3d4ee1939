// Sign-in: a handshake between a device and its home node, whoever holds the socket between them.
//
// A password-like token could be passed on by an edge or a stranger's relay, so both sides sign the transcript instead:
// nonces, fresh X25519 keys, and the way the connection was made (`audience`: the origin that was dialled, or the edge's
// peer id). A node refuses a hello that was made for another way in, so nobody can relay a sign-in. PROTOCOL.md, section 1.
import { createPrivateKey, createPublicKey, diffieHellman, hash, type KeyObject } from 'node:crypto'
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
  type SignInNodeBody,
  SignInNodeBodySchema,
  SignInNodeSchema,
  SignInProofBodySchema,
  SignInProofSchema,
  SignInReadySchema,
} from './gen/session_pb.ts'
import { type RegionId, regionIdBytes, type UserId, userIdBytes, userIdOf } from './ids.ts'
import { AUDIENCE_MAX_CHARS, DEVICE_NUMBER_MAX, FRAME_MAX_BYTES, SIGN_IN_MESSAGE_MAX_BYTES } from './limits.ts'
import { type Manifest, type NodeCertificate, openManifest, openNodeCertificate } from './records.ts'
import { errorOf, ParleyError, refusalOf } from './refusals.ts'
import {
  type Channel,
  DEVICE_TO_NODE,
  deriveKeys,
  type KeyPair,
  NODE_TO_DEVICE,
  openChannel,
  openFrame,
  SEAL_OVERHEAD_BYTES,
  type SignInMode,
  sealFrame,
} from './sealed.ts'
import { decode, ensureSize } from './wire.ts'

const VERSION = 1
const ITEMS_MAX = 1_024
/** Status with which a node closes a socket that it refuses before there is a key to seal a refusal with; the reason is the code. */
export const SIGN_IN_REFUSED_CLOSE = 4_000

type Side = { readonly mode: SignInMode; readonly audience: string; readonly hello: Uint8Array }

// --- helpers

function ensureLength(what: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length)
    throw new ParleyError('malformed', `${what} of ${bytes.length} bytes instead of ${length}`)
}

/** SHA-256(LP(a) ‖ LP(b) ‖ …), LP(x) = u32 length ‖ x. */
function transcript(...parts: readonly Uint8Array[]): Uint8Array {
  let size = 0
  for (const part of parts) size += 4 + part.length
  const out = new Uint8Array(size)
  const view = new DataView(out.buffer)
  let at = 0
  for (const part of parts) {
    view.setUint32(at, part.length)
    out.set(part, at + 4)
    at += 4 + part.length
  }
  return new Uint8Array(hash('sha256', out, 'buffer'))
}

function ephemeral(random: Random): { secret: KeyObject; publicKey: Uint8Array } {
  const secret = createPrivateKey({
    key: Buffer.from(random.bytes(32)),
    format: 'raw-private',
    asymmetricKeyType: 'x25519',
  })
  return { secret, publicKey: new Uint8Array(createPublicKey(secret).export({ format: 'raw-public' })) }
}

/** OpenSSL refuses the all-zero secret of a low-order key with an error of its own. */
function sharedSecret(secret: KeyObject, other: Uint8Array): Uint8Array {
  try {
    const publicKey = createPublicKey({ key: Buffer.from(other), format: 'raw-public', asymmetricKeyType: 'x25519' })
    return new Uint8Array(diffieHellman({ privateKey: secret, publicKey }))
  } catch {
    throw new ParleyError('malformed', 'an ephemeral key that gives no secret')
  }
}

function once(): (what: string) => void {
  let done = false
  return (what) => {
    if (done) throw new Error(`${what} twice in one sign-in`)
    done = true
  }
}

/** `wss://Example.org/x` → `https://example.org:443`: what stands in `hello` for the origin that a device dials. */
export function audienceOf(url: string): string {
  const parsed = URL.parse(url)
  const scheme = parsed && { 'http:': 'http', 'ws:': 'http', 'https:': 'https', 'wss:': 'https' }[parsed.protocol]
  if (!scheme || !parsed.hostname) throw new ParleyError('bad_argument', `not an http(s) address: ${url.slice(0, 200)}`)
  return `${scheme}://${parsed.hostname}:${parsed.port || (scheme === 'https' ? 443 : 80)}`
}

/** Whether frames after `ready` go as they are: TLS is around them, or they do not leave the machine. Else both seal them. */
export function framesGoPlain(mode: SignInMode, audience: string): boolean {
  if (mode !== 1) return false
  const url = URL.parse(audience)
  if (!url) return false
  return (
    url.protocol === 'https:' ||
    url.hostname === 'localhost' ||
    url.hostname === '[::1]' ||
    /^127(\.\d+){3}$/.test(url.hostname)
  )
}

// --- device

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
      version: VERSION,
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
  const node = decode(SignInNodeSchema, bytes, SIGN_IN_MESSAGE_MAX_BYTES, ITEMS_MAX)
  const body = decode(SignInNodeBodySchema, node.body, SIGN_IN_MESSAGE_MAX_BYTES, ITEMS_MAX)
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
    ITEMS_MAX,
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

// --- node

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
  const hello = decode(SignInHelloSchema, bytes, SIGN_IN_MESSAGE_MAX_BYTES, ITEMS_MAX)
  const { version, mode } = hello
  if (version !== VERSION)
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
  const body = decode(SignInProofBodySchema, bytes, SIGN_IN_MESSAGE_MAX_BYTES, ITEMS_MAX)
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
  ensureSize('proof', sealedBytes, SIGN_IN_MESSAGE_MAX_BYTES + SEAL_OVERHEAD_BYTES)
  const { mode, audience, hello, node, secret } = state
  const handshake = deriveKeys(secret, transcript(hello, node), 'parley/sign-in/hs/v1')
  const proofBytes = openFrame(handshake, mode, DEVICE_TO_NODE, 0, sealedBytes)
  const proof = decode(SignInProofSchema, proofBytes, SIGN_IN_MESSAGE_MAX_BYTES, ITEMS_MAX)
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
