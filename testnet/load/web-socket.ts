// A WebSocket client (RFC 6455) that costs little: whoever measures a server with a client that costs as much as the server
// measures the client. Frames are read from one buffer that all sockets share, and what a turn has to send leaves in one write.
import { createHash, randomBytes } from 'node:crypto'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { FRAME_MAX_BYTES, READ_BUFFER_BYTES } from './limits.ts'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const BINARY = 0x82
const CLOSE = 8
const PING = 9
const PONG = 0x8a

export type WebSocketHandlers = {
  /** One whole message. The bytes count only during the call. */
  message(bytes: Uint8Array, from: number, to: number): void
  /** Once; what the other side said, or why the socket was lost. */
  closed(reason: string): void
}

export type LeanWebSocket = {
  /** Leaves with the next `flush`. */
  send(bytes: Uint8Array): void
  flush(): void
  /** Bytes that the socket has not taken yet. */
  backlog(): number
  /** Lets what was sent leave. */
  close(): void
  /** Reads nothing more. */
  stall(): void
  /** Takes the socket down at once. */
  destroy(): void
}

const shared = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)

/** Finds whole frames in what comes in, in whatever pieces. */
class Reader {
  #rest: Buffer = Buffer.alloc(0)

  /** Calls `frame` for each whole frame: opcode, payload from, to. */
  push(chunk: Buffer, frame: (bytes: Buffer, opcode: number, from: number, to: number) => void): void {
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk
    let at = 0
    for (;;) {
      const left = bytes.length - at
      if (left < 2) break
      const first = bytes[at]!
      let length = bytes[at + 1]!
      let head = 2
      if (length === 126) {
        if (left < 4) break
        length = bytes.readUInt16BE(at + 2)
        head = 4
      } else if (length === 127) {
        if (left < 10) break
        length = bytes.readUInt32BE(at + 6)
        head = 10
      } else if (length > 127) throw new Error('a server masks its frames')
      if ((first & 0x80) === 0 || length > FRAME_MAX_BYTES) throw new Error('a frame that no relay sends')
      if (left < head + length) break
      frame(bytes, first & 0x0f, at + head, at + head + length)
      at += head + length
    }
    this.#rest = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at))
  }
}

/** A masked frame. Masks are fixed for a socket: they protect caches from browsers, not anybody here. */
function frameOf(opcode: number, payload: Uint8Array, mask: Uint8Array): Buffer {
  const { length } = payload
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const out = Buffer.allocUnsafe(head + 4 + length)
  out[0] = opcode
  if (head === 2) out[1] = 0x80 | length
  else if (head === 4) {
    out[1] = 0x80 | 126
    out.writeUInt16BE(length, 2)
  } else {
    out[1] = 0x80 | 127
    out.writeUInt32BE(0, 2)
    out.writeUInt32BE(length, 6)
  }
  const [a, b, c, d] = mask as unknown as [number, number, number, number]
  out[head] = a
  out[head + 1] = b
  out[head + 2] = c
  out[head + 3] = d
  let to = head + 4
  let i = 0
  for (; i + 4 <= length; i += 4, to += 4) {
    out[to] = payload[i]! ^ a
    out[to + 1] = payload[i + 1]! ^ b
    out[to + 2] = payload[i + 2]! ^ c
    out[to + 3] = payload[i + 3]! ^ d
  }
  for (; i < length; i++, to++) out[to] = payload[i]! ^ mask[i & 3]!
  return out
}

function open(url: URL, take: (chunk: Buffer) => void): Socket {
  const secure = url.protocol === 'wss:'
  const port = Number(url.port || (secure ? 443 : 80))
  if (secure) return connectTls({ host: url.hostname, port }).on('data', take)
  return connectTcp({
    host: url.hostname,
    port,
    noDelay: true,
    onread: {
      buffer: () => shared,
      callback: (size, buffer) => {
        take(Buffer.from(buffer.buffer, buffer.byteOffset, size))
        return true
      },
    },
  })
}

function requestOf(url: URL, protocol: string, key: string): string {
  return (
    `GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`
  )
}

/** Checks the answer to the upgrade; throws with what the server said instead. */
function checkUpgrade(head: string, key: string): void {
  const expected = createHash('sha1').update(`${key}${GUID}`).digest('base64')
  const accepted = /^sec-websocket-accept: *(\S+)/im.exec(head)?.[1]
  if (!head.startsWith('HTTP/1.1 101') || accepted !== expected) throw new Error(`no upgrade: ${head.slice(0, 300)}`)
}

type State = { upgraded: boolean; over: boolean; reason: string }

/** What comes in, first until the upgrade, then frame by frame. */
function taker(
  state: State,
  key: string,
  on: { upgraded(): void; frame(bytes: Buffer, opcode: number, from: number, to: number): void },
): (chunk: Buffer) => void {
  const reader = new Reader()
  let head = ''
  return (chunk) => {
    if (state.upgraded) return reader.push(chunk, on.frame)
    head += chunk.toString('latin1')
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) return
    checkUpgrade(head, key)
    state.upgraded = true
    on.upgraded()
    const rest = Buffer.from(head.slice(end + 4), 'latin1')
    if (rest.length > 0) reader.push(rest, on.frame)
  }
}

/** Resolves when the socket is upgraded; rejects when that fails. */
export function dialLean(url: URL, protocol: string, handlers: WebSocketHandlers): Promise<LeanWebSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<LeanWebSocket>()
  const key = randomBytes(16).toString('base64')
  const mask = randomBytes(4)
  const state: State = { upgraded: false, over: false, reason: 'the connection was lost' }
  let queue: Buffer[] = []
  const flush = (): void => {
    if (queue.length === 0) return
    const out = queue
    queue = []
    socket.write(out.length === 1 ? out[0]! : Buffer.concat(out))
  }
  const lean: LeanWebSocket = {
    send: (bytes) => void queue.push(frameOf(BINARY, bytes, mask)),
    flush,
    backlog: () => socket.writableLength,
    close() {
      state.over = true
      queue.push(frameOf(0x80 | CLOSE, new Uint8Array([3, 232]), mask))
      flush()
      socket.end()
    },
    stall: () => void socket.pause(),
    destroy() {
      state.over = true
      socket.destroy()
    },
  }
  const frame = (bytes: Buffer, opcode: number, from: number, to: number): void => {
    if (opcode === PING) {
      queue.push(frameOf(PONG, bytes.subarray(from, to), mask))
      flush()
    } else if (opcode === CLOSE) state.reason = bytes.toString('utf8', Math.min(from + 2, to), to) || 'closed'
    else if (opcode === 2) handlers.message(bytes, from, to)
  }
  const take = taker(state, key, { frame, upgraded: () => resolve(lean) })
  const guarded = (chunk: Buffer): void => {
    try {
      take(chunk)
    } catch (error) {
      state.reason = String(error)
      socket.destroy()
    }
  }
  const socket = open(url, guarded)
  const begin = (): void => void socket.write(requestOf(url, protocol, key))
  socket.once(url.protocol === 'wss:' ? 'secureConnect' : 'connect', begin)
  socket.on('error', (error) => {
    state.reason = error.message
  })
  socket.on('close', () => {
    if (!state.upgraded) reject(new Error(`${url.href}: ${state.reason}`))
    else if (!state.over) handlers.closed(state.reason)
    state.over = true
  })
  return promise
}
