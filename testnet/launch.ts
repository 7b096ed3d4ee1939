// A network of real processes on this machine: an entry node, and regions of one relay each. Everything lies below one
// directory; a process that is started again gets the same directory and the same ports.
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import {
  type Clock,
  ensureRegionId,
  ParleyError,
  type Random,
  type RegionId,
  systemClock,
  systemRandom,
} from '#protocol'
import { bootstrapStart, relayInit, relayStart, runToEnd } from './command-lines.ts'
import { untilHealthy, untilListed } from './health.ts'
import { PORT_TRIES } from './limits.ts'
import { type ReservedPort, reservePort } from './ports.ts'
import { type Exit, type ManagedProcess, managedProcess, NOTHING_PRELOADED, type Preload } from './process.ts'

export type TestnetOptions = {
  /** Where data and logs go; undefined: a temporary directory that is removed at the end. */
  readonly dir?: string
  readonly regions: readonly { readonly name: string }[]
  /** Puts something in front of a relay: the origin that it announces to clients instead of its own port. */
  readonly inFront?: (region: string, clientPort: number) => Promise<string>
  /** The same for its mesh port: the multiaddr, without its peer id, that it announces to other nodes. */
  readonly meshInFront?: (region: string, meshPort: number) => Promise<string>
  /** What the Node of a relay is given besides. */
  readonly preload?: (region: string) => Preload
  /** Called when a process ends although nobody asked it to. Default: standard error. */
  readonly onLost?: (process: ManagedProcess, exit: Exit) => void
  readonly clock?: Clock
  readonly random?: Random
}

export type TestRegion = {
  readonly name: string
  readonly id: RegionId
  readonly dir: string
  /** Origin that clients dial. */
  readonly url: string
  readonly relay: ManagedProcess
}

export type Testnet = AsyncDisposable & {
  readonly dir: string
  readonly bootstrap: ManagedProcess
  /** Origin of the list of regions. */
  readonly bootstrapUrl: string
  readonly regions: readonly TestRegion[]
  region(name: string): TestRegion
  /** A region that joins later and knows the entry node only. */
  addRegion(name: string): Promise<TestRegion>
  /** Ends every process, relays first; removes the directory if it was a temporary one. */
  close(): Promise<void>
}

type Context = {
  readonly dir: string
  readonly temporary: boolean
  readonly clock: Clock
  readonly random: Random
  readonly options: TestnetOptions
  readonly onLost: (process: ManagedProcess, exit: Exit) => void
  readonly processes: ManagedProcess[]
  readonly ports: ReservedPort[]
}

function reportLost(it: ManagedProcess, { code, signal }: Exit): void {
  process.stderr.write(`parley: ${it.name} ended by itself (${signal ?? `code ${code}`}); its log is ${it.logFile}\n`)
}

async function reserve(context: Context): Promise<number> {
  const reserved = await reservePort(context.random)
  context.ports.push(reserved)
  return reserved.port
}

function child(context: Context, name: string, args: readonly string[], preload: Preload): ManagedProcess {
  const it: ManagedProcess = managedProcess({
    name,
    args: [...preload.args, ...args],
    logFile: join(context.dir, `${name}.log`),
    env: preload.env,
    clock: context.clock,
    onLost: (exit) => context.onLost(it, exit),
  })
  context.processes.push(it)
  return it
}

/** Somebody outside may take a reserved port all the same: then everything about this process is made anew. */
async function withFreshPorts<T>(attempt: (suffix: string) => Promise<T>): Promise<T> {
  for (let i = 1; ; i++) {
    try {
      return await attempt(i === 1 ? '' : `-${i}`)
    } catch (error) {
      const taken = error instanceof ParleyError && /EADDRINUSE|port_in_use|in use/i.test(error.message)
      if (!taken || i === PORT_TRIES) throw error
    }
  }
}

type Bootstrap = { readonly process: ManagedProcess; readonly url: string; readonly multiaddrs: readonly string[] }

const texts = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : [])

async function startBootstrap(context: Context): Promise<Bootstrap> {
  return await withFreshPorts(async (suffix) => {
    const [meshPort, httpPort] = [await reserve(context), await reserve(context)]
    const name = `bootstrap${suffix}`
    const it = child(
      context,
      name,
      bootstrapStart({ data: join(context.dir, name), meshPort, httpPort }),
      NOTHING_PRELOADED,
    )
    await it.start()
    return { process: it, url: String(it.ready.url), multiaddrs: texts(it.ready.multiaddrs) }
  })
}

async function startRegion(context: Context, name: string, entries: readonly string[]): Promise<TestRegion> {
  return await withFreshPorts(async (suffix) => {
    const [meshPort, clientPort] = [await reserve(context), await reserve(context)]
    const data = join(context.dir, `${name}${suffix}`)
    const { inFront, meshInFront, preload } = context.options
    const clientUrls = inFront ? [await inFront(name, clientPort)] : []
    const announced = meshInFront ? { PARLEY_MESH_ANNOUNCE: await meshInFront(name, meshPort) } : {}
    const { args, env } = preload?.(name) ?? NOTHING_PRELOADED
    await runToEnd(relayInit({ data, name, clientPort, meshPort, clientUrls, entries }), {})
    const relay = child(context, `${name}${suffix}`, relayStart(data), { args, env: { ...env, ...announced } })
    await relay.start()
    const url = texts(relay.ready.clientUrls)[0] ?? `http://127.0.0.1:${clientPort}`
    await untilHealthy(url, context.clock)
    return { name, id: ensureRegionId(String(relay.ready.regionId)), dir: data, url, relay }
  })
}

async function closeAll({ processes, ports, dir, temporary }: Context): Promise<void> {
  await Promise.all(processes.map((it) => it.stop()))
  for (const port of ports.splice(0)) port[Symbol.dispose]()
  if (temporary) await rm(dir, { recursive: true, force: true, maxRetries: 5 })
}

async function contextOf(options: TestnetOptions): Promise<Context> {
  const dir = options.dir ? resolve(options.dir) : await mkdtemp(join(tmpdir(), 'parley-testnet-'))
  await mkdir(dir, { recursive: true })
  return {
    dir,
    temporary: options.dir === undefined,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    options,
    onLost: options.onLost ?? reportLost,
    processes: [],
    ports: [],
  }
}

/**
 * Starts a network and resolves when every process answers. Use `await using`, so that it ends whatever happens; when
 * this process is killed its children end by themselves.
 */
export async function launchTestnet(options: TestnetOptions): Promise<Testnet> {
  const context = await contextOf(options)
  const close = (): Promise<void> => closeAll(context)
  try {
    const bootstrap = await startBootstrap(context)
    const starting = options.regions.map(({ name }) => startRegion(context, name, bootstrap.multiaddrs))
    // When one fails the others are still starting, and what starts after everything was ended would stay.
    await Promise.allSettled(starting)
    const regions = await Promise.all(starting)
    await untilListed(bootstrap.url, regions.length, context.clock)
    return {
      dir: context.dir,
      bootstrap: bootstrap.process,
      bootstrapUrl: bootstrap.url,
      regions,
      region(name) {
        const found = regions.find((it) => it.name === name)
        if (!found) throw new ParleyError('unknown_region', `this network has no region ${name}`)
        return found
      },
      async addRegion(name) {
        const added = await startRegion(context, name, bootstrap.multiaddrs)
        regions.push(added)
        await untilListed(bootstrap.url, regions.length, context.clock)
        return added
      },
      close,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
