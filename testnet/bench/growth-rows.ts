// Whether it matters how much a relay keeps: the cost of a message, and how long a restart takes.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { systemClock } from '#protocol'
import type { Loader } from '../load/loader.ts'
import { faultsOf, type Measured, measure, type Stretch, stop, together, untilIdle, verdictNotes } from './measure.ts'
import { pairsAt } from './relay-rows.ts'
import { atMost, figure, type Row, type RowOptions } from './row.ts'
import type { RelayServer, Stage } from './stage.ts'

const STOCKER = join(import.meta.dirname, 'stocker.ts')

type Size = { readonly accounts: number; readonly messages: number }
const SMALL: Size = { accounts: 500, messages: 10_000 }
const LARGE: Size = { accounts: 3_000, messages: 200_000 }
const LARGE_FULL: Size = { accounts: 300_000, messages: 3_000_000 }
const RESTART_FULL = 1_000_000

const PAIRS = 50
const FLIGHT = 8
const ROUNDS = 2
const WARM_UP_MS = 2_000
const SECONDS = 3
const KILLED_AFTER_MS = 3_000

const text = ({ accounts, messages }: Size): string =>
  `${messages.toLocaleString('en')} messages, ${accounts.toLocaleString('en')} accounts`

/** In a process that ends with this one, by the channel between the two. */
async function fill(stage: Stage, data: string, { accounts, messages }: Size): Promise<void> {
  const child = fork(STOCKER, [data, `${accounts}`, `${messages}`], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  const said: string[] = []
  createInterface(child.stderr!).on('line', (line) => {
    said.push(line)
    stage.say(`    ${line}`)
  })
  const [code, signal] = await once(child, 'close')
  if (code !== 0) throw new Error(`a store could not be filled (${signal ?? `code ${code}`}): ${said.join(' | ')}`)
}

/** A relay whose store has been filled before it starts. */
async function stocked(stage: Stage, name: string, size: Size): Promise<RelayServer> {
  const before = async (data: string): Promise<void> => {
    stage.say(`  stocking ${text(size)}`)
    await fill(stage, data, size)
  }
  return stage.relay(name, { before })
}

async function inTurns(stage: Stage, lanes: readonly Measured[], options: RowOptions): Promise<Stretch[]> {
  const found = lanes.map((): Stretch[] => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, lane] of lanes.entries()) {
      const { loader, group } = lane
      await loader.ask({ do: 'start', group, loop: 'closed', flight: options.flight ?? FLIGHT })
      const stretch = await measure(stage, lane, WARM_UP_MS, (options.seconds ?? SECONDS) * 1_000)
      found[i]!.push(await stop(lane, stretch))
      stage.say(`  ${group}: ${found[i]!.at(-1)!.cpuUs.toFixed(1)} µs CPU a message`)
    }
  }
  return found.map(together)
}

export const growthRow: Row = {
  name: 'growth',
  title: 'cost of a message with little and with much in the store',
  async run(stage, options) {
    const size = options.full ? LARGE_FULL : LARGE
    await using small = await stocked(stage, 'small', SMALL)
    await using large = await stocked(stage, 'large', size)
    await using loader = await stage.loader()
    const lanes: Measured[] = []
    for (const [group, relay] of [
      ['small', small],
      ['large', large],
    ] as const) {
      await loader.ask(pairsAt(relay.origin, group, options.pairs ?? PAIRS))
      lanes.push({ loader, group, pid: relay.process.pid })
    }
    await untilIdle(stage, [small, large])
    const [little, much] = (await inTurns(stage, lanes, options)) as [Stretch, Stretch]
    return {
      figures: [
        figure(`CPU a message: ${text(SMALL)}`, little.cpuUs, 'µs'),
        figure(`CPU a message: ${text(size)}`, much.cpuUs, 'µs'),
        figure('CPU a message, large ÷ small', much.cpuUs / little.cpuUs, '×', atMost(1.25)),
        figure('messages/s, small ÷ large', little.perSecond / much.perSecond, '×', atMost(1.25)),
      ],
      notes: verdictNotes(little, much),
      faults: faultsOf(little, much),
    }
  },
}

/** Kills the relay under load; from the new process to the first acknowledgement, ms. */
async function restart(stage: Stage, relay: RelayServer, loader: Loader, options: RowOptions) {
  await loader.ask(pairsAt(relay.origin, 'first', 1, { readersOn: false, doneWhen: ['sequenced'] }))
  await loader.ask({ do: 'leave', group: 'first' })
  await loader.ask(pairsAt(relay.origin, 'load', options.pairs ?? PAIRS))
  await loader.ask({ do: 'start', group: 'load', loop: 'closed', flight: options.flight ?? FLIGHT })
  await stage.pause(KILLED_AFTER_MS)
  await relay.process.kill('SIGKILL')
  const from = systemClock.monotonic()
  const answered = loader.ask({ do: 'first-answer', group: 'first' }).then(() => systemClock.monotonic() - from)
  // If the relay does not start, that is what there is to tell.
  answered.catch(() => undefined)
  await relay.start()
  const readyMs = systemClock.monotonic() - from
  return { readyMs, answeredMs: await answered }
}

export const restartRow: Row = {
  name: 'restart',
  title: 'restart after a kill under load, until the first acknowledgement',
  async run(stage, options) {
    const messages = options.full ? RESTART_FULL : LARGE.messages
    const size = { accounts: LARGE.accounts, messages }
    await using relay = await stocked(stage, 'restart', size)
    await using loader = await stage.loader()
    const { readyMs, answeredMs } = await restart(stage, relay, loader, options)
    return {
      figures: [
        figure(`first acknowledgement: ${text(size)}`, answeredMs / 1_000, 's', atMost(2)),
        figure('ready line', readyMs / 1_000, 's'),
      ],
      notes: [
        'from the start of the process, with what Node takes to load the program; the client dials every 5 ms and signs in',
        ...(options.full ? [] : ['1,000,000 messages with --full']),
      ],
      // Everybody's sessions are lost when it is killed, which they tell.
      faults: [],
    }
  },
}
