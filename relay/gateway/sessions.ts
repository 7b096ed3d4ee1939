// Device sessions: sockets that were let in, their sign-in, and the frames between device and rules.
// All sockets share the same handlers and one sweep; a socket costs a small record and no timer.
import type { Socket } from 'node:net'
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import type { RawData, WebSocket } from 'ws'
import {
  type DeviceFrame,
  decodeDeviceFrame,
  HomeRecordSchema,
  limits,
  type NoticeSchema,
  ParleyError,
  receiveHello,
  receiveProof,
  SessionSchema,
  type SignInProved,
  sha256,
  type UserId,
} from '#protocol'
import type { Account } from '../accounts/accounts.ts'
import {
  CLOSE_PATIENCE_MS,
  IDLE_MAX_MS,
  PING_AFTER_MS,
  SIGN_IN_BYTES_MAX,
  SIGN_IN_WHOLE_MS,
  TURN_SUBMISSIONS_MAX,
} from '../limits.ts'
import type { DeviceSession } from '../rules/ports.ts'
import { type Connection, endConnection, hold, homeFrame, release, type SignedIn, sendFrame } from './connection.ts'
import type { Doors } from './doors.ts'
import { createPace, type Pace } from './pace.ts'
import type { GatewayParts, Reader } from './parts.ts'
import { checkProof } from './sign-in.ts'
import { SESSION_ID_BYTES, type Tokens } from './tokens.ts'
import { createTurns, type Step, type Turns } from './turns.ts'

export type Sessions = {
  /** Takes a socket that the doors have counted in. */
  take(socket: WebSocket, raw: Socket, address: string): void
  /** Looks at every socket: late sign-ins, idle ones, tokens to renew. */
  sweep(): void
  /** Sends a notice to the sessions of this device, if it has one here. */
  notify(user: UserId, device: number, what: MessageInitShape<typeof NoticeSchema>['what']): void
  closeAll(reason: ParleyError): void
  counts(): { sockets: number; sessions: number }
}

type Floor = {
  readonly parts: GatewayParts
  readonly doors: Doors
  readonly tokens: Tokens<Reader>
  readonly pace: Pace
  readonly turns: Turns<Connection>
  readonly audiences: () => readonly string[]
  readonly connections: Map<WebSocket, Connection>
  /** By user and device with its registration. */
  readonly byDevice: Map<string, Connection>
}

const deviceName = (session: Reader) =>
  `${session.userId}/${session.device.device}.${session.device.registrationEpoch}.${session.device.registrationVersion}`

function end(floor: Floor, connection: Connection, reason: ParleyError | undefined): void {
  if (!endConnection(connection, reason, floor.parts.clock.monotonic())) return
  const { session } = connection
  if (!session) {
    if (reason) floor.parts.events.signInRefused(reason)
    return
  }
  floor.tokens.forget(session.sessionId)
  if (floor.byDevice.get(deviceName(session)) === connection) floor.byDevice.delete(deviceName(session))
  floor.parts.events.sessionEnded(session.userId, session.device.device, reason)
  // Not from within a call of the rules.
  queueMicrotask(() => floor.parts.relay().closeSession(session.id))
}

/** A fault of ours ends the session too, but says no more than that. */
function refusalFor(floor: Floor, error: unknown): ParleyError {
  if (error instanceof ParleyError) return error
  floor.parts.events.fault('session', error)
  return new ParleyError('overloaded', 'this node could not go on with the session', {}, 1_000)
}

function send(floor: Floor, connection: Connection, frame: Uint8Array): void {
  if (sendFrame(connection, frame)) return
  end(floor, connection, new ParleyError('overloaded', 'the device reads too slowly', {}, 1_000))
  connection.socket.terminate()
}

function deviceSession(floor: Floor, connection: Connection, session: SignedIn): DeviceSession {
  return {
    id: session.id,
    userId: session.userId,
    device: session.device,
    send: (frame) => send(floor, connection, frame),
    backlog: () => connection.socket.bufferedAmount,
    close: (reason) => end(floor, connection, reason),
  }
}

function sessionMessage(floor: Floor, account: Account, sessionId: Uint8Array, reader: Reader) {
  const token = floor.tokens.issue(sessionId, reader)
  return create(SessionSchema, {
    sessionId,
    manifestHash: account.manifest.hash,
    homeRecordHash: sha256(toBinary(HomeRecordSchema, account.home.record)),
    httpToken: token.bytes,
    httpTokenExpiresMs: BigInt(token.expiresMs),
    frameMaxBytes: limits.FRAME_MAX_BYTES,
    inFlightMax: limits.IN_FLIGHT_MAX,
  })
}

