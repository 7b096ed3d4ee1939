// For tests: a device that dials a client port, signs in, and asks over HTTP.
import { once } from 'node:events'
import { create, toBinary } from '@bufbuild/protobuf'
import { WebSocket } from 'ws'
import {
  answerNode,
  audienceOf,
  DeviceFrameSchema,
  decodeHomeFrame,
  encodeDeviceFrame,
  type HomeFrame,
  openReady,
  type RegionId,
  type Session,
  SignedRecordSchema,
  startSignIn,
  systemClock,
  systemRandom,
} from '#protocol'
import type { Person, TestDevice } from '../fixtures.ts'

export function dial(
  url: string,
  options: { protocols?: string[]; origin?: string; path?: string; ca?: string } = {},
): WebSocket {
  const { protocols = ['parley.v1'], origin, path = '/v1/session', ca } = options
  const socket = new WebSocket(url.replace('http', 'ws') + path, protocols, {
    ...(origin && { origin }),
    ...(ca && { ca }),
  })
  socket.on('error', () => undefined)
  return socket
}

export async function next(socket: WebSocket): Promise<Buffer> {
  const [data] = await once(socket, 'message', { signal: AbortSignal.timeout(5_000) })
  return data as Buffer
}

export async function closed(socket: WebSocket): Promise<{ status: number; reason: string }> {
  const [status, reason] = await once(socket, 'close', { signal: AbortSignal.timeout(5_000) })
  return { status: status as number, reason: `${reason}` }
}

export type SignInAs = {
  person: Person
  device?: TestDevice
  manifest?: Person['first']
  counter?: bigint
  audience?: string
  ca?: string
}
let counter = 0n

export async function signIn(url: string, region: RegionId, as: SignInAs) {
  const { person, device = person.device, manifest = person.first } = as
  const socket = dial(url, as.ca === undefined ? {} : { ca: as.ca })
  await once(socket, 'open')
  const start = startSignIn({
    regionId: region,
    audience: as.audience ?? audienceOf(url),
    mode: 1,
    random: systemRandom,
  })
  socket.send(start.hello)
  const nodeBytes = await next(socket)
  const { proof, awaiting } = answerNode(start.state, nodeBytes, {
    userId: person.userId,
    device: {
      device: device.device,
      registrationEpoch: device.registrationEpoch,
      registrationVersion: device.registrationVersion,
    },
    deviceKey: device.key,
    sessionCounter: as.counter ?? ++counter,
    manifestHash: manifest.opened.hash,
    manifest: manifest.manifest,
    rootEpochFloor: 1,
    nowMs: Date.now(),
  })
  const said = [start.hello, proof]
  const ready = next(socket)
  socket.send(proof)
  const { session, plain, channel } = openReady(awaiting, await ready)
  const heard: HomeFrame[] = []
  const waiting: (() => void)[] = []
  socket.on('message', (data: Buffer) => {
    heard.push(decodeHomeFrame(plain ? data : channel.open(data)))
    for (const resolve of waiting.splice(0)) resolve()
  })
  const until = async (wanted: (frame: HomeFrame) => boolean): Promise<HomeFrame> => {
    for (;;) {
      const found = heard.find(wanted)
      if (found) return found
      await new Promise<void>((resolve, reject) => {
        waiting.push(resolve)
        systemClock.after(5_000, () => reject(new Error('the frame did not come')))
      })
    }
  }
  return {
    socket,
    session,
    plain,
    said,
    until,
    send: (frame: Parameters<typeof create<typeof DeviceFrameSchema>>[1]) => {
      const bytes = encodeDeviceFrame(create(DeviceFrameSchema, frame))
      socket.send(plain ? bytes : channel.seal(bytes))
    },
  }
}

export const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')
export const bearer = (session: Pick<Session, 'httpToken'>) => ({
  authorization: `Bearer ${Buffer.from(session.httpToken).toString('base64url')}`,
})

/** What any of the answers may have: tests look at what they asked for. */
type Answer = {
  readonly error?: { readonly code: string }
  readonly status: string
  readonly homeRecord: string
  readonly manifest: string
  readonly bundle: string
  readonly record: string
  readonly regionId: string
  readonly head: string
  readonly entries: readonly string[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly security?: unknown }>>>>
}

export async function ask(url: string, path: string, init: RequestInit & { json?: unknown } = {}) {
  const { json, ...rest } = init
  const headers = {
    ...(json !== undefined && { 'content-type': 'application/json' }),
    ...(rest.headers as Record<string, string>),
  }
  const response = await fetch(`${url}${path}`, {
    ...rest,
    headers,
    ...(json !== undefined && { body: JSON.stringify(json) }),
  })
  const type = response.headers.get('content-type') ?? ''
  const text = await response.text()
  const body: Answer = type.includes('json') ? JSON.parse(text) : {}
  return { status: response.status, text, body, code: body.error?.code }
}

export const records = (of: Person['first']) => ({
  manifest: base64(toBinary(SignedRecordSchema, of.manifest)),
  head: base64(toBinary(SignedRecordSchema, of.head)),
})

export async function register(url: string, person: Person) {
  return ask(url, '/v1/accounts', { method: 'POST', json: records(person.first) })
}
