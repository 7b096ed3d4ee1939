// What all sockets of the client port share, and how a session ends.

import type { WebSocket } from 'ws'
import { type DeviceKey, ParleyError, type UserId } from '#protocol'
import type { Admission } from './admission.ts'
import { type Connection, endConnection, sendFrame } from './connection.ts'
import type { Doors } from './doors.ts'
import type { Pace } from './pace.ts'
import type { GatewayParts, Reader } from './parts.ts'
import type { Tokens } from './tokens.ts'
import type { Step, Turns } from './turns.ts'

export type Floor = {
  readonly parts: GatewayParts
  readonly doors: Doors
  readonly tokens: Tokens<Reader>
  readonly pace: Pace
  readonly turns: Turns<Connection>
  readonly admission: Admission
  readonly audiences: () => readonly string[]
  readonly connections: Map<WebSocket, Connection>
  /** By user and device with its registration. */
  readonly byDevice: Map<string, Connection>
}

/** Joined into one string: a template would keep its parts beside it. */
export const deviceName = (userId: UserId, { device, registrationEpoch, registrationVersion }: DeviceKey): string =>
  [userId, device, registrationEpoch, registrationVersion].join('.')

export function end(floor: Floor, connection: Connection, reason: ParleyError | undefined): void {
  if (!endConnection(connection, reason, floor.parts.clock.monotonic())) return
  const { session } = connection
  if (!session) {
    if (reason) floor.parts.events.signInRefused(reason)
    return
  }
  floor.tokens.forget(session.id)
  const name = deviceName(session.userId, session.device)
  if (floor.byDevice.get(name) === connection) floor.byDevice.delete(name)
  floor.parts.events.sessionEnded(session.userId, session.device.device, reason)
  // Not from within a call of the rules.
  queueMicrotask(() => floor.parts.relay().closeSession(session.id))
}

/** A fault of ours ends the session too, but says no more than that. */
export function refusalFor(floor: Floor, error: unknown): ParleyError {
  if (error instanceof ParleyError) return error
  floor.parts.events.fault('session', error)
  return new ParleyError('overloaded', 'this node could not go on with the session', {}, 1_000)
}

export function send(floor: Floor, connection: Connection, frame: Uint8Array): void {
  if (sendFrame(connection, frame)) return
  end(floor, connection, new ParleyError('overloaded', 'the device reads too slowly', {}, 1_000))
  connection.socket.terminate()
}

export function guarded(floor: Floor, connection: Connection, step: Step): Step | undefined {
  try {
    return step()
  } catch (error) {
    end(floor, connection, refusalFor(floor, error))
    return undefined
  }
}
