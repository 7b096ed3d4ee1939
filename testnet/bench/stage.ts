// What rows measure with: relays and forwarders as processes of their own, load processes, a directory on a real disk.
import { mkdir, readFile, rm } from 'node:fs/promises'
import { setPriority } from 'node:os'
import { join } from 'node:path'
import { systemClock, systemRandom } from '#protocol'
import { bootstrapStart, relayInit, relayStart, runToEnd } from '../command-lines.ts'
import { untilHealthy, untilListed } from '../health.ts'
import { type Loader, startLoader } from '../load/loader.ts'
import { type ReservedPort, reservePort } from '../ports.ts'
import { type ManagedProcess, managedProcess, NOTHING_PRELOADED, type Preload } from '../process.ts'
import type { Tls } from './certificate.ts'
import { BEHIND_NICE, type Placement, pin, placement } from './cpu.ts'

const RAW_SERVER = join(import.meta.dirname, 'raw-server.ts')

export type Server = AsyncDisposable & {
  readonly origin: string
  readonly process: ManagedProcess
  /** Again, after it was killed, on the same cores. */
  start(): Promise<void>
}
export type RelayServer = Server & {
  readonly data: string
  readonly meshPort: number
  /** Where its inspector listens, if that was asked for. */
  readonly inspectorPort: number | undefined
}
export type Regions = AsyncDisposable & {
  readonly relays: readonly RelayServer[]
  /** Where they run. */
  readonly placed: string
}

export type StageOptions = {
  readonly dir: string
  /** Where a relay's CPU profile goes when it ends; undefined: none is taken. */
  readonly profiles: string | undefined
  /** A relay that runs already; rows that can use it do, and have no CPU figures. */
  readonly relay: string | undefined
  readonly say: (line: string) => void
}

export type RelayHow = {
  /** Runs between its making and its start. */
  readonly before?: (data: string) => Promise<void>
  readonly inspected?: boolean
  readonly tls?: Tls
  readonly preload?: (name: string) => Preload
  /** Regions beside the load come behind it: what they cost is not what others notice. */
  readonly behind?: boolean
}
export type LoaderHow = {
  /** The file of a certificate that it trusts. */
  readonly ca?: string
  /** It comes behind those who measure, where they share a core: what it costs itself is not what others notice. */
  readonly behind?: boolean
}
export type ForwarderHow = { readonly inspected?: boolean; readonly tls?: Tls }

export type Stage = {
  readonly dir: string
  readonly placed: Placement
  readonly relayElsewhere: string | undefined
  readonly say: (line: string) => void
  relay(name: string, how?: RelayHow): Promise<RelayServer>
  /** An entry node and a relay for each name; the first on the servers' core, the others on that of the load. */
  regions(names: readonly string[], how?: RelayHow): Promise<Regions>
  forwarder(how?: ForwarderHow): Promise<Server & { readonly inspectorPort: number | undefined }>
  loader(how?: LoaderHow): Promise<Loader>
  pause(ms: number): Promise<void>
}

/** Nothing is logged for every sign-in; limits stay as they are. */
const ENV = { PARLEY_LOG_LEVEL: 'warn' }

type Ports = { readonly mesh: ReservedPort; readonly client: ReservedPort }

type ServerPlan = {
  readonly name: string
  readonly cores: string | undefined
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly behind?: boolean
}

