// What rows measure with: relays and forwarders as processes of their own, load processes, a directory on a real disk.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, type Random, systemClock, systemRandom } from '#protocol'
import { relayInit, relayStart, runToEnd } from '../command-lines.ts'
import { untilHealthy } from '../health.ts'
import { type Loader, startLoader } from '../load/loader.ts'
import { reservePort } from '../ports.ts'
import { type ManagedProcess, managedProcess } from '../process.ts'
import { type Placement, pin, placement } from './cpu.ts'

const RAW_SERVER = join(import.meta.dirname, 'raw-server.ts')

export type Server = AsyncDisposable & { readonly origin: string; readonly process: ManagedProcess }
export type RelayServer = Server & { readonly data: string }

export type StageOptions = {
  readonly dir: string
  /** Where a relay's CPU profile goes when it ends; undefined: none is taken. */
  readonly profiles: string | undefined
  /** A relay that runs already; rows that can use it do, and have no CPU figures. */
  readonly relay: string | undefined
  readonly say: (line: string) => void
}

export type Stage = {
  readonly dir: string
  readonly clock: Clock
  readonly random: Random
  readonly placed: Placement
  readonly relayElsewhere: string | undefined
  readonly say: (line: string) => void
  relay(name: string, entries?: readonly string[]): Promise<RelayServer>
  forwarder(): Promise<Server>
  loader(): Promise<Loader>
  pause(ms: number): Promise<void>
}

/** Nothing is logged for every sign-in; limits stay as they are. */
const ENV = { PARLEY_LOG_LEVEL: 'warn' }

async function startServer(stage: StageOptions, placed: Placement, name: string, args: string[]) {
  const it = managedProcess({
    name,
    args,
    logFile: join(stage.dir, `${name}.log`),
    env: ENV,
    clock: systemClock,
    onLost: ({ code, signal }) => stage.say(`${name} ended by itself (${signal ?? `code ${code}`})`),
  })
  await it.start()
  await pin(it.pid ?? 0, placed.server)
  return it
}

export async function openStage(options: StageOptions): Promise<Stage> {
  const placed = await placement()
  await mkdir(options.dir, { recursive: true })
  const profiled = options.profiles
    ? ['--cpu-prof', `--cpu-prof-dir=${options.profiles}`, '--cpu-prof-interval=500']
    : []
  return {
    dir: options.dir,
    clock: systemClock,
    random: systemRandom,
    placed,
    relayElsewhere: options.relay,
    say: options.say,
    async relay(name, entries = []) {
      const [mesh, client] = [await reservePort(systemRandom), await reservePort(systemRandom)]
      const data = join(options.dir, name)
      const place = { data, name, clientPort: client.port, meshPort: mesh.port, clientUrls: [], entries }
      await runToEnd(relayInit(place), ENV)
      const it = await startServer(options, placed, name, [...profiled, ...relayStart(data)])
      const origin = `http://127.0.0.1:${client.port}`
      await untilHealthy(origin, systemClock)
      return {
        origin,
        data,
        process: it,
        async [Symbol.asyncDispose]() {
          await it.stop()
          mesh[Symbol.dispose]()
          client[Symbol.dispose]()
        },
      }
    },
    async forwarder() {
      const it = await startServer(options, placed, 'forwarder', [RAW_SERVER])
      return { origin: String(it.ready.url), process: it, [Symbol.asyncDispose]: () => it[Symbol.asyncDispose]() }
    },
    async loader() {
      const it = await startLoader(systemClock)
      await pin(it.pid, placed.load)
      return it
    },
    pause(ms) {
      const { promise, resolve } = Promise.withResolvers<void>()
      systemClock.after(ms, resolve)
      return promise
    },
  }
}
