// One signed-in session with the home: dial, sign in, then frames both ways until it ends.
import { WebSocket } from 'ws'
import {
  answerNode,
  audienceOf,
  type Channel,
  type Clock,
  decodeHomeFrame,
  encodeDeviceFrame,
  errorOf,
  type HomeFrame,
  isRefusalCode,
  limits,
  openReady,
  ParleyError,
  type ProofOptions,
  type Random,
  type RegionId,
  type Session,
  SIGN_IN_REFUSED_CLOSE,
  startSignIn,
} from '#protocol'
import { refusalIn } from './http.ts'
import { CONNECT_MS, KEEP_ALIVE_MS, SOCKET_BACKLOG_MAX_BYTES } from './limits.ts'
import type { HomeSession } from './rules/ports.ts'

const SUBPROTOCOL = 'parley.v1'
const PATH = '/v1/session'
const CLOSE_DONE = 1_000
/** Messages that may wait until somebody asks for them. */
const EARLY_MESSAGES_MAX = 64

export type SessionOptions = {
  readonly origin: string
  readonly regionId: RegionId
  readonly clock: Clock
  readonly random: Random
  /** Called once the node has answered; raises the session counter. */
  readonly proof: () => Omit<ProofOptions, 'nowMs'>
  readonly receive: (home: HomeSession, frame: HomeFrame) => void
  /** Once, when it ends; undefined: this side closed it. */
  readonly ended: (home: HomeSession, reason: ParleyError | undefined) => void
}

export type OpenSession = HomeSession & {
  readonly origin: string
  readonly token: () => Uint8Array
  /** Frames are handed on from here on; until then they wait. */
  start(): void
  close(): void
}

type Signed = { readonly session: Session; readonly channel: Channel; readonly plain: boolean }

function closeReason(code: number, reason: Buffer): ParleyError {
  const text = reason.toString()
  if (isRefusalCode(text)) return new ParleyError(text, `the home ended the connection: ${text}`)
  const refusedEarly = code === SIGN_IN_REFUSED_CLOSE
  return new ParleyError('unreachable', refusedEarly ? 'the home refused the sign-in' : 'the connection was lost', {
    status: `${code}`,
  })
}

type Inbox = {
  /** The next message, or a rejection with the reason why there is none. */
  next(): Promise<Uint8Array>
  /** From now on each message goes to `take`, first those that have come already. */
  pass(take: (message: Uint8Array) => void): void
}

function inboxOf(socket: WebSocket): Inbox {
  const kept: Uint8Array[] = []
  let end: ParleyError | undefined
  let wake: (() => void) | undefined
  let passing: ((message: Uint8Array) => void) | undefined
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    if (passing) passing(data)
    else if (isBinary && kept.length < EARLY_MESSAGES_MAX) kept.push(data)
    else socket.terminate()
    wake?.()
  })
  const finish = (error: ParleyError): void => {
    end ??= error
    wake?.()
  }
  socket.on('close', (code, reason) => finish(closeReason(code, reason)))
  socket.on('error', (error: Error) =>
    finish(new ParleyError('unreachable', `the home cannot be reached: ${error.message}`)),
  )
  return {
    async next() {
      while (kept.length === 0 && !end) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      const message = kept.shift()
      if (message) return message
      throw end
    },
    pass(take) {
      passing = take
      for (const message of kept.splice(0)) take(message)
    },
  }
}

async function signIn(socket: WebSocket, inbox: Inbox, options: SessionOptions): Promise<Signed> {
  const { origin, regionId, clock, random } = options
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('close', () => reject(new ParleyError('unreachable', `${origin} cannot be reached`, { origin })))
    socket.once('unexpected-response', (_, response) => {
      refusalIn(response.statusCode ?? 0, response).then(reject, (error: Error) => {
        // An answer that breaks off ends with an error of the socket.
        if (error instanceof ParleyError) reject(error)
        else reject(new ParleyError('unreachable', `${origin} cannot be reached: ${error.message}`, { origin }))
      })
    })
  })
  const { hello, state } = startSignIn({ regionId, audience: audienceOf(origin), mode: 1, random })
  socket.send(hello)
  const node = await inbox.next()
  const { proof, awaiting } = answerNode(state, node, { ...options.proof(), nowMs: clock.now() })
  socket.send(proof)
  return openReady(awaiting, await inbox.next())
}

/** Resolves when signed in; rejects with the home's refusal, `unreachable` or `timeout`. */
export async function openSession(options: SessionOptions): Promise<OpenSession> {
  const { origin, clock } = options
  const socket = new WebSocket(new URL(PATH, origin.replace(/^http/, 'ws')), [SUBPROTOCOL], {
    perMessageDeflate: false,
    maxPayload: limits.FRAME_MAX_BYTES + limits.SIGN_IN_MESSAGE_MAX_BYTES,
    handshakeTimeout: CONNECT_MS,
    followRedirects: false,
  })
  socket.on('error', () => undefined)
  let late = false
  const timer = clock.after(CONNECT_MS, () => {
    late = true
    socket.terminate()
  })
  try {
    const inbox = inboxOf(socket)
    return flow(socket, inbox, await signIn(socket, inbox, options), options)
  } catch (error) {
    socket.terminate()
    if (late) throw new ParleyError('timeout', `${origin} did not finish the sign-in in time`, { origin })
    throw error
  } finally {
    timer.cancel()
  }
}

function flow(
  socket: WebSocket,
  inbox: Inbox,
  { session, channel, plain }: Signed,
  options: SessionOptions,
): OpenSession {
  let token = session.httpToken
  let reason: ParleyError | undefined
  let over = false
  const home: OpenSession = {
    origin: options.origin,
    inFlightMax: session.inFlightMax,
    token: () => token,
    send(frame) {
      if (over || socket.readyState !== WebSocket.OPEN) return
      const bytes = encodeDeviceFrame(frame)
      socket.send(plain ? bytes : channel.seal(bytes))
      if (socket.bufferedAmount > SOCKET_BACKLOG_MAX_BYTES) {
        home.end(new ParleyError('overloaded', 'the home takes too little'))
      }
    },
    end(error) {
      reason ??= error
      socket.close(CLOSE_DONE)
      finish()
    },
    start: () => inbox.pass(take),
    close() {
      over = true
      keepAlive.stop()
      socket.close(CLOSE_DONE)
    },
  }
  const finish = (): void => {
    keepAlive.stop()
    if (over) return
    over = true
    options.ended(home, reason)
  }
  const keepAlive = keepAliveOf(socket, options.clock)
  const take = (data: Uint8Array): void => {
    if (over) return
    try {
      const frame = decodeHomeFrame(plain ? data : channel.open(data))
      for (const { what } of frame.notices) if (what.case === 'httpToken') token = what.value.token
      if (frame.refusal) reason = errorOf(frame.refusal)
      options.receive(home, frame)
    } catch (error) {
      if (!(error instanceof ParleyError)) throw error
      home.end(error)
    }
  }
  socket.on('close', (code, text) => {
    reason ??= closeReason(code, text)
    finish()
  })
  return home
}

/** Asks a quiet socket for a sign of life, and cuts one that gives none. */
function keepAliveOf(socket: WebSocket, clock: Clock): { stop: () => void } {
  let alive = true
  const heard = (): void => {
    alive = true
  }
  socket.on('pong', heard)
  socket.on('message', heard)
  const beat = (): ReturnType<Clock['after']> =>
    clock.after(KEEP_ALIVE_MS, () => {
      if (!alive) return socket.terminate()
      alive = false
      socket.ping()
      timer = beat()
    })
  let timer = beat()
  return { stop: () => timer.cancel() }
}
