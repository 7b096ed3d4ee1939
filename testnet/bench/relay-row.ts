// Durable messages through one relay, beside a server that only passes frames on: the same load process, the same run, in
// turns, so that whatever else the machine does hits both.
import { FIRST_TEXT_BYTES, TEXT_BYTES } from '../load/limits.ts'
import type { Loader } from '../load/loader.ts'
import { measure, type Stretch, together } from './measure.ts'
import type { Figure, Outcome, Row, RowOptions } from './row.ts'
import type { Stage } from './stage.ts'

const ROUNDS = 3
const WARM_UP_MS = 1_500
const SECONDS = 3

const ms = (us: number): number => us / 1_000
const percent = (share: number): string => `${(share * 100).toFixed(0)} %`

type Lane = {
  readonly name: string
  readonly loader: Loader
  readonly pid: number | undefined
  readonly found: Stretch[]
}

async function inTurns(stage: Stage, lanes: readonly Lane[], flight: number, seconds: number): Promise<void> {
  for (let round = 1; round <= ROUNDS; round++) {
    for (const { name, loader, pid, found } of lanes) {
      await loader.ask({ do: 'start', loop: 'closed', flight })
      const stretch = await measure(stage, loader, pid, round === 1 ? 2 * WARM_UP_MS : WARM_UP_MS, seconds * 1_000)
      await loader.ask({ do: 'stop' })
      found.push(stretch)
      const us = stretch.cpuUs.toFixed(1)
      stage.say(`  round ${round} of ${ROUNDS}, ${name}: ${stretch.perSecond.toFixed(0)}/s, ${us} µs CPU a message`)
    }
  }
}

function notesOf(relay: Stretch, raw: Stretch): string[] {
  const busy = ({ serverBusy, loadBusy }: Stretch): string => `server ${percent(serverBusy)}, load ${percent(loadBusy)}`
  const verdicts = Object.entries(relay.verdicts).map(([field, count]) => `${count} verdicts of field ${field}`)
  return [
    `cores busy: relay run: ${busy(relay)}; forwarder run: ${busy(raw)}`,
    ...verdicts,
    ...[...relay.faults, ...raw.faults].map((fault) => `FAULT: ${fault}`),
  ]
}

const figure = (name: string, value: number, unit: string, target?: Figure['target']): Figure => ({
  name,
  value,
  unit,
  target,
})

async function compare(stage: Stage, options: RowOptions, pairs: number, flight: number) {
  await using relay = stage.relayElsewhere ? undefined : await stage.relay(`relay-${pairs}x${flight}`)
  await using forwarder = await stage.forwarder()
  await using relayLoad = await stage.loader()
  await using firstLoad = await stage.loader()
  await using rawLoad = await stage.loader()
  const origin = relay?.origin ?? stage.relayElsewhere!
  stage.say(`  registering and signing in ${4 * pairs} devices`)
  await relayLoad.ask({ do: 'pairs', authors: origin, readers: origin, pairs, bytes: TEXT_BYTES })
  await firstLoad.ask({ do: 'pairs', authors: origin, readers: origin, pairs, bytes: FIRST_TEXT_BYTES })
  await rawLoad.ask({ do: 'raw-pairs', origin: forwarder.origin, pairs })
  const lanes: Lane[] = [
    { name: 'relay', loader: relayLoad, pid: relay?.process.pid, found: [] },
    { name: 'forwarder', loader: rawLoad, pid: forwarder.process.pid, found: [] },
    { name: 'first texts', loader: firstLoad, pid: relay?.process.pid, found: [] },
  ]
  await inTurns(stage, lanes, flight, options.seconds ?? SECONDS)
  const [ours, theirs, first] = lanes.map(({ found }) => together(found)) as [Stretch, Stretch, Stretch]
  return { ours, theirs, first }
}

export const relayRow: Row = {
  name: 'relay',
  title: 'durable 1:1 messages through one relay, 50 pairs × 8 in flight',
  async run(stage, options): Promise<Outcome> {
    const { ours, theirs, first } = await compare(stage, options, options.pairs ?? 50, options.flight ?? 8)
    return {
      figures: [
        figure('relay', ours.perSecond, 'messages/s'),
        figure('forwarder', theirs.perSecond, 'messages/s'),
        figure('relay ÷ forwarder', ours.perSecond / theirs.perSecond, '×', { is: 'at least', value: 0.9 }),
        figure('CPU a message, relay', ours.cpuUs, 'µs', { is: 'at most', value: 16 }),
        figure('CPU a message, forwarder', theirs.cpuUs, 'µs'),
        figure('relay, texts before the first reply (2,054 bytes)', first.perSecond, 'messages/s'),
        figure('CPU a message, texts before the first reply', first.cpuUs, 'µs'),
        figure('p50', ms(ours.latency.percentile(0.5)), 'ms'),
        figure('p99', ms(ours.latency.percentile(0.99)), 'ms'),
      ],
      notes: notesOf(ours, theirs),
    }
  },
}