function open(floor: Floor, connection: Connection, proved: SignInProved, account: Account): void {
  const { parts, byDevice } = floor
  const { userId, device } = proved.claim
  const sessionId = parts.random.bytes(SESSION_ID_BYTES)
  const { ready, channel, plain } = proved.ready(sessionMessage(floor, account, sessionId, { userId, device }))
  const session = { id: Buffer.from(sessionId).toString('hex'), sessionId, userId, device, channel, plain }
  const older = byDevice.get(deviceName(session))
  if (older) {
    end(floor, older, new ParleyError('signed_in_elsewhere', 'a newer session of this device has begun'))
    parts.relay().closeSession(older.session!.id)
  }
  connection.session = session
  connection.stage = { is: 'open', session }
  byDevice.set(deviceName(session), connection)
  floor.doors.signedIn(connection.raw)
  connection.socket.send(ready)
  parts.events.signedIn(userId, device.device)
  parts.relay().openSession(deviceSession(floor, connection, session))
}

async function admit(floor: Floor, connection: Connection, proved: SignInProved): Promise<void> {
  const { parts } = floor
  try {
    const account = await checkProof(proved, parts.accounts)
    if (connection.stage.is !== 'checking') return
    open(floor, connection, proved, account)
    const { userId, device } = proved.claim
    const { oneTime, oneTimeKyber, low } = await parts.prekeys.counts(userId, device)
    if (!low) return
    const notice = { what: { case: 'prekeysLow', value: { oneTime, oneTimeKyber } } } as const
    send(floor, connection, homeFrame({ notices: [notice] }))
  } catch (error) {
    end(floor, connection, refusalFor(floor, error))
  }
}

const itemsOf = ({ names, submissions, cursors, pulls, registers }: DeviceFrame): number =>
  names.length + submissions.length + cursors.length + pulls.length + registers.length

/** What comes first in a frame goes with the first of its submissions, the rest with the last. */
function pieceOf(frame: DeviceFrame, from: number, to: number): DeviceFrame {
  const { submissions, names, ...rest } = frame
  const nothing = { cursors: [], pulls: [], registers: [], ping: 0 }
  return {
    ...rest,
    ...(to < submissions.length && nothing),
    names: from === 0 ? names : [],
    submissions: submissions.slice(from, to),
  }
}

/** Hands over a frame in pieces, each of which takes the rules a bounded time. */
function handOver(floor: Floor, connection: Connection, frame: DeviceFrame, from: number): Step | undefined {
  const { stage } = connection
  if (stage.is !== 'open') return undefined
  const { length } = frame.submissions
  const to = from + TURN_SUBMISSIONS_MAX
  floor.parts.relay().deviceFrame(stage.session.id, length <= to && from === 0 ? frame : pieceOf(frame, from, to))
  return to < length ? () => guarded(floor, connection, () => handOver(floor, connection, frame, to)) : undefined
}

function read(floor: Floor, connection: Connection, bytes: Uint8Array): Step | undefined {
  const { stage } = connection
  if (stage.is !== 'open') return undefined
  const { plain, channel } = stage.session
  const frame = decodeDeviceFrame(plain ? bytes : channel.open(bytes))
  floor.pace.spend(connection, bytes.length, itemsOf(frame))
  return handOver(floor, connection, frame, 0)
}

function guarded(floor: Floor, connection: Connection, step: Step): Step | undefined {
  try {
    return step()
  } catch (error) {
    end(floor, connection, refusalFor(floor, error))
    return undefined
  }
}

function hear(floor: Floor, connection: Connection, bytes: Uint8Array): void {
  const { parts } = floor
  const { stage, socket } = connection
  switch (stage.is) {
    case 'hello': {
      const { node, state } = receiveHello(bytes, {
        regionId: parts.identity.regionId,
        audiences: floor.audiences(),
        peerId: undefined,
        nodeKey: parts.identity.nodeKey,
        certificate: parts.identity.certificate,
        bootId: parts.identity.bootId,
        nowMs: parts.clock.now(),
        random: parts.random,
      })
      connection.stage = { is: 'proof', heard: state }
      socket.send(node)
      return
    }
    case 'proof': {
      const proved = receiveProof(stage.heard, bytes, { nowMs: parts.clock.now() })
      connection.stage = { is: 'checking', proved }
      void admit(floor, connection, proved)
      return
    }
    case 'checking':
      throw new ParleyError('malformed', 'a frame before the session is ready')
    case 'open': {
      floor.turns.say(connection, bytes.length, () => guarded(floor, connection, () => read(floor, connection, bytes)))
      return
    }
    case 'over':
  }
}

