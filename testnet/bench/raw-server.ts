// What relays are compared with: a `ws` server that passes each frame to the other socket of its pair. It parses nothing
// and stores nothing. raw-server.ts [CERT KEY]: with TLS if there are files. Prints a ready line like a relay; ends with the
// process that started it.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'

const [cert, key] = process.argv.slice(2)
const http = cert && key ? createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }) : createServer()
const server = new WebSocketServer({ server: http, perMessageDeflate: false, clientTracking: false })
const waiting = new Map<string, WebSocket>()
const failed = function (this: WebSocket): void {
  this.terminate()
}

server.on('connection', (socket: WebSocket, request) => {
  socket.on('error', failed)
  const pair = request.url ?? ''
  if (!pair.startsWith('/pair/')) return
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
  const url = `${cert ? 'https' : 'http'}://127.0.0.1:${port}`
  process.stdout.write(`${JSON.stringify({ ready: true, url })}\n`)
})

const descriptor = process.env.PARLEY_PARENT_FD
if (descriptor !== undefined) {
  const parent = new Socket({ fd: Number(descriptor), readable: true, writable: false })
  parent.on('error', () => {}).once('close', () => process.exit(0))
  parent.resume().unref()
}
