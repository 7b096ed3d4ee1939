// What goes over the wire between clients and a relay: a TCP proxy that keeps every byte. A client masks each WebSocket
// frame with a random word, so a search of the bytes as they came would find nothing whatever they say; frames are
// therefore read back before they are searched.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

const HOST = '127.0.0.1'
const UPGRADE = /^(GET .*\r\nupgrade: websocket\r\n|HTTP\/1\.1 101 )/is
const LENGTH_16 = 126
const LENGTH_64 = 127

export type Connection = {
  /** What the client sent and what came back; of a WebSocket the heads and the payloads. */
  sent(): Buffer
  came(): Buffer
}

export type RecordingProxy = AsyncDisposable & {
  /** Origin to dial instead of the relay's. */
  readonly url: string
  readonly connections: readonly Connection[]
}

/** The payloads of WebSocket frames one after another; a frame that has not come whole counts as far as it came. */
function payloadsOf(frames: Buffer): Buffer {
  const payloads: Buffer[] = []
  for (let at = 0; at + 2 <= frames.length; ) {
    const isMasked = frames[at + 1]! >= 0x80
    const short = frames[at + 1]! & 0x7f
    const extra = short === LENGTH_64 ? 8 : short === LENGTH_16 ? 2 : 0
    const start = at + 2 + extra + (isMasked ? 4 : 0)
    if (start > frames.length) break
    const length = extra === 0 ? short : frames.readUIntBE(at + 2 + (extra === 8 ? 2 : 0), extra === 8 ? 6 : 2)
    const payload = Buffer.from(frames.subarray(start, start + length))
    if (isMasked) for (let i = 0; i < payload.length; i++) payload[i]! ^= frames[start - 4 + (i & 3)]!
    payloads.push(payload)
    at = start + length
  }
  return Buffer.concat(payloads)
}

/** Bytes of one direction, frames read back. */
export function legible(bytes: Buffer): Buffer {
  const end = bytes.indexOf('\r\n\r\n') + 4
  if (end < 4 || !UPGRADE.test(bytes.subarray(0, end).toString('latin1'))) return bytes
  return Buffer.concat([bytes.subarray(0, end), payloadsOf(bytes.subarray(end))])
}

function record(socket: Socket): () => Buffer {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  return () => legible(Buffer.concat(chunks))
}

/** In front of a port of this machine, until it is disposed of. */
export async function recordingProxy(targetPort: number): Promise<RecordingProxy> {
  const connections: Connection[] = []
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const relay = connect(targetPort, HOST)
    connections.push({ sent: record(client), came: record(relay) })
    for (const [socket, other] of [
      [client, relay],
      [relay, client],
    ] as const) {
      sockets.add(socket)
      socket.setNoDelay()
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  })
  server.listen(0, HOST)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${HOST}:${port}`,
    connections,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
