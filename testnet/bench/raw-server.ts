// What relays are compared with: a `ws` server that passes each frame to the other socket of its pair. It parses nothing
// and stores nothing. Prints a ready line like a relay; ends with the process that started it.
import { createServer } from 'node:http'
import { type AddressInfo, Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'

const http = createServer()
const server = new WebSocketServer({ server: http, perMessageDeflate: false, clientTracking: false })
const waiting = new Map<string, WebSocket>()

server.on('connection', (socket: WebSocket, request) => {
  socket.on('error', () => socket.terminate())
  const pair = request.url ?? ''
  const other = waiting.get(pair)
  if (!other) {
    waiting.set(pair, socket)
    return
  }
  waiting.delete(pair)
  socket.on('message', (data: Buffer) => other.send(data, { binary: true }))
  other.on('message', (data: Buffer) => socket.send(data, { binary: true }))
})

http.listen(0, '127.0.0.1', () => {
  const { port } = http.address() as AddressInfo
  process.stdout.write(`${JSON.stringify({ ready: true, url: `http://127.0.0.1:${port}` })}\n`)
})

const descriptor = process.env.PARLEY_PARENT_FD
if (descriptor !== undefined) {
  const parent = new Socket({ fd: Number(descriptor), readable: true, writable: false })
  parent.on('error', () => {}).once('close', () => process.exit(0))
  parent.resume().unref()
}
