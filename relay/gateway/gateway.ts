// The client port of a node: HTTP and device sessions on one listener.
import type { IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import { audienceOf, ParleyError, type Timer } from '#protocol'
import { CLOSE_PATIENCE_MS, FRAGMENTS_MAX, MESSAGE_MAX_BYTES, SWEEP_SLICE_MS } from '../limits.ts'
import { type Admission, createAdmission } from './admission.ts'
import { checkUpgrade, createDoors, type Doors, SUBPROTOCOL } from './doors.ts'
import { createHttp, type Http } from './http.ts'
import type { GatewayOptions, GatewayParts, Reader } from './parts.ts'
import { refuseUpgrade } from './refusing.ts'
import { addRoutes } from './routes.ts'
import { createSessions, type Sessions } from './sessions.ts'
import { createTokens } from './tokens.ts'

export type Gateway = AsyncDisposable & {
  /** Origins under which clients reach this node: what is configured, else the address listened on. */
  readonly urls: readonly string[]
  /** The address listened on, as an origin. */
  readonly listening: string
  readonly sessions: Pick<Sessions, 'notify' | 'counts' | 'sweep'>
}

/** The last address that the proxy itself has added. */
function addressOf(request: IncomingMessage, trustProxy: boolean): string {
  const forwarded = trustProxy ? `${request.headers['x-forwarded-for'] ?? ''}`.split(',').at(-1)?.trim() : undefined
  return forwarded || (request.socket.remoteAddress ?? 'unknown')
}

type Upgrades = {
  readonly parts: GatewayParts
  readonly options: GatewayOptions
  readonly doors: Doors
  readonly admission: Admission
  readonly sessions: Sessions
}

function destroyBroken(this: Duplex): void {
  this.destroy()
}

function acceptUpgrades(http: Http, { parts, options, doors, admission, sessions }: Upgrades): WebSocketServer {
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MESSAGE_MAX_BYTES,
    maxFragments: FRAGMENTS_MAX,
    closeTimeout: CLOSE_PATIENCE_MS,
    clientTracking: false,
    handleProtocols: () => SUBPROTOCOL,
  } as ConstructorParameters<typeof WebSocketServer>[0])
  http.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const { origin } = request.headers
    const path = (request.url ?? '').split('?')[0]!
    const address = addressOf(request, options.trustProxy)
    const asked = { path, origin, protocols: request.headers['sec-websocket-protocol'] }
    const refusal = checkUpgrade(asked, options.allowedOrigins) ?? admission.full() ?? doors.enter(address)
    if (refusal) {
      parts.events.socketRefused(refusal.code)
      refuseUpgrade(socket, refusal, parts.clock)
      return
    }
    const left = (): void => doors.leave(address, socket)
    socket.on('error', destroyBroken).once('close', left)
    admission.wait('begin', () => {
      if (socket.destroyed) return
      socket.off('error', destroyBroken)
      server.handleUpgrade(request, socket, head, (webSocket) => {
        // Together with it goes the request, which nobody needs any more.
        socket.off('close', left)
        sessions.take(webSocket, socket as Socket, address)
      })
    })
  })
  return server
}

function listenedOn(http: Http, scheme: 'http' | 'https'): string {
  const { address, port, family } = http.server.address() as AddressInfo
  return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

function cannotListen(error: unknown, where: string): unknown {
  const { code } = error as NodeJS.ErrnoException
  const facts = (next: string) => ({ key: 'client.listen', next })
  switch (code) {
    case 'EADDRINUSE':
      return new ParleyError(
        'bad_argument',
        `the client address ${where} is in use`,
        facts('stop what listens there, or set another client.listen (--listen)'),
      )
    case 'EACCES':
      return new ParleyError(
        'bad_argument',
        `no rights to listen on ${where}`,
        facts('choose a port above 1023, or put a proxy in front'),
      )
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new ParleyError(
        'bad_argument',
        `${where} is no address of this machine`,
        facts('set client.listen to one that it has, or to 0.0.0.0 with --client-url'),
      )
    default:
      return error
  }
}

/** One timer for all sockets. */
function keepSweeping(parts: GatewayParts, sessions: Sessions): () => void {
  let timer: Timer
  const again = () => {
    timer = parts.clock.after(SWEEP_SLICE_MS, () => {
      sessions.sweepSome()
      again()
    })
  }
  again()
  return () => timer.cancel()
}

/** Listens when it resolves. Throws `bad_argument` when the address cannot be listened on. */
export async function openGateway(parts: GatewayParts, options: GatewayOptions): Promise<Gateway> {
  const http = await createHttp(parts.events, options)
  const doors = createDoors()
  const tokens = createTokens<Reader>(parts.identity.nodeKey.publicKey, parts.clock, parts.random)
  let audiences: readonly string[] = []
  const admission = createAdmission(parts.clock)
  const sessions = createSessions(parts, { doors, admission }, tokens, () => audiences)
  await addRoutes(http, parts, tokens)
  const server = acceptUpgrades(http, { parts, options, doors, admission, sessions })
  const { host, port } = options.listen
  try {
    await http.listen({ host, port })
  } catch (error) {
    await http.close()
    throw cannotListen(error, `${host}:${port}`)
  }
  const listening = listenedOn(http, options.tls ? 'https' : 'http')
  const urls = options.urls.length > 0 ? options.urls : [listening]
  audiences = urls.map(audienceOf)
  const stopSweeping = keepSweeping(parts, sessions)
  return {
    urls,
    listening,
    sessions,
    async [Symbol.asyncDispose]() {
      stopSweeping()
      sessions.closeAll(new ParleyError('closing', 'this node is stopping', {}, 1_000))
      server.close()
      await http.close()
    },
  }
}
