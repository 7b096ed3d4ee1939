// The sockets under the mesh. A frame of a link becomes several small WebSocket messages on its way down (lengths, heads,
// ciphertext, tags, window updates between them), and each costs a write here and a chain of events over there. To the
// peer they are one stream of bytes, so what is sent within one moment leaves as one message, in one write. What comes is
// handed to the library in turns: it reads as fast as it is told, and knows no way to tell a peer to wait.
import { type RawData, WebSocket } from 'ws'
import { systemClock } from '#protocol'
import { DIAL_MAX_MS, SOCKET_MESSAGE_MAX_BYTES, SOCKET_PAYLOAD_MAX_BYTES } from './limits.ts'
import { createMeshTurns } from './mesh-turns.ts'

/** With this libp2p ends a connection that it gives up. No frame may carry it: ws throws, and the socket would stay. */
const ABORTED = 1_006

/** One loop, one line for all mesh sockets of the process. */
const turns = createMeshTurns({
  clock: systemClock,
  nextPass: setImmediate,
  // A tick that a microtask asks for comes when there are no microtasks left.
  whenSettled: (callback) => queueMicrotask(() => process.nextTick(callback)),
})

export class MeshSocket extends WebSocket {
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  readonly #speaker = { hold: () => this.pause(), release: () => this.resume() }
  readonly #flush = (): void => {
    const { length } = this.#waiting
    if (length === 0) return
    const bytes = length === 1 ? this.#waiting[0]! : Buffer.concat(this.#waiting, this.#waitingBytes)
    this.#waiting = []
    this.#waitingBytes = 0
    super.send(bytes)
  }

  override send(data: RawData | Uint8Array | string): void {
    if (!(data instanceof Uint8Array)) throw new TypeError('the mesh sends bytes')
    if (this.readyState !== WebSocket.OPEN) {
      super.send(data)
      return
    }
    if (this.#waiting.length === 0) process.nextTick(this.#flush)
    this.#waiting.push(data)
    this.#waitingBytes += data.length
    if (this.#waitingBytes >= SOCKET_MESSAGE_MAX_BYTES) this.#flush()
  }

  /** Messages have turns; that the socket is closed is told after them. */
  override emit(event: string | symbol, ...told: unknown[]): boolean {
    if (event !== 'message' && event !== 'close') return super.emit(event, ...told)
    const [data] = told
    if (event === 'message' && data instanceof ArrayBuffer) this.#hear(data)
    else {
      turns.say(this.#speaker, 0, () => {
        super.emit(event, ...told)
        return 0
      })
    }
    return true
  }

  #hear(data: ArrayBuffer): void {
    const { byteLength } = data
    let at = 0
    turns.say(this.#speaker, byteLength, (most) => {
      const to = Math.min(byteLength, at + most)
      const piece = at === 0 && to === byteLength ? data : data.slice(at, to)
      at = to
      super.emit('message', piece, true)
      return byteLength - at
    })
  }

  /** What waits is for nobody any more. */
  override terminate(): void {
    turns.forget(this.#speaker)
    super.terminate()
  }

  override close(code?: number, data?: string | Buffer): void {
    if (code === ABORTED) {
      this.terminate()
      return
    }
    if (this.readyState === WebSocket.OPEN) this.#flush()
    super.close(code, data)
  }
}

/**
 * What is sent is ciphertext under a key that nobody between the two has: no page can make it look like a request, which
 * is what masks are for. A mask of zeros costs neither side a pass over the bytes.
 */
const noMask = (mask: Buffer): void => void mask.fill(0)

/** Resolves when it is open; rejects when that fails, takes too long or is given up. */
export function dialSocket(url: string, signal: AbortSignal | undefined): Promise<MeshSocket> {
  signal?.throwIfAborted()
  const socket = new MeshSocket(url, {
    perMessageDeflate: false,
    handshakeTimeout: DIAL_MAX_MS,
    maxPayload: SOCKET_PAYLOAD_MAX_BYTES,
    generateMask: noMask,
  })
  socket.binaryType = 'arraybuffer'
  const { promise, resolve, reject } = Promise.withResolvers<MeshSocket>()
  const give = (): void => socket.terminate()
  signal?.addEventListener('abort', give, { once: true })
  socket.once('open', () => resolve(socket))
  // What is lost later is told by `close`; without a listener the event would end the process.
  socket.on('error', reject)
  socket.once('close', () => reject(new Error('the socket was closed')))
  return promise.finally(() => signal?.removeEventListener('abort', give))
}

const PLAIN = /^\/(?:ip4|dns4?|dns6|ip6)\/([^/]+)\/tcp\/(\d+)\/(ws|wss|tls\/ws)(?:\/p2p\/[^/]+)?$/

/** Of a multiaddr; undefined for what only the library can dial. */
export function urlOf(address: string): string | undefined {
  const [, host, port, kind] = PLAIN.exec(address) ?? []
  if (host === undefined) return undefined
  return `${kind === 'ws' ? 'ws' : 'wss'}://${host.includes(':') ? `[${host}]` : host}:${port}`
}
