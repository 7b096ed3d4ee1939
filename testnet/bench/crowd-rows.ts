// Many devices that are there and say nothing: what each costs, and what it is like for others when all come back at once.
import { Histogram } from '../load/histogram.ts'
import type { Loader } from '../load/loader.ts'
import type { CameBack } from '../load/orders.ts'
import { makeCertificate, type Tls } from './certificate.ts'
import { cpuMs } from './cpu.ts'
import { busyNote, faultsOf, measureDuring, msOf, type Stretch, stop, untilIdle, verdictNotes } from './measure.ts'
import { type MemoryUse, memoryOf } from './memory.ts'
import { pairsAt } from './relay-rows.ts'
import { atMost, type Figure, figure, type Row } from './row.ts'
import type { RelayServer, Stage } from './stage.ts'

const COUNT = 5_000
const COUNT_FULL = 15_000
/** Signed in before anything is measured, so that what a process makes once is there. */
const FIRST = 200
/** Connections with TLS, which are slower to make. */
const TLS = 1_500
const TLS_FULL = 15_000
const COME_BACK = 5_000
const COME_BACK_MS = 10_000
const HONEST_PAIRS = 50
const HONEST_RATE = 500
/** So many accounts are told to the DHT for minutes. */
const IDLE_WAIT_MS = 300_000
const WARM_UP_MS = 2_500
const HONEST_MS = 10_000

const kb = (bytes: number): number => bytes / 1_024

/** What each of `count` more costs the server, by resident memory after its garbage was collected. */
async function costOf(port: number, count: number, more: () => Promise<void>): Promise<MemoryUse> {
  const before = await memoryOf(port)
  await more()
  const after = await memoryOf(port)
  const each = (name: keyof MemoryUse): number => (after[name] - before[name]) / count
  return { rss: each('rss'), heapUsed: each('heapUsed'), external: each('external') }
}

type Idle = { readonly ours: MemoryUse; readonly bare: MemoryUse }

/** Sockets of a `ws` server that has nothing else to do. */
async function bareCost(stage: Stage, count: number, tls: Tls | undefined): Promise<MemoryUse> {
  await using server = await stage.forwarder({ inspected: true, ...(tls && { tls }) })
  await using loader = await stage.loader(tls && { ca: tls.cert })
  const dial = (more: number) => loader.ask({ do: 'sockets', origin: server.origin, count: more })
  await dial(FIRST)
  return await costOf(server.inspectorPort!, count, () => dial(count))
}

/** Devices of people who are registered before, so that their accounts do not count. */
async function signedInCost(stage: Stage, relay: RelayServer, crowd: Loader, count: number): Promise<MemoryUse> {
  stage.say(`  registering ${count + FIRST} people, each with one device`)
  await crowd.ask({ do: 'crowd-register', origin: relay.origin, count: count + FIRST })
  await crowd.ask({ do: 'crowd', count: FIRST })
  stage.say('  they sign in')
  return costOf(relay.inspectorPort!, count, () => crowd.ask({ do: 'crowd', count }))
}

/** Undefined when no certificate can be made here. */
async function withTls(stage: Stage, count: number): Promise<Idle | undefined> {
  const tls = await makeCertificate(stage.dir)
  if (!tls) return undefined
  const bare = await bareCost(stage, count, tls)
  await using relay = await stage.relay('crowd-tls', { inspected: true, tls })
  await using crowd = await stage.loader({ ca: tls.cert })
  return { ours: await signedInCost(stage, relay, crowd, count), bare }
}

type Returned = {
  readonly before: Stretch
  readonly meanwhile: Stretch
  readonly back: CameBack
  /** Share of a core that the crowd's own process used meanwhile. */
  readonly crowdBusy: number
  /** Of the whole relay, while they came back. */
  readonly rowReads: number
}

async function rowReadsOf({ origin }: RelayServer): Promise<number> {
  const metrics = await (await fetch(`${origin}/metrics`)).text()
  return Number(/^parley_store\{what="rowReads"\} (\d+)/m.exec(metrics)?.[1] ?? Number.NaN)
}

