import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { simulatedRandom, systemClock } from '#protocol'
import { faultProxy } from './proxy.ts'
import { type Condition, createWeather, type Weather } from './weather.ts'

const HOST = '127.0.0.1'
const LEAST_MS = 100
const LIMIT = { timeout: 20_000 }

type World = AsyncDisposable & {
  readonly weather: Weather
  dial(localAddress: string): Socket
  /** The next connection at the other end. */
  accepted(): Promise<Socket>
}

const whose = (address: string): string => (address.endsWith('127.0.1.1') ? 'ana' : 'ben')

/** A server behind a proxy, `home`. */
async function open(): Promise<World> {
  const weather = createWeather()
  const server = createServer()
  server.listen(0, HOST)
  await once(server, 'listening')
  const targetPort = (server.address() as AddressInfo).port
  const proxy = await faultProxy({ to: 'home', targetPort, weather, random: simulatedRandom(1), whose })
  const sockets: Socket[] = []
  server.on('connection', (socket) => void sockets.push(socket.on('error', () => undefined)))
  return {
    weather,
    dial(localAddress) {
      const socket = connect({ port: proxy.port, host: HOST, localAddress, allowHalfOpen: true }).on(
        'error',
        () => undefined,
      )
      sockets.push(socket)
      return socket
    },
    accepted: async () => (await once(server, 'connection'))[0] as Socket,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await proxy[Symbol.asyncDispose]()
      server.close()
    },
  }
}

const heard = async (socket: Socket): Promise<string> => String((await once(socket, 'data'))[0])
const after = (ms: number): Promise<'nothing'> =>
  new Promise((resolve) => void systemClock.after(ms, () => resolve('nothing')))

/** However it came about. */
const closed = (socket: Socket): Promise<void> => new Promise((resolve) => void socket.once('close', () => resolve()))

async function joined(world: World, address = '127.0.1.1'): Promise<[Socket, Socket]> {
  const accepted = world.accepted()
  const there = world.dial(address)
  return [there, await accepted]
}

test('bytes pass both ways, and an end passes too', LIMIT, async () => {
  await using world = await open()
  const [there, home] = await joined(world)
  there.write('hello')
  assert.equal(await heard(home), 'hello')
  home.end('bye')
  assert.equal(await heard(there), 'bye')
  await once(there, 'end')
  there.end('last')
  assert.equal(await heard(home), 'last')
})

test('one way: nothing comes through in one direction, all of it once that is over', LIMIT, async () => {
  await using world = await open()
  const [there, home] = await joined(world)
  const end = world.weather.begin({ touches: (from, to) => from === 'ana' && to === 'home', silent: true })
  there.write('one ')
  there.write('two')
  home.write('back')
  assert.equal(await heard(there), 'back')
  let got = ''
  home.on('data', (bytes) => {
    got += bytes
  })
  const [other, home2] = await joined(world, '127.0.1.2')
  other.write('others are not touched')
  assert.equal(await heard(home2), 'others are not touched')
  assert.equal(got, '')
  end()
  while (got.length < 7) await once(home, 'data')
  assert.equal(got, 'one two')
})

test('slow and thin: bytes come in order, no earlier than they may', LIMIT, async () => {
  for (const condition of [{ delayMs: LEAST_MS, jitterMs: 20 }, { bytesPerSecond: 10_000 }]) {
    await using world = await open()
    const end = world.weather.begin({ touches: () => true, ...condition } as Condition)
    const [there, home] = await joined(world)
    const text = Array.from({ length: 300 }, (_, i) => `line ${i}\n`).join('')
    const began = systemClock.monotonic()
    let got = ''
    home.on('data', (bytes) => {
      got += bytes
    })
    for (const line of text.split(/(?<=\n)/)) there.write(line)
    while (got.length < text.length) await once(home, 'data')
    assert.equal(got, text)
    assert.ok(systemClock.monotonic() - began >= LEAST_MS)
    end()
  }
})

test('cut: connections are reset and refused until it is over', LIMIT, async () => {
  await using world = await open()
  const [there] = await joined(world)
  const end = world.weather.begin({ touches: (from) => from === 'ana', cut: true })
  await closed(there)
  await closed(world.dial('127.0.1.1'))
  end()
  const [again, home] = await joined(world)
  again.write('again')
  assert.equal(await Promise.race([heard(home), after(5_000)]), 'again')
})
