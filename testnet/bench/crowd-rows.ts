// Many devices that are there and say nothing: what each costs, and what it is like for others when all come back at once.
import { Histogram } from '../load/histogram.ts'
import type { Loader } from '../load/loader.ts'
import type { CameBack } from '../load/orders.ts'
import { makeCertificate } from './certificate.ts'
import { measureDuring, msOf, type Stretch, troubleNotes } from './measure.ts'
import { type MemoryUse, memoryOf } from './memory.ts'
import { pairsAt } from './relay-rows.ts'
import { atMost, type Figure, figure, type Row } from './row.ts'
import type { RelayServer, Stage } from './stage.ts'

const COUNT = 5_000
const COUNT_FULL = 15_000
/** Signed in before anything is measured, so that what a process makes once is there. */
const FIRST = 200
const BARE = 2_000
const COME_BACK = 5_000
const COME_BACK_MS = 10_000
const HONEST_PAIRS = 50
const HONEST_RATE = 500
const HONEST_MS = 5_000

const kb = (bytes: number): number => bytes / 1_024

/** What each of `count` more costs the server, by resident memory after its garbage was collected. */
async function costOf(port: number, count: number, more: () => Promise<void>): Promise<MemoryUse> {
  const before = await memoryOf(port)
  await more()
  const after = await memoryOf(port)
  const each = (name: keyof MemoryUse): number => (after[name] - before[name]) / count
  return { rss: each('rss'), heapUsed: each('heapUsed'), external: each('external') }
}

/** Bare sockets at a server of their own. */
async function bare(stage: Stage, loader: Loader, tls: boolean): Promise<MemoryUse | undefined> {
  const files = tls ? await makeCertificate(stage.dir) : undefined
  if (tls && !files) return undefined
  await using server = await stage.forwarder({ inspected: true, ...(files && { tls: files }) })
  const { origin } = server
  const dial = (count: number) => loader.ask({ do: 'sockets', origin, count, ca: files?.ca })
  await dial(FIRST)
  const found = await costOf(server.inspectorPort!, BARE, () => dial(BARE))
  await loader.ask({ do: 'hang-up' })
  return found
}

type Returned = { readonly before: Stretch; readonly meanwhile: Stretch; readonly back: CameBack }

/** `crowd` and `loader` are two processes: what the crowd costs its own must not delay the others. */
async function comeBack(stage: Stage, relay: RelayServer, crowd: Loader, count: number): Promise<Returned> {
  await using loader = await stage.loader()
  stage.say(`  ${HONEST_PAIRS} pairs write at ${HONEST_RATE}/s`)
  await loader.ask(pairsAt(relay.origin, 'honest', HONEST_PAIRS))
  await loader.ask({ do: 'start', group: 'honest', loop: 'open', rate: HONEST_RATE, precise: false })
  await stage.pause(HONEST_MS / 2)
  const honest = { loader, group: 'honest', pid: relay.process.pid }
  const before = await measureDuring(honest, () => stage.pause(HONEST_MS))
  let back: CameBack | undefined
  const meanwhile = await measureDuring(honest, async () => {
    back = await crowd.ask<CameBack>({ do: 'come-back', count, withinMs: COME_BACK_MS })
  })
  await loader.ask({ do: 'stop', group: 'honest' })
  return { before, meanwhile, back: back! }
}

function memoryFigures(count: number, ours: MemoryUse, plain: MemoryUse, tls: MemoryUse | undefined): Figure[] {
  return [
    figure(`memory a signed-in idle connection, ${count.toLocaleString('en')} of them`, kb(ours.rss), 'KB', atMost(10)),
    figure('of it on the heap', kb(ours.heapUsed), 'KB'),
    figure('the same, a bare ws connection', kb(plain.rss), 'KB'),
    ...(tls ? [figure('the same, a bare ws connection with TLS', kb(tls.rss), 'KB')] : []),
  ]
}

export const crowdRow: Row = {
  name: 'crowd',
  title: 'idle devices: memory of each; 5,000 that come back within 10 s',
  async run(stage, options) {
    const count = options.full ? COUNT_FULL : COUNT
    await using relay = await stage.relay('crowd', { inspected: true })
    await using crowd = await stage.loader()
    const plain = (await bare(stage, crowd, false))!
    const tls = await bare(stage, crowd, true)
    stage.say(`  registering ${count + FIRST} people, each with one device`)
    await crowd.ask({ do: 'crowd-register', origin: relay.origin, count: count + FIRST })
    await crowd.ask({ do: 'crowd', count: FIRST })
    stage.say('  they sign in')
    const ours = await costOf(relay.inspectorPort!, count, () => crowd.ask({ do: 'crowd', count }))
    stage.say('  they lose their sockets and come back')
    const { before, meanwhile, back } = await comeBack(stage, relay, crowd, Math.min(count, COME_BACK))
    const signIns = new Histogram().add(back.signIns)
    const p99 = [msOf(before.latency, 0.99), msOf(meanwhile.latency, 0.99)] as const
    return {
      figures: [
        ...memoryFigures(count, ours, plain, tls),
        figure('others, p99 before', p99[0], 'ms'),
        figure('others, p99 while they come back', p99[1], 'ms'),
        figure('others, p99 meanwhile ÷ before', p99[1] / p99[0], '×', atMost(2)),
        figure('all back after', back.elapsedMs / 1_000, 's'),
        figure('a sign-in, p50', msOf(signIns, 0.5), 'ms'),
        figure('a sign-in, p99', msOf(signIns, 0.99), 'ms'),
      ],
      notes: [
        'memory: growth of the resident set after garbage collection, divided by the connections',
        ...(tls ? [] : ['no openssl: bare TLS connections were not measured']),
        'the relay has no TLS of its own (a proxy in front has it), so there is nothing to hold against bare TLS',
        `${back.refused} tries were refused and went again`,
        ...troubleNotes(before, meanwhile),
      ],
    }
  },
}
