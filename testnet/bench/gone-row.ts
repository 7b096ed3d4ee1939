// A region that is gone while others write to it and among themselves: what the others notice, and how it catches up when
// it is back. On two cores it shares one with the load, so it and whoever writes to it come behind the process that
// measures, and the rate is a share of what all of them together reach while everybody is there: else the figures would
// say how long that process waits for its core.

import { systemClock } from '#protocol'
import type { Loader } from '../load/loader.ts'
import type { CaughtUp, Marked } from '../load/orders.ts'
import {
  busyNote,
  faultsOf,
  measure,
  measureDuring,
  median,
  msOf,
  type Stretch,
  stop,
  together,
  untilIdle,
  verdictNotes,
} from './measure.ts'
import { pairsAt } from './relay-rows.ts'
import { atMost, type Figure, figure, type Row, type RowOptions } from './row.ts'
import type { RelayServer, Stage } from './stage.ts'

const PAIRS = 25
const FLIGHT = 8
const WARM_UP_MS = 2_000
const GONE_SECONDS = 5
const GONE_SECONDS_FULL = 60
/** Of what closed loops reached, near and far at once: there is room then to catch up beside it. */
const SHARE = 0.25
const RUNS = 3
/** The heartbeat of links. */
const NOTICED_MS = 1_500
const LOOK_EVERY_MS = 20

type Run = {
  readonly before: Stretch
  readonly gone: Stretch
  readonly after: Stretch
  /** Those who wrote to the south, and their readers there. */
  readonly far: Pick<Stretch, 'faults'>
  /** From the ready line of the region that is back until the north has a link to it. */
  readonly noticedMs: number
  readonly sentMeanwhile: number
  /** From the ready line of the region that is back until its readers have everything. */
  readonly caughtUpMs: number
  readonly entries: number
}

type Field = {
  readonly stage: Stage
  readonly north: RelayServer
  readonly south: RelayServer
  /** `near`: within the north, measured. `far`: to the south. */
  readonly near: Loader
  readonly far: Loader
}

/** Messages a second of both directions together, each to the other device. */
async function capacityOf({ stage, north, near, far }: Field): Promise<number> {
  const loads = [
    { loader: near, group: 'near', pid: north.process.pid },
    { loader: far, group: 'probe', pid: undefined },
  ]
  for (const { loader, group } of loads) await loader.ask({ do: 'start', group, loop: 'closed', flight: FLIGHT })
  await stage.pause(WARM_UP_MS)
  const found = await Promise.all(loads.map((load) => measure(stage, load, 0, WARM_UP_MS)))
  for (const { loader, group } of loads) await loader.ask({ do: 'stop', group })
  return found.reduce((sum, { perSecond }) => sum + perSecond, 0)
}

/** How long it takes until the relay has a link to another one. */
async function untilLinked({ stage, north }: Field): Promise<number> {
  const from = systemClock.monotonic()
  for (;;) {
    const metrics = await (await fetch(`${north.origin}/metrics`)).text()
    if (/^parley_links_up [1-9]/m.test(metrics)) return systemClock.monotonic() - from
    await stage.pause(LOOK_EVERY_MS)
  }
}

async function once(field: Field, rate: number, goneMs: number): Promise<Run> {
  const { stage, north, south, near, far } = field
  const measured = { loader: near, group: 'near', pid: north.process.pid }
  const open = { do: 'start', loop: 'open', rate: rate / 2, precise: false } as const
  await near.ask({ ...open, group: 'near' })
  await far.ask({ ...open, group: 'far' })
  const before = await measure(stage, measured, WARM_UP_MS, goneMs)
  await far.ask({ do: 'readers-off', group: 'far' })
  await south.process.kill('SIGKILL')
  await far.ask<Marked>({ do: 'mark', group: 'far' })
  const gone = await measure(stage, measured, 0, goneMs)
  const meanwhile = await far.ask<Marked>({ do: 'mark', group: 'far' })
  await south.start()
  const from = systemClock.monotonic()
  const noticing = untilLinked(field)
  // It is asked for at the end, and whoever fails before that has a reason of their own.
  noticing.catch(() => undefined)
  await far.ask({ do: 'stop', group: 'far' })
  let entries = 0
  let caughtUpMs = Number.NaN
  const found = await measureDuring(measured, async () => {
    entries = (await far.ask<CaughtUp>({ do: 'readers-on', group: 'far' })).entries
    caughtUpMs = systemClock.monotonic() - from
  })
  const after = await stop(measured, found)
  const { faults } = await far.ask<Marked>({ do: 'mark', group: 'far' })
  const noticedMs = await noticing
  return { before, gone, after, far: { faults }, noticedMs, sentMeanwhile: meanwhile.done, caughtUpMs, entries }
}

