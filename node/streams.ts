// libp2p's streams as links and requests see them.
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import { ParleyError } from '#protocol'
import { openStream, peerIdOf, rawKey } from './host.ts'
import { DIAL_MAX_MS, LINK_PROTOCOL, LINK_STREAMS_PER_PEER_MAX } from './limits.ts'
import type { LinkPipe } from './link.ts'
import type { LinkNetwork, PeerStream, StreamEvents } from './link-network.ts'

/** How long a stream that was ended may take to bring out what was written. */
const CLOSE_MAX_MS = 1_000

/** Attaches to a stream's events. `closed` comes once. */
function openPipe(stream: Stream, connection: Connection, events: StreamEvents): LinkPipe {
  let over = false
  const close = (error: ParleyError | undefined): void => {
    if (over) return
    over = true
    events.closed(error)
    if (stream.status === 'open') end(stream)
  }
  updateSeldom(stream)
  stream.addEventListener('message', ({ data }) => {
    if (!over) events.received(data.subarray())
  })
  stream.addEventListener('drain', () => {
    if (!over) events.drained()
  })
  stream.addEventListener('remoteCloseWrite', () => close(undefined))
  stream.addEventListener('close', () => close(new ParleyError('unreachable', 'the connection was lost')))
  if (stream.status !== 'open') queueMicrotask(() => close(new ParleyError('unreachable', 'the connection was lost')))
  return {
    write(bytes) {
      if (stream.writeStatus !== 'writable') return false
      return stream.send(bytes)
    },
    end(silent = false) {
      over = true
      if (silent) giveUp(connection)
      else end(stream)
    },
  }
}

type Windowed = { recvWindow: number; recvWindowCapacity: number; state: number; sendWindowUpdate(): void }
const ESTABLISHED = 3

/** yamux tells the sender after every frame that it may send as much again; after half of it is early enough. */
function updateSeldom(stream: Stream): void {
  const windowed = stream as unknown as Windowed
  const update = windowed.sendWindowUpdate?.bind(stream)
  if (!update) return
  windowed.sendWindowUpdate = () => {
    if (windowed.state !== ESTABLISHED || windowed.recvWindowCapacity * 2 <= windowed.recvWindow) update()
  }
}

function end(stream: Stream): void {
  stream.close({ signal: AbortSignal.timeout(CLOSE_MAX_MS) }).then(
    // Unless both sides close, the stream stays half open for good.
    () => stream.abort(new Error('ended')),
    (error: Error) => stream.abort(error),
  )
}

/** One that is open and silent would carry the next stream as well. */
function giveUp(connection: Connection): void {
  connection.abort(new Error('the peer is silent'))
}

export function peerStream(stream: Stream, connection: Connection): PeerStream {
  return {
    peerId: connection.remotePeer.toString(),
    peerKey: rawKey(connection.remotePeer),
    open: (events) => openPipe(stream, connection, events),
  }
}

export function libp2pLinkNetwork(libp2p: Libp2p): LinkNetwork {
  return {
    peerId: libp2p.peerId.toString(),
    async dial(peerId, multiaddrs) {
      const peer = peerIdOf(peerId)
      try {
        const { stream, connection } = await openStream(libp2p, peer, multiaddrs, LINK_PROTOCOL, DIAL_MAX_MS)
        return peerStream(stream, connection)
      } catch (error) {
        if ((error as ParleyError).code === 'timeout') libp2p.getConnections(peer).forEach(giveUp)
        throw error
      }
    },
    serve(handlers) {
      libp2p.addEventListener('peer:connect', ({ detail }) => handlers.peer(detail.toString()))
      const accept = (stream: Stream, connection: Connection): void => {
        let incoming: PeerStream
        try {
          incoming = peerStream(stream, connection)
        } catch (error) {
          stream.abort(error as Error)
          return
        }
        handlers.stream(incoming)
      }
      void libp2p.handle(LINK_PROTOCOL, accept, {
        maxInboundStreams: LINK_STREAMS_PER_PEER_MAX,
        maxOutboundStreams: LINK_STREAMS_PER_PEER_MAX,
      })
    },
  }
}
