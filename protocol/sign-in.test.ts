import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { certificateRecord, filled, makeCast, manifestOf, manifestRecord, NOW_MS } from './fixtures.ts'
import { audienceOf, framesGoPlain } from './handshake.ts'
import { ParleyError } from './refusals.ts'
import type { SignInMode } from './sealed.ts'
import { answerNode, openReady, startSignIn } from './sign-in.ts'
import { receiveHello, receiveProof } from './sign-in-node.ts'
import { proofOptions, sessionOf } from './sign-in-player.ts'
import { simulatedRandom } from './simulated.ts'

const cast = makeCast(5)
const random = simulatedRandom(99)
const AUDIENCE = 'http://127.0.0.1:8080'
const EDGE = '12D3KooWEdge'

const start = (mode: SignInMode = 1, audience = mode === 1 ? AUDIENCE : EDGE) =>
  startSignIn({ regionId: cast.north.id, audience, mode, random })

const nodeOptions = (peerId: string | undefined = undefined, audiences: readonly string[] = [AUDIENCE]) => ({
  regionId: cast.north.id,
  audiences,
  peerId,
  nodeKey: cast.north.node,
  certificate: certificateRecord(cast.north),
  bootId: random.bytes(16),
  nowMs: NOW_MS,
  random,
})

function signIn(mode: SignInMode = 1) {
  const { hello, state } = start(mode)
  const heard = receiveHello(hello, nodeOptions(mode === 2 ? EDGE : undefined))
  const { proof, awaiting } = answerNode(state, heard.node, proofOptions(cast))
  const proved = receiveProof(heard.state, proof, { nowMs: NOW_MS })
  return { hello, heard, proof, awaiting, proved }
}

