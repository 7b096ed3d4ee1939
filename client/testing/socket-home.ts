// The scripted home behind a real port: HTTP and WebSocket on loopback, with the protocol's own sign-in. What it decides
// is scripted-home.ts; here are only the ways in.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type WebSocket, WebSocketServer } from 'ws'
import {
  decodeDeviceFrame,
  encodeHomeFrame,
  HomeRecordSchema,
  NodeCertificateBodySchema,
  ParleyError,
  type Prekey,
  PrekeyBundleSchema,
  type PrekeysBody,
  PrekeysBodySchema,
  RegionBodySchema,
  RegionNodeSchema,
  receiveHello,
  receiveProof,
  regionIdBytes,
  SessionSchema,
  SignedPrekeysSchema,
  type SignedRecord,
  SignedRecordSchema,
  type SigningKey,
  signRecord,
  systemClock,
  systemRandom,
  type UserId,
} from '#protocol'
import type { HomeSession } from '../rules.ts'
import { ScriptedHome } from './scripted-home.ts'

const DAY_MS = 86_400_000
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
const record = (text: string): SignedRecord => fromBinary(SignedRecordSchema, Buffer.from(text, 'base64'))

export class SocketHome extends ScriptedHome implements AsyncDisposable {
  readonly #server = createServer((request, response) => void this.#answer(request, response))
  readonly #sockets = new Set<WebSocket>()
  readonly #prekeys = new Map<UserId, PrekeysBody>()
  readonly #tokens = new Map<string, UserId>()
  readonly counters = new Map<string, bigint>()
  /** Awaited before a request, as `GET /path`, is answered. */
  hold: (route: string) => Promise<void> = async () => undefined
  origin = ''