const ratioOf = (pick: (run: Run) => Stretch) => (run: Run) =>
  msOf(pick(run).latency, 0.99) / msOf(run.before.latency, 0.99)

function figuresOf(runs: readonly Run[]): Figure[] {
  const of = (pick: (run: Run) => number): number => median(runs.map(pick))
  return [
    figure(
      'conversations of the north alone, p99 before',
      of((it) => msOf(it.before.latency, 0.99)),
      'ms',
    ),
    figure(
      'p99 while the south is gone',
      of((it) => msOf(it.gone.latency, 0.99)),
      'ms',
    ),
    figure('p99 while gone ÷ before', of(ratioOf((it) => it.gone)), '×', atMost(1.2)),
    figure('p99 while it catches up ÷ before', of(ratioOf((it) => it.after)), '×', atMost(1.2)),
    figure(
      'noticed after it was ready',
      of((it) => it.noticedMs),
      'ms',
      atMost(NOTICED_MS),
    ),
    figure(
      'messages sent to it while it was gone',
      of((it) => it.sentMeanwhile),
      'messages',
    ),
    figure('everything read after it was back', of((it) => it.caughtUpMs) / 1_000, 's'),
    figure(
      'caught up',
      of((it) => (it.entries * 1_000) / it.caughtUpMs),
      'messages/s',
    ),
  ]
}

export const goneRow: Row = {
  name: 'gone',
  title: 'a region that is gone while others go on writing to it',
  async run(stage, options: RowOptions) {
    const goneMs = (options.seconds ?? (options.full ? GONE_SECONDS_FULL : GONE_SECONDS)) * 1_000
    await using network = await stage.regions(['north', 'south'], { behind: true })
    const [north, south] = network.relays as [RelayServer, RelayServer]
    await using near = await stage.loader()
    await using far = await stage.loader({ behind: true })
    const field: Field = { stage, north, south, near, far }
    const pairs = options.pairs ?? PAIRS
    await near.ask(pairsAt(north.origin, 'near', pairs))
    const away = { readers: south.origin, host: 'author' } as const
    await far.ask(pairsAt(north.origin, 'far', pairs, { ...away, doneWhen: ['sequenced'] }))
    await far.ask(pairsAt(north.origin, 'probe', pairs, away))
    const capacity = await capacityOf(field)
    await far.ask({ do: 'leave', group: 'probe' })
    await untilIdle(stage, [north, south])
    const runs: Run[] = []
    for (let i = 1; i <= RUNS; i++) {
      stage.say(`  ${i} of ${RUNS}: south is gone for ${goneMs / 1_000} s`)
      runs.push(await once(field, SHARE * capacity, goneMs))
    }
    const all = (pick: (run: Run) => Stretch): Stretch => together(runs.map(pick))
    return {
      figures: figuresOf(runs),
      notes: [
        `medians of ${runs.length} runs; rate ${(SHARE * 100).toFixed(0)} % of the ${capacity.toFixed(0)}/s of closed loops with everybody there, half of it to the south`,
        `${network.placed}; the south and who writes to it behind who measures`,
        busyNote(
          'before',
          all((it) => it.before),
        ),
        busyNote(
          'gone',
          all((it) => it.gone),
        ),
        busyNote(
          'catching up',
          all((it) => it.after),
        ),
        ...verdictNotes(...runs.flatMap((it) => [it.before, it.gone, it.after])),
      ],
      faults: faultsOf(...runs.flatMap((it) => [it.before, it.gone, it.after, it.far])),
    }
  },
}
