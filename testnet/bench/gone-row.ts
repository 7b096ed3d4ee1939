// A region that is gone while others write to it and among themselves at full pace: what the others notice, and how it
// catches up when it is back.

import { systemClock } from '#protocol'
import type { Loader } from '../load/loader.ts'
import type { CaughtUp, Marked } from '../load/orders.ts'
import { measure, measureDuring, median, msOf, type Stretch, troubleNotes } from './measure.ts'
import { pairsAt } from './relay-rows.ts'
import { atMost, figure, type Row, type RowOptions } from './row.ts'
import type { RelayServer, Stage } from './stage.ts'

const PAIRS = 25
const FLIGHT = 8
const WARM_UP_MS = 2_000
const GONE_SECONDS = 10
const GONE_SECONDS_FULL = 60
/** Of what a closed loop reached: both groups together then leave the relay room to breathe. */
const SHARE = 0.5
const RUNS_FULL = 3

type Run = {
  readonly before: Stretch
  readonly gone: Stretch
  readonly after: Stretch
  readonly sentMeanwhile: number
  /** From the ready line of the region that is back until its readers have everything. */
  readonly caughtUpMs: number
  readonly entries: number
}

async function capacityOf(stage: Stage, loader: Loader, pid: number | undefined): Promise<number> {
  await loader.ask({ do: 'start', group: 'near', loop: 'closed', flight: FLIGHT })
  const found = await measure(stage, { loader, group: 'near', pid }, WARM_UP_MS, WARM_UP_MS)
  await loader.ask({ do: 'stop', group: 'near' })
  return found.perSecond
}

async function once(stage: Stage, loader: Loader, relays: readonly RelayServer[], rate: number, goneMs: number) {
  const [north, south] = relays as [RelayServer, RelayServer]
  const near = { loader, group: 'near', pid: north.process.pid }
  const startBoth = async (): Promise<void> => {
    await loader.ask({ do: 'start', group: 'near', loop: 'open', rate: rate / 2, precise: false })
    await loader.ask({ do: 'start', group: 'far', loop: 'open', rate: rate / 2, precise: false })
  }
  await startBoth()
  const before = await measure(stage, near, WARM_UP_MS, goneMs / 2)
  await loader.ask({ do: 'readers-off', group: 'far' })
  await south.process.kill('SIGKILL')
  await loader.ask<Marked>({ do: 'mark', group: 'far' })
  const gone = await measure(stage, near, 0, goneMs)
  const meanwhile = await loader.ask<Marked>({ do: 'mark', group: 'far' })
  await south.start()
  const from = systemClock.monotonic()
  await loader.ask({ do: 'stop', group: 'far' })
  let caught: CaughtUp | undefined
  const after = await measureDuring(near, async () => {
    caught = await loader.ask<CaughtUp>({ do: 'readers-on', group: 'far' })
  })
  await loader.ask({ do: 'stop', group: 'near' })
  const run: Run = {
    before,
    gone,
    after,
    sentMeanwhile: meanwhile.done,
    caughtUpMs: systemClock.monotonic() - from,
    entries: caught!.entries,
  }
  return run
}

const ratioOf = (pick: (run: Run) => Stretch) => (run: Run) =>
  msOf(pick(run).latency, 0.99) / msOf(run.before.latency, 0.99)

export const goneRow: Row = {
  name: 'gone',
  title: 'a region that is gone while others go on writing to it',
  async run(stage, options: RowOptions) {
    const goneMs = (options.seconds ?? (options.full ? GONE_SECONDS_FULL : GONE_SECONDS)) * 1_000
    await using network = await stage.regions(['north', 'south'])
    const [north, south] = network.relays as [RelayServer, RelayServer]
    await using loader = await stage.loader()
    const pairs = options.pairs ?? PAIRS
    await loader.ask(pairsAt(north.origin, 'near', pairs))
    const far = { readers: south.origin, host: 'author', doneWhen: ['sequenced'] } as const
    await loader.ask(pairsAt(north.origin, 'far', pairs, far))
    const capacity = await capacityOf(stage, loader, north.process.pid)
    const runs: Run[] = []
    for (let i = 0; i < (options.full ? RUNS_FULL : 1); i++) {
      stage.say(`  south is gone for ${goneMs / 1_000} s`)
      runs.push(await once(stage, loader, network.relays, SHARE * capacity, goneMs))
    }
    const of = (pick: (run: Run) => number): number => median(runs.map(pick))
    return {
      figures: [
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
      ],
      notes: [
        `${runs.length} run(s); rate ${(SHARE * 100).toFixed(0)} % of a closed loop's ${capacity.toFixed(0)}/s, half of it to the south`,
        network.placed,
        ...troubleNotes(...runs.flatMap((it) => [it.before, it.gone, it.after])),
      ],
    }
  },
}
