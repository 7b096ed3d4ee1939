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
import { SOCKET_BACKLOG_MAX_BYTES } from '../limits.ts'

/** Status with which a session ends that had begun; the reason is the code of the refusal sent before. */
export const SESSION_ENDED_CLOSE = 4_001
const CLOSE_GOING = 1_001

export type SignedIn = {
  readonly id: string
  readonly sessionId: Uint8Array
  readonly userId: UserId
  readonly device: DeviceKey
  readonly channel: Channel
  /** Frames go as they are: TLS is around them, or they do not leave the machine. */
  readonly plain: boolean
}

export type Stage =
  | { readonly is: 'hello' }
  | { readonly is: 'proof'; readonly heard: SignInHeard }
  | { readonly is: 'checking'; readonly proved: SignInProved }
  | { readonly is: 'open'; readonly session: SignedIn }
  | { readonly is: 'over'; readonly sinceMs: number }

export type Connection = {
  readonly socket: WebSocket
  readonly raw: Pick<Socket, 'bytesRead'>
  readonly address: string
  readonly openedMs: number
  heardMs: number
  pinged: boolean
  stage: Stage
  /** Set for good once it signed in. */
  session: SignedIn | undefined
}

/** False when the socket takes nothing more: the reader is too slow, and the caller cuts it. */
export function sendFrame(connection: Connection, bytes: Uint8Array): boolean {
  const { socket, stage } = connection
  if (stage.is !== 'open') return true
  socket.send(stage.session.plain ? bytes : stage.session.channel.seal(bytes))
  return socket.bufferedAmount <= SOCKET_BACKLOG_MAX_BYTES
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
