// A DHT server with an identity that stays the same, and an HTTP list of the signed region records it has accepted.
import { join } from 'node:path'
import {
  loadOrCreateNodeKey,
  type NodeEvents,
  openAdmission,
  openLevelStorage,
  type ParleyNode,
  silentEvents,
  startNode,
} from '#node'
import { type Clock, ParleyError, type Random } from '#protocol'
import type { HostPort } from './address.ts'
import { serveRegionList } from './http.ts'

export type BootstrapOptions = {
  /** Key and records live here. */
  readonly dataDirectory: string
  /** Of the mesh; an IP address. */
  readonly listen: HostPort
  readonly http: HostPort
  /** Multiaddrs to tell others instead of the one listened on. */
  readonly announce: readonly string[]
  /** Other bootstrap nodes. */
  readonly bootstrap: readonly string[]
  readonly clock: Clock
  readonly random: Random
  readonly events: NodeEvents | undefined
}

export type Bootstrap = AsyncDisposable & {
  readonly peerId: string
  /** What others give as their bootstrap address. */
  readonly multiaddrs: readonly string[]
  /** Of the region list. */
  readonly url: string
  readonly node: ParleyNode
}

export async function startBootstrap(options: BootstrapOptions): Promise<Bootstrap> {
  const { clock, random, dataDirectory } = options
  await using started = new AsyncDisposableStack()
  const key = await loadOrCreateNodeKey(join(dataDirectory, 'node.key'), random).catch((error: unknown) => {
    throw rightsError(error, dataDirectory)
  })
  const storage = started.use(await openLevelStorage(join(dataDirectory, 'records')))
  const node = started.use(
    await startNode({
      key,
      listen: options.listen,
      announce: options.announce,
      bootstrap: options.bootstrap,
      mode: 'server',
      storage,
      clock,
      random,
      admission: openAdmission,
      certificate: undefined,
      renewal: undefined,
      events: options.events ?? silentEvents,
    }),
  )
  const list = started.use(await serveRegionList(node, options.http, clock))
  const owned = started.move()
  return {
    peerId: node.peerId,
    multiaddrs: node.multiaddrs(),
    url: list.url,
    node,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function rightsError(error: unknown, directory: string): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new ParleyError('unauthorized', `no rights to write in ${directory}: choose another --data directory`, {
      directory,
    })
  }
  if (code === 'ENOTDIR' || code === 'EEXIST')
    return new ParleyError('bad_argument', `${directory} is not a directory`, { directory })
  return error
}
