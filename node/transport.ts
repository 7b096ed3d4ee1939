// The mesh's transport: libp2p's WebSockets, with sockets of our own under them and a guard before them.
import { webSockets } from '@libp2p/websockets'
import type { WebSocketServer } from 'ws'
import { SOCKET_PAYLOAD_MAX_BYTES, UPGRADE_MAX_MS } from './limits.ts'
import { dialSocket, MeshSocket, urlOf } from './mesh-sockets.ts'
import type { SocketGuard } from './socket-guard.ts'

type Transport = ReturnType<typeof webSockets>
/** What the library's objects have beyond their declared interfaces. */
type Listener = { readonly server: Parameters<SocketGuard['attach']>[0]; readonly wsServer: WebSocketServer }
type Dialler = {
  _connect(address: { toString(): string }, options?: { readonly signal?: AbortSignal }): Promise<unknown>
}

export function meshTransport(guard: SocketGuard): Transport {
  const transport = webSockets({
    http: { headersTimeout: UPGRADE_MAX_MS, requestTimeout: UPGRADE_MAX_MS, connectionsCheckingInterval: 1_000 },
  })
  return (components) => {
    const inner = transport(components)
    const createListener = inner.createListener.bind(inner)
    inner.createListener = (init) => {
      const listener = createListener(init)
      const { server, wsServer } = listener as unknown as Listener
      guard.attach(server)
      wsServer.options.WebSocket = MeshSocket
      wsServer.options.maxPayload = SOCKET_PAYLOAD_MAX_BYTES
      return listener
    }
    const dialler = inner as unknown as Dialler
    const connect = dialler._connect.bind(inner)
    dialler._connect = (address, options) => {
      const url = urlOf(address.toString())
      return url === undefined ? connect(address, options) : dialSocket(url, options?.signal)
    }
    return inner
  }
}
