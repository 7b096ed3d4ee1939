// A device that signs in as any device does; afterwards frames go to whoever handles them.
import {
  answerNode,
  audienceOf,
  openReady,
  ParleyError,
  type SignInAwaiting,
  startSignIn,
  systemClock,
  systemRandom,
} from '#protocol'
import type { Person } from './person.ts'
import { dialLean, type LeanWebSocket, type WebSocketHandlers } from './web-socket.ts'

const PATH = '/v1/session'
const SUBPROTOCOL = 'parley.v1'

function proofOf(person: Person, start: ReturnType<typeof startSignIn>, node: Uint8Array) {
  person.counter++
  return answerNode(start.state, node, {
    userId: person.userId,
    device: { device: 1, registrationEpoch: 1, registrationVersion: 1 },
    deviceKey: person.deviceKey,
    sessionCounter: person.counter,
    manifestHash: person.manifestHash,
    manifest: undefined,
    rootEpochFloor: 1,
    nowMs: systemClock.now(),
  })
}

/** `opened`: called once, before the first frame is handed on. */
export type SessionHandlers = WebSocketHandlers & { opened(socket: LeanWebSocket): void }

/** Resolves when the home has said `ready`; rejects with its refusal, or when the socket is lost before. */
export async function signIn(person: Person, frames: SessionHandlers): Promise<LeanWebSocket> {
  const { origin, regionId } = person.target
  const audience = audienceOf(origin)
  const start = startSignIn({ regionId, audience, mode: 1, random: systemRandom })
  const ready = Promise.withResolvers<void>()
  let awaiting: SignInAwaiting | undefined
  let signedIn = false
  const hear = (message: Uint8Array): void => {
    if (!awaiting) {
      const answer = proofOf(person, start, message)
      awaiting = answer.awaiting
      socket.send(answer.proof)
      socket.flush()
      return
    }
    const { plain } = openReady(awaiting, message)
    if (!plain) throw new ParleyError('bad_argument', 'load goes to https origins or to this machine only', { origin })
    signedIn = true
    frames.opened(socket)
    ready.resolve()
  }
  const socket = await dialLean(new URL(PATH, origin.replace(/^http/, 'ws')), SUBPROTOCOL, {
    message(bytes, from, to) {
      if (signedIn) return frames.message(bytes, from, to)
      try {
        hear(bytes.slice(from, to))
      } catch (error) {
        ready.reject(error)
        socket.destroy()
      }
    },
    closed(reason) {
      if (signedIn) frames.closed(reason)
      else ready.reject(new ParleyError('unreachable', `the sign-in ended: ${reason}`))
    },
  })
  socket.send(start.hello)
  socket.flush()
  await ready.promise
  return socket
}
