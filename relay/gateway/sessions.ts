// Device sessions: sockets that were let in, their sign-in, and the frames between device and rules.
// All sockets share the same handlers and one sweep; a socket costs a small record and no timer.
import type { Socket } from 'node:net'
import type { MessageInitShape } from '@bufbuild/protobuf'
import type { RawData, WebSocket } from 'ws'
import { type DeviceFrame, decodeDeviceFrame, limits, type NoticeSchema, ParleyError, type UserId } from '#protocol'
import {
  CLOSE_PATIENCE_MS,
  IDLE_MAX_MS,
  PING_AFTER_MS,
  SIGN_IN_BYTES_MAX,
  SIGN_IN_PROOF_MS,
  SWEEP_MS,
  SWEEP_SLICE_MS,
  TURN_SUBMISSIONS_MAX,
} from '../limits.ts'
import type { Admission } from './admission.ts'
import { type Connection, hold, homeFrame, release, type SignedIn } from './connection.ts'
import type { Doors } from './doors.ts'
import { deviceName, end, type Floor, guarded, refusalFor, send } from './floor.ts'
import { createPace } from './pace.ts'
import type { GatewayParts, Reader } from './parts.ts'
import { awaitMore, hearSignIn } from './signing-in.ts'
import type { Tokens } from './tokens.ts'
import { createTurns, type Step } from './turns.ts'

export type Sessions = {
  /** Takes a socket that the doors have counted in. */
  take(socket: WebSocket, raw: Socket, address: string): void
  /** Looks at every socket: late sign-ins, idle ones, tokens to renew. */
  sweep(): void
  /** Looks at the next few of them: often enough, and it is each one's turn every SWEEP_MS. */
  sweepSome(): void
  /** Sends a notice to the sessions of this device, if it has one here. */
  notify(user: UserId, device: number, what: MessageInitShape<typeof NoticeSchema>['what']): void
  closeAll(reason: ParleyError): void
  counts(): { sockets: number; sessions: number }
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
  const frame = decodeDeviceFrame(stage.session.channel?.open(bytes) ?? bytes)
  floor.pace.spend(connection, bytes.length, itemsOf(frame))
  return handOver(floor, connection, frame, 0)
}

function hear(floor: Floor, connection: Connection, bytes: Uint8Array): void {
  const { stage } = connection
  switch (stage.is) {
    case 'hello':
    case 'waiting':
    case 'proof':
    case 'checking':
      hearSignIn(floor, connection, bytes)
      return
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
  const renewed = floor.tokens.renewed(session.id)
  if (!renewed) return
  const token = { token: renewed.bytes, expiresMs: BigInt(renewed.expiresMs) }
  send(floor, connection, homeFrame({ notices: [{ what: { case: 'httpToken', value: token } }] }))
}

function sweepOne(floor: Floor, connection: Connection, nowMs: number): void {
  const { stage, socket, awaitedMs } = connection
  if (stage.is === 'over') {
    if (nowMs - stage.sinceMs > CLOSE_PATIENCE_MS) socket.terminate()
    return
  }
  if (stage.is === 'open') {
    sweepOpen(floor, connection, stage.session, nowMs - connection.heardMs)
    return
  }
  if (connection.raw.bytesRead - connection.readBefore > SIGN_IN_BYTES_MAX) {
    end(
      floor,
      connection,
      new ParleyError('too_large', 'too many bytes before sign-in', { limit: `${SIGN_IN_BYTES_MAX}` }),
    )
    socket.terminate()
    return
  }
  if (stage.is !== 'hello' && stage.is !== 'proof') return
  const patienceMs = stage.is === 'hello' ? limits.SIGN_IN_FIRST_MS : SIGN_IN_PROOF_MS
  if (nowMs - awaitedMs > patienceMs) end(floor, connection, new ParleyError('timeout', 'the sign-in took too long'))
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
  { doors, admission }: { readonly doors: Doors; readonly admission: Admission },
  tokens: Tokens<Reader>,
  audiences: () => readonly string[],
): Sessions {
  const pace = createPace(parts.clock)
  const turns = createTurns<Connection>({ clock: parts.clock, schedule: setImmediate, hold, release })
  const connections = new Map<WebSocket, Connection>()
  const floor: Floor = { parts, doors, tokens, pace, turns, admission, audiences, connections, byDevice: new Map() }
  const on = handlers(floor)
  let swept = connections.values()
  return {
    take(socket, raw, address) {
      const connection: Connection = {
        socket,
        raw,
        address,
        readBefore: raw.bytesRead,
        awaitedMs: 0,
        heardMs: parts.clock.monotonic(),
        pinged: false,
        holds: 0,
        overfull: false,
        stage: { is: 'hello' },
        session: undefined,
      }
      connections.set(socket, connection)
      // Nobody listens there any more: shutting it down first costs a crowd of them one more call each, all in one moment.
      raw.once('end', () => void raw.destroy())
      awaitMore(floor, connection)
      socket
        .on('message', on.message)
        .on('ping', on.alive)
        .on('pong', on.alive)
        .on('error', on.error)
        .on('close', on.close)
    },
    sweep() {
      const nowMs = parts.clock.monotonic()
      for (const connection of connections.values()) sweepOne(floor, connection, nowMs)
    },
    sweepSome() {
      const nowMs = parts.clock.monotonic()
      for (let left = Math.ceil((connections.size * SWEEP_SLICE_MS) / SWEEP_MS); left > 0; left--) {
        const { value, done } = swept.next()
        if (done) {
          swept = connections.values()
          return
        }
        sweepOne(floor, value, nowMs)
      }
    },
    notify(user, device, what) {
      const account = parts.accounts.known(user)
      const entry = account?.manifest.devices.find((d) => d.number === device)
      if (!entry) return
      const { number, registrationEpoch, registrationVersion } = entry
      const key = { device: number, registrationEpoch, registrationVersion }
      const connection = floor.byDevice.get(deviceName(user, key))
      if (connection && what) send(floor, connection, homeFrame({ notices: [{ what }] }))
    },
    closeAll(reason) {
      for (const connection of connections.values()) end(floor, connection, reason)
    },
    counts: () => ({ sockets: connections.size, sessions: floor.byDevice.size }),
  }
}
