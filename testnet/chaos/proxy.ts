// A TCP proxy in front of one port of one process: who dials is known by the loopback address it dials from, so each
// direction between two processes has a path of its own (weather.ts), which may be slow, thin, silent or cut.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type Random, systemClock, type Timer } from '#protocol'
import { PROXY_HELD_MAX_BYTES } from './limits.ts'
import type { Path, Weather } from './weather.ts'

const HOST = '127.0.0.1'

export type FaultProxy = AsyncDisposable & { readonly port: number }

export type ProxyOptions = {
  readonly to: string
  readonly targetPort: number
  readonly weather: Weather
  readonly random: Random
  /** Whose address this is. */
  readonly whose: (address: string) => string
}

/** A socket whose end is on its way cannot be reset any more: its handle would stay open. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

type Held = { readonly bytes: Buffer; readonly dueMs: number }
type Pump = { readonly path: Path; look(): void; stop(): void }

/** Bytes of one direction, in order, each when it is due. */
function pump(source: Socket, sink: Socket, path: Path, random: Random): Pump {
  const held: Held[] = []
  let heldBytes = 0
  let lastMs = 0
  let sentMs = 0
  let ended = false
  let full = false
  let timer: Timer | undefined
  const look = (): void => {
    timer?.cancel()
    timer = undefined
    if (path.silent || full || sink.destroyed) return
    const now = systemClock.monotonic()
    while (held[0] && held[0].dueMs <= now && !full) {
      const { bytes } = held.shift()!
      heldBytes -= bytes.length
      full = !sink.write(bytes)
    }
    if (heldBytes < PROXY_HELD_MAX_BYTES) source.resume()
    if (held[0] && !full) timer = systemClock.after(held[0].dueMs - now, look)
    else if (ended && held.length === 0) sink.end()
  }
  source.on('data', (bytes: Buffer) => {
    const now = systemClock.monotonic()
    sentMs = Math.max(now, sentMs) + (bytes.length / path.bytesPerSecond) * 1000
    lastMs = Math.max(lastMs, sentMs + path.delayMs + path.jitterMs * random.fraction())
    held.push({ bytes, dueMs: lastMs })
    heldBytes += bytes.length
    if (heldBytes >= PROXY_HELD_MAX_BYTES) source.pause()
    look()
  })
  source.on('end', () => {
    ended = true
    look()
  })
  sink.on('drain', () => {
    full = false
    look()
  })
  return { path, look, stop: () => timer?.cancel() }
}

type Line = { readonly sockets: readonly Socket[]; readonly pumps: readonly Pump[] }

function join(dialler: Socket, from: string, { to, targetPort, weather, random }: ProxyOptions): Line {
  const target = connect({ port: targetPort, host: HOST, allowHalfOpen: true })
  const there = pump(dialler, target, weather.path(from, to), random)
  const back = pump(target, dialler, weather.path(to, from), random)
  for (const [socket, other] of [
    [dialler, target],
    [target, dialler],
  ] as const) {
    socket.setNoDelay()
    socket.on('error', () => reset(other))
    socket.on('close', (failed) => {
      if (failed) other.destroy()
    })
  }
  return { sockets: [dialler, target], pumps: [there, back] }
}

export async function faultProxy(options: ProxyOptions): Promise<FaultProxy> {
  const { to, weather, whose } = options
  const lines = new Set<Line>()
  const cut = ({ sockets }: Line): void => {
    for (const socket of sockets) reset(socket)
  }
  const server = createServer({ allowHalfOpen: true }, (dialler) => {
    const from = whose(dialler.remoteAddress ?? '')
    if (weather.path(from, to).cut || weather.path(to, from).cut) {
      reset(dialler)
      return
    }
    const line = join(dialler, from, options)
    lines.add(line)
    dialler.on('close', () => {
      lines.delete(line)
      for (const { stop } of line.pumps) stop()
      line.sockets[1]?.destroy()
    })
  })
  weather.onChange((path) => {
    for (const line of lines) {
      const touched = line.pumps.find((it) => it.path === path)
      if (touched && path.cut) cut(line)
      else touched?.look()
    }
  })
  server.listen(0, HOST)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const line of lines) cut(line)
      server.close()
      await once(server, 'close')
    },
  }
}
