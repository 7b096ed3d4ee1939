// One socket of a device: where its sign-in stands, and how bytes leave.
import type { Socket } from 'node:net'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import type { WebSocket } from 'ws'
import {
  type Channel,
  type DeviceKey,
  encodeHomeFrame,
  HomeFrameSchema,
  type ParleyError,
  refusalOf,
  SIGN_IN_REFUSED_CLOSE,
  type SignInHeard,
  type SignInProved,
  type UserId,
} from '#protocol'
import { SOCKET_BACKLOG_HELD_BYTES, SOCKET_BACKLOG_MAX_BYTES } from '../limits.ts'

/** Status with which a session ends that had begun; the reason is the code of the refusal sent before. */
export const SESSION_ENDED_CLOSE = 4_001
const CLOSE_GOING = 1_001

export type SignedIn = {
  /** The session id in hexadecimal. */
  readonly id: string
  readonly userId: UserId
  readonly device: DeviceKey
  /** Undefined: frames go as they are. TLS is around them, or they do not leave the machine. */
  readonly channel: Channel | undefined
}

export type Stage =
  | { readonly is: 'hello' }
  /** It has said hello and waits for its turn. */
  | { readonly is: 'waiting' }
  | { readonly is: 'proof'; readonly heard: SignInHeard }
  | { readonly is: 'checking'; readonly proved: SignInProved }
  | { readonly is: 'open'; readonly session: SignedIn }
  | { readonly is: 'over'; readonly sinceMs: number }

export type Connection = {
  readonly socket: WebSocket
  readonly raw: Pick<Socket, 'bytesRead' | 'write' | 'once' | 'destroy'>
  readonly address: string
  /** What the socket had brought before it was one of a device: a proxy sends many requests over one. */
  readonly readBefore: number
  /** Since when the next part of its sign-in is awaited. */
  awaitedMs: number
  heardMs: number
  pinged: boolean
  /** For how many reasons its socket is not read. */
  holds: number
  /** It reads too little of what it is told to be heard. */
  overfull: boolean
  stage: Stage
  /** Set for good once it signed in. */
  session: SignedIn | undefined
}

const OPEN = 1

export type Held = Pick<Connection, 'holds'> & {
  readonly socket: { pause(): void; resume(): void; readonly readyState: number }
}

/** Reads nothing more, until it was released as often as it was held. */
export function hold(connection: Held): void {
  if (++connection.holds === 1) connection.socket.pause()
}

export function release(connection: Held): void {
  if (--connection.holds === 0 && connection.socket.readyState === OPEN) connection.socket.resume()
}

const FIN_BINARY = 0x82
const LENGTH_16 = 126
const LENGTH_64 = 127

/**
 * A whole, unmasked WebSocket message (RFC 6455, 5.2) in one piece: ws itself writes its head and its body one after the
 * other, and two writes cost more than a copy.
 */
function binaryMessage(body: Uint8Array): Buffer {
  const { length } = body
  const head = length < LENGTH_16 ? 2 : length < 65_536 ? 4 : 10
  const message = Buffer.allocUnsafe(head + length)
  message[0] = FIN_BINARY
  if (head === 2) message[1] = length
  else if (head === 4) {
    message[1] = LENGTH_16
    message.writeUInt16BE(length, 2)
  } else {
    message[1] = LENGTH_64
    message.writeUInt32BE(0, 2)
    message.writeUInt32BE(length, 6)
  }
  message.set(body, head)
  return message
}

function holdUntilRead(connection: Connection): void {
  connection.overfull = true
  hold(connection)
  connection.raw.once('drain', () => {
    connection.overfull = false
    release(connection)
  })
}

/**
 * A device that does not read is not heard either: it could ask for more and more. False when the socket takes nothing
 * more all the same, and the caller cuts it.
 */
export function sendFrame(connection: Connection, bytes: Uint8Array): boolean {
  const { socket, raw, stage } = connection
  if (stage.is !== 'open' || socket.readyState !== OPEN) return true
  raw.write(binaryMessage(stage.session.channel?.seal(bytes) ?? bytes))
  const unread = socket.bufferedAmount
  if (unread > SOCKET_BACKLOG_HELD_BYTES && !connection.overfull) holdUntilRead(connection)
  return unread <= SOCKET_BACKLOG_MAX_BYTES
}

export const homeFrame = (init: MessageInitShape<typeof HomeFrameSchema>): Uint8Array =>
  encodeHomeFrame(create(HomeFrameSchema, init))

/** Tells the other side why, as well as the stage allows, and closes. Returns false if it was over already. */
export function endConnection(connection: Connection, reason: ParleyError | undefined, nowMs: number): boolean {
  const { socket, stage } = connection
  if (stage.is === 'over') return false
  if (reason && stage.is === 'open') sendFrame(connection, homeFrame({ refusal: refusalOf(reason) }))
  if (reason && stage.is === 'checking') socket.send(stage.proved.refuse(reason))
  connection.stage = { is: 'over', sinceMs: nowMs }
  const status = stage.is === 'open' ? SESSION_ENDED_CLOSE : SIGN_IN_REFUSED_CLOSE
  socket.close(reason ? status : CLOSE_GOING, reason?.code ?? '')
  return true
}