async function makeServer(options: StageOptions, { name, cores, args, env, behind = false }: ServerPlan) {
  await using stack = new AsyncDisposableStack()
  const it = stack.use(
    managedProcess({
      name,
      args,
      logFile: join(options.dir, `${name}.log`),
      env: { ...ENV, ...env },
      clock: systemClock,
      onLost: ({ code, signal }) => options.say(`${name} ended by itself (${signal ?? `code ${code}`})`),
    }),
  )
  const start = async (): Promise<void> => {
    await it.start()
    await pin(it.pid ?? 0, cores)
    if (behind && it.pid !== undefined) setPriority(it.pid, BEHIND_NICE)
  }
  await start()
  const owned = stack.move()
  return { process: it, start, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

async function reserve(stack: AsyncDisposableStack): Promise<Ports> {
  const mesh = stack.use(await reservePort(systemRandom))
  return { mesh, client: stack.use(await reservePort(systemRandom)) }
}

async function inspectorOf(wanted = false): Promise<{ port: number | undefined; args: readonly string[] }> {
  if (!wanted) return { port: undefined, args: [] }
  using reserved = await reservePort(systemRandom)
  return { port: reserved.port, args: [`--inspect=127.0.0.1:${reserved.port}`] }
}

type RelayPlan = {
  readonly name: string
  readonly cores: string | undefined
  readonly entries: readonly string[]
  readonly how: RelayHow
}

async function makeRelay(options: StageOptions, { name, cores, entries, how }: RelayPlan): Promise<RelayServer> {
  await using stack = new AsyncDisposableStack()
  const data = join(options.dir, name)
  stack.defer(async () => {
    await rm(data, { recursive: true, force: true, maxRetries: 5 })
    await rm(`${data}-root.key`, { force: true })
  })
  const { mesh, client } = await reserve(stack)
  const profiled = options.profiles
    ? ['--cpu-prof', `--cpu-prof-dir=${options.profiles}`, '--cpu-prof-interval=500']
    : []
  await runToEnd(relayInit({ data, name, clientPort: client.port, meshPort: mesh.port, clientUrls: [], entries }), ENV)
  await how.before?.(data)
  const inspector = await inspectorOf(how.inspected)
  const preload = how.preload?.(name) ?? NOTHING_PRELOADED
  const tls = how.tls ? { PARLEY_CLIENT_TLS_CERT: how.tls.cert, PARLEY_CLIENT_TLS_KEY: how.tls.key } : {}
  const it = stack.use(
    await makeServer(options, {
      name,
      cores,
      args: [...profiled, ...inspector.args, ...preload.args, ...relayStart(data)],
      env: { ...tls, ...preload.env },
      behind: how.behind ?? false,
    }),
  )
  const origin = `${how.tls ? 'https' : 'http'}://127.0.0.1:${client.port}`
  // This process does not trust the certificate; the ready line has to do.
  if (!how.tls) await untilHealthy(origin, systemClock)
  const owned = stack.move()
  return {
    ...it,
    origin,
    data,
    meshPort: mesh.port,
    inspectorPort: inspector.port,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function makeRegions(
  options: StageOptions,
  placed: Placement,
  names: readonly string[],
  how: RelayHow,
): Promise<Regions> {
  await using stack = new AsyncDisposableStack()
  const { mesh, client } = await reserve(stack)
  const data = join(options.dir, 'entry')
  const args = bootstrapStart({ data, meshPort: mesh.port, httpPort: client.port })
  stack.defer(() => rm(data, { recursive: true, force: true, maxRetries: 5 }))
  const entry = stack.use(await makeServer(options, { name: 'entry', cores: placed.load, args, behind: true }))
  const { ready } = entry.process
  const entries = Array.isArray(ready.multiaddrs) ? ready.multiaddrs.map(String) : []
  const relays: RelayServer[] = []
  for (const [i, name] of names.entries()) {
    const cores = i === 0 ? placed.server : placed.load
    const behind = how.behind === true && i > 0
    relays.push(stack.use(await makeRelay(options, { name, cores, entries, how: { ...how, behind } })))
  }
  await untilListed(String(ready.url), names.length, systemClock)
  const owned = stack.move()
  const [first, ...others] = names
  const where = placed.server === undefined ? 'nowhere in particular' : `core ${placed.server}`
  return {
    relays,
    placed: `${first} on ${where}; ${others.join(', ')} and the entry node beside the load`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** The numbers in a list like `0-2,5`. */
function coresIn(list: string): number[] {
  return list.split(',').flatMap((part) => {
    const [first = 0, last = first] = part.trim().split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
  })
}

/** A process that may run on some cores only cannot put others anywhere else: they get the same places among those. */
export function placedOn(list: string, placed: Placement): Placement {
  const [server, ...load] = coresIn(list)
  const isUsual = load.every((core, i) => core === i + 1) && server === 0
  if (placed.server === undefined || isUsual || load.length === 0 || load.some(Number.isNaN)) return placed
  const says = `${placed.says.split(';')[0]}; servers on core ${server}, load on ${load.length === 1 ? 'core' : 'cores'} ${load}`
  return { server: `${server}`, load: `${load}`, says }
}

/** Nothing to read it from elsewhere than on Linux, where nothing is pinned either. */
async function allowedCores(): Promise<string> {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '')
  return /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? '0'
}

export async function openStage(options: StageOptions): Promise<Stage> {
  const placed = placedOn(await allowedCores(), await placement())
  await mkdir(options.dir, { recursive: true })
  return {
    dir: options.dir,
    placed,
    relayElsewhere: options.relay,
    say: options.say,
    relay: (name, how = {}) => makeRelay(options, { name, cores: placed.server, entries: [], how }),
    regions: (names, how = {}) => makeRegions(options, placed, names, how),
    async forwarder({ inspected, tls } = {}) {
      const inspector = await inspectorOf(inspected)
      const files = tls ? [tls.cert, tls.key] : []
      const it = await makeServer(options, {
        name: 'forwarder',
        cores: placed.server,
        args: [...inspector.args, RAW_SERVER, ...files],
      })
      return { ...it, origin: String(it.process.ready.url), inspectorPort: inspector.port }
    },
    async loader({ ca, behind = false } = {}) {
      await using stack = new AsyncDisposableStack()
      const it = stack.use(await startLoader(systemClock, ca))
      await pin(it.pid, placed.load)
      if (behind) setPriority(it.pid, BEHIND_NICE)
      stack.move()
      return it
    },
    pause(ms) {
      const { promise, resolve } = Promise.withResolvers<void>()
      systemClock.after(ms, resolve)
      return promise
    },
  }
}
