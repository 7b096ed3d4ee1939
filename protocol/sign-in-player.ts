// Plays the sign-in of the vectors up to one message, which is taken from the vector. Used by tests.
import assert from 'node:assert/strict'
import { create } from '@bufbuild/protobuf'
import type { Random } from './clock.ts'
import { type Cast, certificateRecord, filled, manifestOf, manifestRecord, NOW_MS } from './fixtures.ts'
import { SessionSchema } from './gen/session_pb.ts'
import { type Direction, type DirectionKeys, openFrame } from './sealed.ts'
import { answerNode, openReady, startSignIn } from './sign-in.ts'
import { receiveHello, receiveProof } from './sign-in-node.ts'
import { bytesOf, hex, unhex, type VectorCase, type VectorFile } from './vector-file.ts'
import { AUDIENCE, DEVICE_SECRET, NODE_SECRET } from './vector-sign-in.ts'

/** Hands out the given bytes in order. */
function scripted(...values: readonly Uint8Array[]): Random {
  const rest = [...values]
  return {
    bytes: (length) => {
      const next = rest.shift()
      if (next?.length !== length) throw new Error('the script of random bytes does not fit')
      return next
    },
    fraction: () => 0,
  }
}

export const startOf = (cast: Cast) =>
  startSignIn({
    regionId: cast.north.id,
    audience: AUDIENCE,
    mode: 1,
    random: scripted(DEVICE_SECRET, filled(32, 0x11)),
  })

export const heardOf = (cast: Cast, hello: Uint8Array) =>
  receiveHello(hello, {
    regionId: cast.north.id,
    audiences: [AUDIENCE],
    peerId: undefined,
    nodeKey: cast.north.node,
    certificate: certificateRecord(cast.north),
    bootId: filled(16, 0x33),
    nowMs: NOW_MS,
    random: scripted(NODE_SECRET, filled(32, 0x22)),
  })

export const proofOptions = (cast: Cast) => ({
  userId: cast.ana.id,
  device: { device: 1, registrationEpoch: 1, registrationVersion: 1 },
  deviceKey: cast.ana.device,
  sessionCounter: 7n,
  manifestHash: manifestOf(cast.ana).hash,
  manifest: manifestRecord(cast.ana),
  rootEpochFloor: 1,
  nowMs: NOW_MS,
})

export const sessionOf = (cast: Cast) =>
  create(SessionSchema, {
    sessionId: filled(16, 0x44),
    manifestHash: manifestOf(cast.ana).hash,
    homeRecordHash: filled(32, 0x55),
    frameMaxBytes: 1_048_576,
    inFlightMax: 256,
  })

type HexKeys = { key: string; iv: string }
const keysOf = (keys: HexKeys): DirectionKeys => ({ key: unhex(keys.key), iv: unhex(keys.iv) })

function playFrame(vector: VectorCase, file: VectorFile): void {
  const traffic = file.trafficKeys as unknown as { deviceToNode: HexKeys; nodeToDevice: HexKeys }
  const keys = [keysOf(traffic.deviceToNode), keysOf(traffic.nodeToDevice)] as const
  const opened = openFrame(keys, 1, vector.direction as Direction, vector.counter as number, bytesOf(vector))
  assert.equal(hex(opened), vector.plaintext)
}

/** Throws what the receiver of the vector's message throws; for a good one, checks that this side would have sent it. */
export function playSignIn(cast: Cast, vector: VectorCase, file: VectorFile): void {
  if (vector.step === 'frame') {
    playFrame(vector, file)
    return
  }
  const taken = bytesOf(vector)
  const same = (step: string, bytes: Uint8Array): void => {
    if (vector.step === step && !vector.error) assert.equal(hex(bytes), hex(taken), step)
  }
  const pick = (step: string, good: Uint8Array): Uint8Array => (vector.step === step ? taken : good)
  const { hello, state } = startOf(cast)
  same('hello', hello)
  const heard = heardOf(cast, pick('hello', hello))
  same('node', heard.node)
  const { proof, awaiting } = answerNode(state, pick('node', heard.node), proofOptions(cast))
  same('proof', proof)
  const proved = receiveProof(heard.state, pick('proof', proof), { nowMs: NOW_MS })
  proved.verify(manifestOf(cast.ana))
  const { ready } = proved.ready(sessionOf(cast))
  same('ready', ready)
  openReady(awaiting, pick('ready', ready))
}
