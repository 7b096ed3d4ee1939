// Durable messages through one relay, beside a server that only passes frames on: the same load process, the same run, in
// turns, so that whatever else the machine does hits both.
import { FIRST_TEXT_BYTES, TEXT_BYTES } from '../load/limits.ts'
import type { PairsOrder } from '../load/orders.ts'
import {
  busyNote,
  faultsOf,
  type Measured,
  measure,
  msOf,
  type Stretch,
  stop,
  together,
  untilIdle,
  verdictNotes,
} from './measure.ts'
import { atLeast, atMost, figure, type Outcome, type Row, type RowOptions } from './row.ts'
import type { Stage } from './stage.ts'

const ROUNDS = 3
const WARM_UP_MS = 1_500
const SECONDS = 3

export function pairsAt(origin: string, group: string, pairs: number, more: Partial<PairsOrder> = {}): PairsOrder {
  return {
    do: 'pairs',
    group,
    authors: origin,
    readers: origin,
    pairs,
    bytes: TEXT_BYTES,
    doneWhen: ['sequenced', 'received'],
    host: 'any',
    readersOn: true,
    ...more,
  }
}

async function inTurns(stage: Stage, lanes: readonly Measured[], flight: number, seconds: number) {
  const found = lanes.map((): Stretch[] => [])
  for (let round = 1; round <= ROUNDS; round++) {
    for (const [i, lane] of lanes.entries()) {
      const { loader, group } = lane
      await loader.ask({ do: 'start', group, loop: 'closed', flight })
      const warmUpMs = round === 1 ? 2 * WARM_UP_MS : WARM_UP_MS
      const stretch = await stop(lane, await measure(stage, lane, warmUpMs, seconds * 1_000))
      found[i]!.push(stretch)
      const us = stretch.cpuUs.toFixed(1)
      stage.say(`  round ${round} of ${ROUNDS}, ${group}: ${stretch.perSecond.toFixed(0)}/s, ${us} µs CPU a message`)
    }
  }
  return found.map(together)
}

async function beside(stage: Stage, options: RowOptions): Promise<[Stretch, Stretch, Stretch]> {
  const pairs = options.pairs ?? 50
  await using relay = stage.relayElsewhere ? undefined : await stage.relay('relay')
  await using forwarder = await stage.forwarder()
  await using loader = await stage.loader()
  const origin = relay?.origin ?? stage.relayElsewhere!
  stage.say(`  registering and signing in ${4 * pairs} devices`)
  await loader.ask(pairsAt(origin, 'relay', pairs))
  await loader.ask(pairsAt(origin, 'first texts', pairs, { bytes: FIRST_TEXT_BYTES }))
  await loader.ask({ do: 'raw-pairs', group: 'forwarder', origin: forwarder.origin, pairs })
  await untilIdle(stage, [relay])
  const pid = relay?.process.pid
  const lanes: Measured[] = [
    { loader, group: 'relay', pid },
    { loader, group: 'forwarder', pid: forwarder.process.pid },
    { loader, group: 'first texts', pid },
  ]
  const [ours, theirs, first] = await inTurns(stage, lanes, options.flight ?? 8, options.seconds ?? SECONDS)
  return [ours!, theirs!, first!]
}

export const relayRow: Row = {
  name: 'relay',
  elsewhere: true,
  title: 'durable 1:1 messages through one relay, 50 pairs × 8 in flight',
  async run(stage, options): Promise<Outcome> {
    const [ours, theirs, first] = await beside(stage, options)
    return {
      figures: [
        figure('relay', ours.perSecond, 'messages/s'),
        figure('forwarder', theirs.perSecond, 'messages/s'),
        figure('relay ÷ forwarder', ours.perSecond / theirs.perSecond, '×', atLeast(0.9)),
        figure('CPU a message, relay', ours.cpuUs, 'µs', atMost(16)),
        figure('CPU a message, forwarder', theirs.cpuUs, 'µs'),
        figure('CPU a message, relay ÷ forwarder', ours.cpuUs / theirs.cpuUs, '×', atMost(16 / 11)),
        figure('before the first reply (2,054 bytes)', first.perSecond, 'messages/s'),
        figure('CPU a message, before the first reply', first.cpuUs, 'µs'),
        figure('p50 in the closed loop', msOf(ours.latency, 0.5), 'ms'),
        figure('p99 in the closed loop', msOf(ours.latency, 0.99), 'ms'),
      ],
      notes: [
        busyNote('relay', ours),
        busyNote('forwarder', theirs),
        busyNote('before the first reply', first),
        ...verdictNotes(ours, theirs, first),
      ],
      faults: faultsOf(ours, theirs, first),
    }
  },
}

export const wideRow: Row = {
  name: 'wide',
  elsewhere: true,
  title: 'durable 1:1 messages through one relay, 200 pairs × 16 in flight',
  async run(stage, options): Promise<Outcome> {
    const pairs = options.pairs ?? 200
    await using relay = stage.relayElsewhere ? undefined : await stage.relay('wide')
    await using loader = await stage.loader()
    stage.say(`  registering and signing in ${2 * pairs} devices`)
    await loader.ask(pairsAt(relay?.origin ?? stage.relayElsewhere!, 'wide', pairs))
    await untilIdle(stage, [relay])
    const lane = { loader, group: 'wide', pid: relay?.process.pid }
    const [found] = await inTurns(stage, [lane], options.flight ?? 16, options.seconds ?? SECONDS)
    return {
      figures: [
        figure('relay', found!.perSecond, 'messages/s', atLeast(90_000)),
        figure('CPU a message', found!.cpuUs, 'µs'),
        figure('p50 in the closed loop', msOf(found!.latency, 0.5), 'ms'),
        figure('p99 in the closed loop', msOf(found!.latency, 0.99), 'ms'),
      ],
      notes: [busyNote('relay', found!), ...verdictNotes(found!)],
      faults: faultsOf(found!),
    }
  },
}
