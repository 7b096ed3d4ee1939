// How long a message takes: alone, within a region and across two; and under more and more load. Messages are due at an
// even pace whatever has become of those before, and time counts from when they were due.
import type { Loader } from '../load/loader.ts'
import { measureFsync } from './fsync.ts'
import { busyNote, faultsOf, measure, msOf, type Stretch, stop, together, untilIdle, verdictNotes } from './measure.ts'
import type { Plot } from './plot.ts'
import { pairsAt } from './relay-rows.ts'
import { atMost, figure, type Row } from './row.ts'
import type { RelayServer, Stage } from './stage.ts'

/** Slow enough that nobody meets anybody. */
const LONE_RATE = 50
const LONE_PAIRS = 8
const LONE_SECONDS = 4
const WARM_UP_MS = 1_000
/** Messages of each pair that go before: a relay that has just started runs everything for the first time. */
const WARM_UP_EACH = 2_000
const STEP_SECONDS = 2
const SHARES = [0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.1]
const FLIGHTS = [1, 2, 4, 8, 16]

async function lone(stage: Stage, loader: Loader, group: string, seconds: number): Promise<Stretch> {
  await loader.ask({ do: 'send', group, each: WARM_UP_EACH, flight: 4 })
  await loader.ask({ do: 'start', group, loop: 'open', rate: LONE_RATE, precise: true })
  const it = { loader, group, pid: undefined }
  return await stop(it, await measure(stage, it, WARM_UP_MS, seconds * 1_000))
}

export const loneRow: Row = {
  name: 'lone',
  title: 'round trip of one lone message: sent → numbered, and at the other device',
  async run(stage, options) {
    await using network = await stage.regions(['north', 'south'])
    const [north, south] = network.relays as [RelayServer, RelayServer]
    await using loader = await stage.loader()
    const seconds = options.seconds ?? LONE_SECONDS
    await loader.ask(pairsAt(north.origin, 'same', LONE_PAIRS))
    for (const host of ['author', 'reader'] as const)
      await loader.ask(pairsAt(north.origin, host, LONE_PAIRS, { readers: south.origin, host }))
    await untilIdle(stage, [north, south])
    stage.say(`  ${LONE_RATE} messages a second, ${3 * seconds} s`)
    const before = await measureFsync(stage.dir)
    const same = await lone(stage, loader, 'same', seconds)
    const near = await lone(stage, loader, 'author', seconds)
    const far = await lone(stage, loader, 'reader', seconds)
    const across = together([near, far])
    const fsync = (await measureFsync(stage.dir)).add(before.counts())
    const unit = msOf(fsync, 0.5)
    return {
      figures: [
        figure('one fsync, p50', unit, 'ms'),
        figure('same relay, p50', msOf(same.latency, 0.5), 'ms'),
        figure('same relay, p50 − fsync', msOf(same.latency, 0.5) - unit, 'ms', atMost(0.7)),
        figure('same relay, p50 ÷ fsync', msOf(same.latency, 0.5) / unit, '×'),
        figure('same relay, p99', msOf(same.latency, 0.99), 'ms'),
        figure('two regions, p50', msOf(across.latency, 0.5), 'ms'),
        figure('two regions, p50 − fsync', msOf(across.latency, 0.5) - unit, 'ms', atMost(1.5)),
        figure('two regions, p50 ÷ fsync', msOf(across.latency, 0.5) / unit, '×'),
        figure('two regions, p99', msOf(across.latency, 0.99), 'ms'),
      ],
      notes: [
        `${same.latency.total} messages within a region, ${across.latency.total} across; fsync p99 ${msOf(fsync, 0.99).toFixed(2)} ms`,
        `the home of the author hosts half of those across: p50 ${msOf(near.latency, 0.5).toFixed(2)} ms; that of the reader the others: ${msOf(far.latency, 0.5).toFixed(2)} ms`,
        ...verdictNotes(same, across),
      ],
      faults: faultsOf(same, across),
    }
  },
}

type Point = { readonly share: number; readonly found: Stretch }