function sweepOpen(floor: Floor, connection: Connection, session: SignedIn, silentMs: number): void {
  if (silentMs > IDLE_MAX_MS) {
    end(floor, connection, new ParleyError('timeout', 'the device was silent for too long'))
    return
  }
  if (silentMs > PING_AFTER_MS && !connection.pinged) {
    connection.pinged = true
    connection.socket.ping()
  }
  if (!floor.tokens.halfOver(session.sessionId)) return
  const { bytes, expiresMs } = floor.tokens.issue(session.sessionId, session)
  const token = { token: bytes, expiresMs: BigInt(expiresMs) }
  send(floor, connection, homeFrame({ notices: [{ what: { case: 'httpToken', value: token } }] }))
}

function sweepOne(floor: Floor, connection: Connection, nowMs: number): void {
  const { stage, socket, openedMs } = connection
  if (stage.is === 'over') {
    if (nowMs - stage.sinceMs > CLOSE_PATIENCE_MS) socket.terminate()
    return
  }
  if (stage.is === 'open') {
    sweepOpen(floor, connection, stage.session, nowMs - connection.heardMs)
    return
  }
  if (connection.raw.bytesRead > SIGN_IN_BYTES_MAX) {
    end(
      floor,
      connection,
      new ParleyError('too_large', 'too many bytes before sign-in', { limit: `${SIGN_IN_BYTES_MAX}` }),
    )
    socket.terminate()
    return
  }
  const patienceMs = stage.is === 'hello' ? limits.SIGN_IN_FIRST_MS : SIGN_IN_WHOLE_MS
  if (nowMs - openedMs > patienceMs) end(floor, connection, new ParleyError('timeout', 'the sign-in took too long'))
}

function handlers(floor: Floor) {
  const { connections, parts } = floor
  const heard = (socket: WebSocket): Connection | undefined => {
    const connection = connections.get(socket)
    if (!connection || connection.stage.is === 'over') return undefined
    connection.heardMs = parts.clock.monotonic()
    connection.pinged = false
    return connection
  }
  return {
    message(this: WebSocket, data: RawData, isBinary: boolean): void {
      const connection = heard(this)
      if (!connection) return
      try {
        if (!isBinary || !Buffer.isBuffer(data)) throw new ParleyError('malformed', 'frames are binary')
        hear(floor, connection, data)
      } catch (error) {
        end(floor, connection, refusalFor(floor, error))
      }
    },
    alive(this: WebSocket): void {
      heard(this)
    },
    /** ws has closed it with the fitting status; the event would end the process if nobody listened. */
    error(this: WebSocket): void {
      const connection = connections.get(this)
      if (connection) end(floor, connection, new ParleyError('malformed', 'the WebSocket rules were broken'))
    },
    close(this: WebSocket): void {
      const connection = connections.get(this)
      if (!connection) return
      connections.delete(this)
      floor.doors.leave(connection.address, connection.raw)
      // What it said before is heard before.
      floor.turns.say(connection, 0, () => {
        end(floor, connection, undefined)
        return undefined
      })
    },
  }
}

export function createSessions(
  parts: GatewayParts,
  doors: Doors,
  tokens: Tokens<Reader>,
  audiences: () => readonly string[],
): Sessions {
  const pace = createPace(parts.clock)
  const turns = createTurns<Connection>({ clock: parts.clock, schedule: setImmediate, hold, release })
  const floor: Floor = { parts, doors, tokens, pace, turns, audiences, connections: new Map(), byDevice: new Map() }
  const on = handlers(floor)
  return {
    take(socket, raw, address) {
      const nowMs = parts.clock.monotonic()
      floor.connections.set(socket, {
        socket,
        raw,
        address,
        openedMs: nowMs,
        heardMs: nowMs,
        pinged: false,
        holds: 0,
        overfull: false,
        stage: { is: 'hello' },
        session: undefined,
      })
      socket
        .on('message', on.message)
        .on('ping', on.alive)
        .on('pong', on.alive)
        .on('error', on.error)
        .on('close', on.close)
    },
    sweep() {
      const nowMs = parts.clock.monotonic()
      for (const connection of floor.connections.values()) sweepOne(floor, connection, nowMs)
    },
    notify(user, device, what) {
      const account = parts.accounts.known(user)
      const entry = account?.manifest.devices.find((d) => d.number === device)
      if (!entry) return
      const { number, registrationEpoch, registrationVersion } = entry
      const key = { device: number, registrationEpoch, registrationVersion }
      const connection = floor.byDevice.get(deviceName({ userId: user, device: key }))
      if (connection && what) send(floor, connection, homeFrame({ notices: [{ what }] }))
    },
    closeAll(reason) {
      for (const connection of floor.connections.values()) end(floor, connection, reason)
    },
    counts: () => ({ sockets: floor.connections.size, sessions: floor.byDevice.size }),
  }
}
