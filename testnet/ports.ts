// Free ports without races. Binding port 0, reading the number and letting go of it again hands out a port that the
// system may give to anybody's next outgoing connection, above all while a relay that was killed on purpose is away.
// So ports come from below that range, and each one is held by a socket with the port's number in its name (in the
// abstract name space: it vanishes with the process). Two launchers never choose the same one; elsewhere than on Linux
// the search starts at random and the launcher tries again when a port turns out to be taken.
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { ParleyError, type Random } from '#protocol'
import { PORT_FIRST, PORT_LAST, PORT_SEARCH_MAX } from './limits.ts'

const HOST = '127.0.0.1'

export type ReservedPort = Disposable & { readonly port: number }

async function listen(server: Server, where: { path: string } | { host: string; port: number }): Promise<boolean> {
  server.listen({ ...where, exclusive: true })
  try {
    await once(server, 'listening')
    return true
  } catch {
    return false
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  if (!(await listen(server, { host: HOST, port }))) return false
  server.close()
  await once(server, 'close')
  return true
}

async function claim(port: number): Promise<ReservedPort | undefined> {
  if (process.platform !== 'linux') return (await isFree(port)) ? { port, [Symbol.dispose]: () => {} } : undefined
  const holder = createServer().unref()
  if (!(await listen(holder, { path: `\0parley-testnet-port-${port}` }))) return undefined
  const release = (): void => {
    holder.close()
  }
  if (await isFree(port)) return { port, [Symbol.dispose]: release }
  release()
  return undefined
}

/** A loopback port that nobody listens on and no other launcher reserves, until it is disposed of. */
export async function reservePort(random: Random): Promise<ReservedPort> {
  const span = PORT_LAST - PORT_FIRST + 1
  const start = Math.floor(random.fraction() * span)
  for (let i = 0; i < PORT_SEARCH_MAX; i++) {
    const reserved = await claim(PORT_FIRST + ((start + i) % span))
    if (reserved) return reserved
  }
  throw new ParleyError('no_room', `no free port among ${PORT_SEARCH_MAX} between ${PORT_FIRST} and ${PORT_LAST}`, {
    next: 'stop other local networks',
  })
}