type Load = { readonly loader: Loader; readonly pid: number | undefined; readonly seconds: number }

async function openLoop(stage: Stage, { loader, pid, seconds }: Load, capacity: number, shares: readonly number[]) {
  const points: Point[] = []
  for (const share of shares) {
    await loader.ask({ do: 'start', group: 'load', loop: 'open', rate: share * capacity, precise: true })
    const it = { loader, group: 'load', pid }
    const found = await stop(it, await measure(stage, it, WARM_UP_MS, seconds * 1_000))
    points.push({ share, found })
    const p99 = msOf(found.latency, 0.99).toFixed(1)
    stage.say(
      `  open loop, ${(share * 100).toFixed(0)} % of ${capacity.toFixed(0)}/s: ${found.perSecond.toFixed(0)}/s, p99 ${p99} ms`,
    )
  }
  return points
}

async function closedLoop(stage: Stage, { loader, pid, seconds }: Load): Promise<Stretch[]> {
  const points: Stretch[] = []
  for (const flight of FLIGHTS) {
    await loader.ask({ do: 'start', group: 'load', loop: 'closed', flight })
    const it = { loader, group: 'load', pid }
    points.push(await stop(it, await measure(stage, it, WARM_UP_MS, seconds * 1_000)))
    const last = points.at(-1)!
    stage.say(`  closed loop, ${flight} in flight: ${last.perSecond.toFixed(0)}/s`)
  }
  return points
}

function plotOf(open: readonly Point[], closed: readonly Stretch[]): Plot {
  const pointsOf = (list: readonly Stretch[], share: number) =>
    list.map((it) => [it.perSecond, msOf(it.latency, share)] as const)
  const opened = open.map(({ found }) => found)
  return {
    title: 'one relay: latency over load',
    series: [
      { name: 'open loop, p50', points: pointsOf(opened, 0.5) },
      { name: 'open loop, p99', points: pointsOf(opened, 0.99) },
      { name: 'open loop, p99.9', points: pointsOf(opened, 0.999) },
      { name: 'closed loop, p50', points: pointsOf(closed, 0.5) },
      { name: 'closed loop, p99', points: pointsOf(closed, 0.99) },
    ],
  }
}

export const latencyRow: Row = {
  name: 'latency',
  elsewhere: true,
  title: 'latency over load, one relay, 50 pairs',
  async run(stage, options) {
    await using relay = stage.relayElsewhere ? undefined : await stage.relay('latency')
    await using loader = await stage.loader()
    const seconds = options.seconds ?? STEP_SECONDS
    const pid = relay?.process.pid
    await loader.ask(pairsAt(relay?.origin ?? stage.relayElsewhere!, 'load', options.pairs ?? 50))
    await untilIdle(stage, [relay])
    const load = { loader, pid, seconds }
    const closed = await closedLoop(stage, load)
    const capacity = Math.max(...closed.map((it) => it.perSecond))
    const open = await openLoop(stage, load, capacity, SHARES)
    const reached = Math.max(...open.map(({ found }) => found.perSecond))
    const half = (await openLoop(stage, load, reached, [0.5]))[0]!.found
    const all = [...closed, ...open.map(({ found }) => found), half]
    return {
      figures: [
        figure('best of the closed loops, up to 16 messages a frame', capacity, 'messages/s'),
        ...open.map(({ share, found }) =>
          figure(`an open loop at ${(share * 100).toFixed(0)} % of that, p99`, msOf(found.latency, 0.99), 'ms'),
        ),
        figure('most that an open loop reaches, one message a frame', reached, 'messages/s'),
        figure('half load, p50', msOf(half.latency, 0.5), 'ms'),
        figure('half load, p99', msOf(half.latency, 0.99), 'ms', atMost(20)),
        figure('half load, p99.9', msOf(half.latency, 0.999), 'ms'),
      ],
      notes: [busyNote('half load', half), ...verdictNotes(...all)],
      faults: faultsOf(...all),
      plot: plotOf(open, closed),
    }
  },
}