/** `crowd` and `loader` are two processes: what the crowd costs its own must not delay the others. */
async function comeBack(stage: Stage, relay: RelayServer, crowd: Loader, count: number): Promise<Returned> {
  await using loader = await stage.loader()
  stage.say(`  ${HONEST_PAIRS} pairs write at ${HONEST_RATE}/s`)
  await loader.ask(pairsAt(relay.origin, 'honest', HONEST_PAIRS))
  await untilIdle(stage, [relay], IDLE_WAIT_MS)
  await loader.ask({ do: 'start', group: 'honest', loop: 'open', rate: HONEST_RATE, precise: false })
  await stage.pause(WARM_UP_MS)
  const honest = { loader, group: 'honest', pid: relay.process.pid }
  const before = await measureDuring(honest, () => stage.pause(HONEST_MS))
  const readsBefore = await rowReadsOf(relay)
  let back: CameBack | undefined
  const crowdBefore = await cpuMs(crowd.pid)
  const found = await measureDuring(honest, async () => {
    back = await crowd.ask<CameBack>({ do: 'come-back', count, withinMs: COME_BACK_MS })
  })
  const crowdBusy = ((await cpuMs(crowd.pid)) - crowdBefore) / back!.elapsedMs
  const meanwhile = await stop(honest, found)
  return { before, meanwhile, back: back!, crowdBusy, rowReads: (await rowReadsOf(relay)) - readsBefore }
}

function memoryFigures(count: number, plain: Idle, tls: Idle | undefined): Figure[] {
  const many = count.toLocaleString('en')
  return [
    figure(`memory an idle signed-in connection, ${many} of them`, kb(plain.ours.rss), 'KB', atMost(10)),
    figure('of it on the heap', kb(plain.ours.heapUsed), 'KB'),
    figure('a bare ws connection', kb(plain.bare.rss), 'KB'),
    ...(tls
      ? [
          figure('with TLS, signed in', kb(tls.ours.rss), 'KB'),
          figure('with TLS, a bare ws connection', kb(tls.bare.rss), 'KB'),
          figure('with TLS, signed in ÷ bare', tls.ours.rss / tls.bare.rss, '×', atMost(1.1)),
        ]
      : []),
  ]
}

export const crowdRow: Row = {
  name: 'crowd',
  title: 'idle devices: memory of each; 5,000 that come back within 10 s',
  async run(stage, options) {
    const count = options.full ? COUNT_FULL : COUNT
    await using relay = await stage.relay('crowd', { inspected: true })
    await using crowd = await stage.loader({ behind: true })
    const bare = await bareCost(stage, count, undefined)
    const tls = await withTls(stage, options.full ? TLS_FULL : TLS)
    const plain = { ours: await signedInCost(stage, relay, crowd, count), bare }
    stage.say('  they lose their sockets and come back')
    const returning = Math.min(count, COME_BACK)
    const { before, meanwhile, back, crowdBusy, rowReads } = await comeBack(stage, relay, crowd, returning)
    const signIns = new Histogram().add(back.signIns)
    const p99 = [msOf(before.latency, 0.99), msOf(meanwhile.latency, 0.99)] as const
    return {
      figures: [
        ...memoryFigures(count, plain, tls),
        figure('others, p99 before', p99[0], 'ms'),
        figure('others, p99 while they come back', p99[1], 'ms'),
        figure('others, p99 meanwhile ÷ before', p99[1] / p99[0], '×', atMost(2)),
        figure('reads of rows a device that comes back', rowReads / returning, 'reads', atMost(2)),
        figure('all back after', back.elapsedMs / 1_000, 's'),
        figure('a sign-in, p50', msOf(signIns, 0.5), 'ms'),
        figure('a sign-in, p99', msOf(signIns, 0.99), 'ms'),
      ],
      notes: [
        'memory: growth of the resident set after garbage collection, divided by the connections',
        ...(tls ? [] : ['no openssl, so no certificate: nothing was measured with TLS']),
        `${back.refused} tries were refused and went again`,
        busyNote('before', before),
        `${busyNote('meanwhile', meanwhile)}, the crowd's own process ${(crowdBusy * 100).toFixed(0)} %, behind the load`,
        ...verdictNotes(before, meanwhile),
      ],
      faults: faultsOf(before, meanwhile),
    }
  },
}