function signedIn(mode: SignInMode = 1) {
  const { awaiting, proved, ...rest } = signIn(mode)
  proved.verify(manifestOf(cast.ana))
  const node = proved.ready(sessionOf(cast))
  return { ...rest, node, device: openReady(awaiting, node.ready) }
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

describe('sign-in', () => {
  for (const mode of [1, 2] as const) {
    it(`mode ${mode}: both ends agree on session and keys, and frames open in order`, () => {
      const { node, device } = signedIn(mode)
      assert.deepEqual(device.session.sessionId, filled(16, 0x44))
      assert.equal(device.plain, mode === 1)
      assert.equal(node.plain, device.plain)
      for (const word of ['one', 'two', 'three']) {
        assert.equal(text(node.channel.open(device.channel.seal(Buffer.from(word)))), word)
        assert.equal(text(device.channel.open(node.channel.seal(Buffer.from(word)))), word)
      }
    })
  }

  it('says what the device claims, and finds it in the manifest', () => {
    const { proved } = signIn()
    assert.equal(proved.claim.userId, cast.ana.id)
    assert.equal(proved.claim.sessionCounter, 7n)
    assert.equal(proved.claim.manifest?.version, 1)
    assert.equal(proved.verify(manifestOf(cast.ana)).number, 1)
  })

  it('a manifest that the home has need not be sent', () => {
    const { hello, state } = start()
    const heard = receiveHello(hello, nodeOptions())
    const { proof } = answerNode(state, heard.node, { ...proofOptions(cast), manifest: undefined })
    const proved = receiveProof(heard.state, proof, { nowMs: NOW_MS })
    assert.equal(proved.claim.manifest, undefined)
    proved.verify(manifestOf(cast.ana))
  })

  it('a refusal opens as the error that it is', () => {
    const { awaiting, proved } = signIn()
    const refusal = proved.refuse(new ParleyError('not_home', 'moved', { home: cast.south.id }))
    assert.throws(() => openReady(awaiting, refusal), { code: 'not_home', facts: { home: cast.south.id } })
  })

  it('there is no session before the proof was verified, and only one answer', () => {
    const { proved } = signIn()
    assert.throws(() => proved.ready(sessionOf(cast)), /before verify/)
    proved.verify(manifestOf(cast.ana))
    proved.ready(sessionOf(cast))
    assert.throws(() => proved.refuse(new ParleyError('closing', 'late')), /twice/)
  })

  it('a replayed hello gets an answer to which the old proof does not fit', () => {
    const { hello, proof } = signIn()
    const again = receiveHello(hello, nodeOptions())
    assert.throws(() => receiveProof(again.state, proof, { nowMs: NOW_MS }), { code: 'bad_signature' })
  })

  it('a sign-in passed on to another node or another way in is refused', () => {
    const direct = start(1).hello
    const edged = start(2).hello
    const wrong = { code: 'wrong_audience' }
    assert.throws(() => receiveHello(direct, nodeOptions(undefined, ['https://other.example:443'])), wrong)
    assert.throws(() => receiveHello(direct, nodeOptions(EDGE)), wrong, 'direct hello over a link')
    assert.throws(() => receiveHello(edged, nodeOptions()), wrong, 'edge hello on a socket')
    assert.throws(() => receiveHello(edged, nodeOptions('12D3KooWThief')), wrong, 'another edge')
    assert.throws(() => receiveHello(direct, { ...nodeOptions(), regionId: cast.south.id }), wrong, 'another region')
  })

  it('a node in the middle that answers itself is found out', () => {
    const { hello, state } = start()
    const evil = { ...nodeOptions(), nodeKey: cast.stranger }
    assert.throws(() => answerNode(state, receiveHello(hello, evil).node, proofOptions(cast)), {
      code: 'bad_signature',
    })
    const other = start()
    const south = { ...nodeOptions(), nodeKey: cast.south.node, certificate: certificateRecord(cast.south) }
    assert.throws(() => answerNode(other.state, receiveHello(other.hello, south).node, proofOptions(cast)), {
      code: 'wrong_root',
    })
  })

  it('a node of a root epoch below the floor is refused', () => {
    const { hello, state } = start()
    const { node } = receiveHello(hello, nodeOptions())
    assert.throws(() => answerNode(state, node, { ...proofOptions(cast), rootEpochFloor: 2 }), { code: 'too_old' })
  })

  it('a manifest that came with the proof is verified', () => {
    const { hello, state } = start()
    const heard = receiveHello(hello, nodeOptions())
    const manifest = { ...manifestRecord(cast.ana), signature: filled(64, 1) }
    const { proof } = answerNode(state, heard.node, { ...proofOptions(cast), manifest })
    assert.throws(() => receiveProof(heard.state, proof, { nowMs: NOW_MS }), { code: 'bad_signature' })
  })

  it('no step can be made twice from one state', () => {
    const { hello, state } = start()
    const heard = receiveHello(hello, nodeOptions())
    const { proof } = answerNode(state, heard.node, proofOptions(cast))
    assert.throws(() => answerNode(state, heard.node, proofOptions(cast)), /twice/)
    receiveProof(heard.state, proof, { nowMs: NOW_MS })
    assert.throws(() => receiveProof(heard.state, proof, { nowMs: NOW_MS }), /twice/)
  })
})

describe('a sealed session', () => {
  const frame = Buffer.from('frame')

  it('ends at a frame that is lost, repeated, reordered, changed, cut off or sent back', () => {
    const spoil: Record<string, (a: Uint8Array, b: Uint8Array, own: Uint8Array) => Uint8Array[]> = {
      lost: (_a, b) => [b],
      repeated: (a) => [a, a],
      changed: (a) => [a.map((byte, index) => (index === 0 ? byte ^ 1 : byte))],
      'cut off': (a) => [a.subarray(0, 10)],
      'sent back': (_a, _b, own) => [own],
    }
    for (const [how, make] of Object.entries(spoil)) {
      const { node, device } = signedIn(2)
      const [a, b] = [device.channel.seal(frame), device.channel.seal(frame)]
      const sent = make(a, b, node.channel.seal(frame))
      assert.throws(() => sent.map((bytes) => node.channel.open(bytes)), ParleyError, how)
      for (const next of [b, a]) {
        assert.throws(() => node.channel.open(next), { code: 'bad_signature' }, `${how}: goes on`)
      }
    }
  })

  it('the same frame never looks the same twice', () => {
    const { device } = signedIn(2)
    assert.notDeepEqual(device.channel.seal(frame), device.channel.seal(frame))
  })

  it('frames over the limit are not opened', () => {
    const { node } = signedIn(2)
    assert.throws(() => node.channel.open(new Uint8Array(2 * 1024 * 1024)), { code: 'too_large' })
  })
})

describe('audiences', () => {
  it('are written one way', () => {
    const same = [
      'https://Example.org',
      'wss://example.org/v1/session',
      'https://example.org:443/',
      'HTTPS://EXAMPLE.ORG:443?x',
    ]
    for (const url of same) assert.equal(audienceOf(url), 'https://example.org:443')
    assert.equal(audienceOf('ws://localhost'), 'http://localhost:80')
    assert.equal(audienceOf('http://[::1]:9000/'), 'http://[::1]:9000')
  })

  it('are web addresses', () => {
    for (const url of ['', 'example.org', 'ftp://example.org', 'file:///etc/passwd']) {
      assert.throws(() => audienceOf(url), { code: 'bad_argument' }, url)
    }
  })

  it('frames go plain under TLS and on loopback only', () => {
    const plain = ['https://a.example:443', 'http://localhost:80', 'http://127.0.0.1:8080', 'http://[::1]:1']
    const sealed = ['http://a.example:80', 'http://127.0.0.1.evil.example:80', 'http://10.0.0.1:80', 'nonsense']
    for (const audience of plain) assert.equal(framesGoPlain(1, audience), true, audience)
    for (const audience of [...plain, ...sealed]) assert.equal(framesGoPlain(2, audience), false, audience)
    for (const audience of sealed) assert.equal(framesGoPlain(1, audience), false, audience)
  })
})