  static async start(): Promise<SocketHome> {
    const home = new SocketHome(systemClock, systemRandom)
    home.#server.listen(0, '127.0.0.1')
    await once(home.#server, 'listening')
    home.origin = `http://127.0.0.1:${(home.#server.address() as AddressInfo).port}`
    const sockets = new WebSocketServer({ server: home.#server, handleProtocols: () => 'parley.v1' })
    sockets.on('connection', (socket) => home.#signIn(socket))
    return home
  }

  /** A node of this region, for sign-in. */
  #identity(): { nodeKey: SigningKey; certificate: SignedRecord } {
    const { operational, grant } = this.keys
    const regionId = regionIdBytes(this.region)
    const body = create(NodeCertificateBodySchema, { regionId, nodeKey: operational.publicKey, rootEpoch: 1 })
    const payload = toBinary(NodeCertificateBodySchema, body)
    return { nodeKey: operational, certificate: signRecord('parley/node/v1', payload, operational, grant) }
  }

  #regionRecord(): SignedRecord {
    const { operational, grant } = this.keys
    const now = systemClock.now()
    const body = create(RegionBodySchema, {
      regionId: regionIdBytes(this.region),
      name: 'scripted',
      rootEpoch: 1,
      version: 1,
      nodes: [create(RegionNodeSchema, { peerId: 'none', clientUrls: [this.origin] })],
      notAfterMs: BigInt(now + DAY_MS),
      timeMs: BigInt(now),
    })
    return signRecord('parley/region-record/v1', toBinary(RegionBodySchema, body), operational, grant)
  }

  /** Every connection breaks, as when the process is killed. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.terminate()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cutAll()
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #signIn(socket: WebSocket): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    const nowMs = systemClock.now()
    let step: (bytes: Uint8Array) => void = (bytes) => {
      const { nodeKey, certificate } = this.#identity()
      const bootId = new Uint8Array(16)
      const options = {
        regionId: this.region,
        audiences: [this.origin],
        peerId: undefined,
        nodeKey,
        certificate,
        bootId,
      }
      const { node, state } = receiveHello(bytes, { ...options, nowMs, random: systemRandom })
      socket.send(node)
      step = (sealed) => {
        step = this.#admit(socket, receiveProof(state, sealed, { nowMs }))
      }
    }
    socket.on('message', (data: Buffer) => step(data))
  }

  #admit(socket: WebSocket, proved: ReturnType<typeof receiveProof>): (bytes: Uint8Array) => void {
    const { userId, device, sessionCounter } = proved.claim
    const refuse = (error: ParleyError): (() => void) => {
      socket.send(proved.refuse(error))
      socket.close(4_000, error.code)
      return () => undefined
    }
    const person = this.people.get(userId)
    if (!person) return refuse(new ParleyError('unknown_user', 'nobody here'))
    try {
      proved.verify(person.manifest)
    } catch (error) {
      return refuse(error as ParleyError)
    }
    const name = `${userId}.${device.registrationEpoch}.${device.registrationVersion}`
    if (sessionCounter <= (this.counters.get(name) ?? 0n)) return refuse(new ParleyError('old_profile', 'used before'))
    this.counters.set(name, sessionCounter)
    const token = systemRandom.bytes(48)
    this.#tokens.set(Buffer.from(token).toString('base64url'), userId)
    const session = create(SessionSchema, {
      sessionId: new Uint8Array(16),
      manifestHash: person.manifest.hash,
      homeRecordHash: new Uint8Array(32),
      httpToken: token,
      inFlightMax: 256,
    })
    socket.send(proved.ready(session).ready)
    const home: HomeSession = this.connect(userId, device, (_, frame) => socket.send(encodeHomeFrame(frame)))
    socket.on('close', () => this.disconnect(userId, device))
    return (bytes) => home.send(decodeDeviceFrame(bytes))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const say = (status: number, value: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    }
    try {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const body = chunks.length > 0 ? (JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string>) : {}
      const user = this.#tokens.get((request.headers.authorization ?? '').replace('Bearer ', ''))
      await this.hold(`${request.method} ${request.url}`)
      say(200, this.#route(`${request.method} ${request.url}`, body, user))
    } catch (error) {
      if (!(error instanceof ParleyError)) throw error
      say(400, { error: { code: error.code, message: error.message, facts: error.facts } })
    }
  }

  #route(route: string, body: Record<string, string>, user: UserId | undefined): unknown {
    if (route === 'GET /v1/health') return { status: 'ok' }
    if (route === 'GET /v1/region') return { record: base64(toBinary(SignedRecordSchema, this.#regionRecord())) }
    if (route === 'POST /v1/accounts' || route === 'PUT /v1/manifest') {
      const { home } = this.admit({ manifest: record(body.manifest!), head: record(body.head!) } as never)
      return { homeRecord: base64(toBinary(HomeRecordSchema, home.record)) }
    }
    const [, , , kind, id] = route.split(/[ /]/)
    const person = this.people.get(id as UserId)
    if (kind === 'prekeys' && user) return this.#stock(route, body, user)
    if (!person) throw new ParleyError('unknown_user', 'nobody has this id')
    if (route.endsWith('/bundle')) return { bundle: base64(this.#bundle(id as UserId)) }
    return {
      homeRecord: base64(toBinary(HomeRecordSchema, person.home.record)),
      manifest: base64(toBinary(SignedRecordSchema, person.manifest.record)),
    }
  }

  #stock(route: string, body: Record<string, string>, user: UserId): { oneTime: number; oneTimeKyber: number } {
    if (route.startsWith('PUT')) {
      const upload = fromBinary(SignedPrekeysSchema, Buffer.from(body.prekeys!, 'base64'))
      this.#prekeys.set(user, fromBinary(PrekeysBodySchema, upload.payload))
    }
    const kept = this.#prekeys.get(user)
    return { oneTime: kept?.oneTime.length ?? 0, oneTimeKyber: kept?.oneTimeKyber.length ?? 0 }
  }

  #bundle(user: UserId): Uint8Array {
    const kept = this.#prekeys.get(user)
    const kyber = kept?.oneTimeKyber.pop() ?? kept?.lastResortKyber
    if (!kept || !kyber) throw new ParleyError('not_found', 'no prekeys')
    const { userId, device, registrationEpoch, registrationVersion, signed } = kept
    const oneTime: Prekey | undefined = kept.oneTime.pop()
    this.bundles++
    const named = { userId, device, registrationEpoch, registrationVersion, kyber }
    return toBinary(
      PrekeyBundleSchema,
      create(PrekeyBundleSchema, { ...named, ...(signed && { signed }), ...(oneTime && { oneTime }) }),
    )
  }
}
