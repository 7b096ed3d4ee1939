// The generator against a real relay: what it counts is what the relay says of itself, and nothing is missing anywhere.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock, systemRandom } from '#protocol'
import { initRelay, loadConfig, startRelay } from '#relay'
import { reservePort } from '../ports.ts'
import { Fleet } from './fleet.ts'
import type { CaughtUp, Marked, PairsOrder } from './orders.ts'
import { makeParleyPair } from './parley-pair.ts'
import { targetAt } from './person.ts'
import { Tally } from './tally.ts'

const PAIRS = 4
const FLIGHT = 8

async function startOne() {
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'parley-load-'))
  stack.defer(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }))
  const [client, mesh] = [stack.use(await reservePort(systemRandom)), stack.use(await reservePort(systemRandom))]
  const dataDir = join(dir, 'data')
  const listen = { listen: `127.0.0.1:${client.port}`, meshListen: `127.0.0.1:${mesh.port}` }
  const made = { dataDir, name: 'north', rootKeyFile: join(dir, 'root.key'), clientUrls: [], bootstrap: [], ...listen }
  await initRelay(made, systemClock, systemRandom)
  const relay = stack.use(await startRelay(await loadConfig(dataDir, { PARLEY_LOG_LEVEL: 'silent' }, new Map())))
  const owned = stack.move()
  return { origin: relay.clientUrls[0]!, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

async function metric(origin: string, name: string): Promise<number> {
  const text = await (await fetch(`${origin}/metrics`)).text()
  return Number(new RegExp(`^parley_${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
}

const order = (origin: string, group: string, more: Partial<PairsOrder> = {}): PairsOrder => ({
  do: 'pairs',
  group,
  authors: origin,
  readers: origin,
  pairs: PAIRS,
  bytes: 362,
  doneWhen: ['sequenced', 'received'],
  host: 'any',
  readersOn: true,
  ...more,
})

const halfASecond = (): Promise<void> => new Promise((resolve) => void systemClock.after(500, resolve))

test('an author that left a gap is told so and fills it', async () => {
  await using relay = await startOne()
  const tally = new Tally()
  const home = await targetAt(relay.origin)
  const { pair, lane, author, reader } = await makeParleyPair(
    { authors: home, readers: home },
    order(relay.origin, 'gap'),
    tally,
  )
  await Promise.all([author.connect(), reader.connect()])
  let lost = false
  const leaky = {
    ...lane,
    submit(from: number, to: number): void {
      // The first two never leave.
      lane.submit(from === 1 && !lost ? from + 2 : from, to)
      lost = true
    },
  }
  await pair.send(leaky, 8, 8)
  const { done, received, faults, verdicts } = tally.mark()
  assert.deepEqual([done, received, faults], [8, 8, []])
  assert.ok((verdicts['7'] ?? 0) > 0, 'it was told where to go on')
  author.disconnect()
  reader.disconnect()
})

test('what was counted is what the relay counted', async () => {
  await using relay = await startOne()
  const fleet = new Fleet()
  const group = 'live'
  await fleet.obey(order(relay.origin, group))
  await fleet.obey({ do: 'start', group, loop: 'closed', flight: FLIGHT })
  await halfASecond()
  await fleet.obey({ do: 'stop', group })
  const closed = (await fleet.obey({ do: 'mark', group })) as Marked
  await fleet.obey({ do: 'start', group, loop: 'open', rate: 200, precise: false })
  await halfASecond()
  await fleet.obey({ do: 'stop', group })
  const open = (await fleet.obey({ do: 'mark', group })) as Marked
  assert.ok(closed.done > PAIRS * FLIGHT, `${closed.done} messages`)
  assert.ok(open.done > 0)
  const done = closed.done + open.done
  assert.equal(closed.received + open.received, done)
  assert.equal(await metric(relay.origin, 'sequenced_total'), done)
  assert.equal(await metric(relay.origin, 'submissions_total'), done)
  assert.deepEqual([...closed.faults, ...open.faults, closed.verdicts, open.verdicts], [{}, {}])
  assert.equal(
    closed.latency.reduce((sum, [, count]) => sum + count, 0),
    closed.done,
  )

  const away = 'away'
  await fleet.obey(order(relay.origin, away, { readersOn: false, doneWhen: ['sequenced'], bytes: 2_054 }))
  // More than a frame holds are due at once.
  await fleet.obey({ do: 'send', group: away, each: 600, flight: 600 })
  const sent = (await fleet.obey({ do: 'mark', group: away })) as Marked
  assert.deepEqual([sent.done, sent.received], [600 * PAIRS, 0])
  const caughtUp = (await fleet.obey({ do: 'readers-on', group: away })) as CaughtUp
  const end = (await fleet.obey({ do: 'mark', group: away })) as Marked
  assert.deepEqual([caughtUp.entries, end.faults], [600 * PAIRS, []])
  assert.equal(await metric(relay.origin, 'sequenced_total'), done + 600 * PAIRS)
  await fleet.obey({ do: 'close' })
})
