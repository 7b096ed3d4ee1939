// A sign-in, part by part; what each of them costs is done when it is its turn.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  type DeviceKey,
  HomeRecordSchema,
  limits,
  ParleyError,
  receiveHello,
  receiveProof,
  SessionSchema,
  type SignInHeard,
  type SignInProved,
  sha256,
  type UserId,
} from '#protocol'
import type { Account } from '../accounts/accounts.ts'
import type { DeviceSession } from '../rules/ports.ts'
import { type Connection, homeFrame, type SignedIn } from './connection.ts'
import { deviceName, end, type Floor, guarded, refusalFor, send } from './floor.ts'
import type { Reader } from './parts.ts'
import { checkProof } from './sign-in.ts'
import { SESSION_ID_BYTES } from './tokens.ts'

/** A class: closures of its own would cost each device that is there some 200 bytes more. */
class SessionPort implements DeviceSession {
  readonly id: string
  readonly userId: UserId
  readonly device: DeviceKey
  readonly #floor: Floor
  readonly #connection: Connection

  constructor(floor: Floor, connection: Connection, { id, userId, device }: SignedIn) {
    this.id = id
    this.userId = userId
    this.device = device
    this.#floor = floor
    this.#connection = connection
  }

  send(frame: Uint8Array): void {
    send(this.#floor, this.#connection, frame)
  }

  backlog(): number {
    return this.#connection.socket.bufferedAmount
  }

  close(reason: ParleyError | undefined): void {
    end(this.#floor, this.#connection, reason)
  }
}

function sessionMessage(floor: Floor, account: Account, id: string, reader: Reader) {
  const token = floor.tokens.open(id, reader)
  return create(SessionSchema, {
    sessionId: Buffer.from(id, 'hex'),
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
  const id = Buffer.from(parts.random.bytes(SESSION_ID_BYTES)).toString('hex')
  const { ready, channel, plain } = proved.ready(sessionMessage(floor, account, id, { userId, device }))
  const session: SignedIn = { id, userId, device, channel: plain ? undefined : channel }
  const name = deviceName(userId, device)
  const older = byDevice.get(name)
  if (older) {
    end(floor, older, new ParleyError('signed_in_elsewhere', 'a newer session of this device has begun'))
    parts.relay().closeSession(older.session!.id)
  }
  connection.session = session
  connection.stage = { is: 'open', session }
  byDevice.set(name, connection)
  connection.socket.send(ready)
  parts.events.signedIn(userId, device.device)
  parts.relay().openSession(new SessionPort(floor, connection, session))
}

async function admit(floor: Floor, connection: Connection, proved: SignInProved): Promise<void> {
  const { parts, admission } = floor
  try {
    await checkProof(proved, parts.accounts, admission, (account) => {
      if (connection.stage.is === 'checking') open(floor, connection, proved, account)
    })
    if (connection.stage.is !== 'open') return
    const { userId, device } = proved.claim
    const { oneTime, oneTimeKyber, low } = await parts.prekeys.counts(userId, device)
    if (!low) return
    const notice = { what: { case: 'prekeysLow', value: { oneTime, oneTimeKyber } } } as const
    send(floor, connection, homeFrame({ notices: [notice] }))
  } catch (error) {
    end(floor, connection, refusalFor(floor, error))
  }
}

/** The next part of the sign-in is for the device to send. */
export function awaitMore(floor: Floor, connection: Connection): void {
  connection.awaitedMs = floor.parts.clock.monotonic()
  floor.doors.awaits(connection.raw, () => {
    floor.parts.events.socketRefused('overloaded')
    connection.raw.destroy()
  })
}

function answerHello(floor: Floor, connection: Connection, bytes: Uint8Array): void {
  const { parts } = floor
  if (connection.stage.is !== 'waiting') return
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
  connection.socket.send(node)
  awaitMore(floor, connection)
}

function takeProof(floor: Floor, connection: Connection, heard: SignInHeard, bytes: Uint8Array): void {
  if (connection.stage.is !== 'waiting') return
  const proved = receiveProof(heard, bytes, { nowMs: floor.parts.clock.now() })
  connection.stage = { is: 'checking', proved }
  void admit(floor, connection, proved)
}

/** What it costs to go on with a sign-in is done when it is its turn. */
function waitForTurn(floor: Floor, connection: Connection, part: 'hello' | 'proof', step: () => void): void {
  floor.doors.heard(connection.raw)
  connection.stage = { is: 'waiting' }
  floor.admission.wait(part, () => {
    guarded(floor, connection, () => {
      step()
      return undefined
    })
  })
}

/** A message of a device that has not signed in. */
export function hearSignIn(floor: Floor, connection: Connection, bytes: Uint8Array): void {
  const { stage } = connection
  if (stage.is !== 'hello' && stage.is !== 'proof')
    throw new ParleyError('malformed', 'a frame before the session is ready')
  if (bytes.length > limits.SIGN_IN_MESSAGE_MAX_BYTES)
    throw new ParleyError('too_large', `${stage.is} over the limit`, { size: `${bytes.length}` })
  const part = new Uint8Array(bytes)
  if (stage.is === 'hello') waitForTurn(floor, connection, 'hello', () => answerHello(floor, connection, part))
  else waitForTurn(floor, connection, 'proof', () => takeProof(floor, connection, stage.heard, part))
}
