// Readers that are not there: messages that are stored and taken later, by many devices or by one that is far behind.
import { Histogram } from '../load/histogram.ts'
import type { CaughtUp, Marked } from '../load/orders.ts'
import { cpuMs } from './cpu.ts'
import { msOf, untilIdle } from './measure.ts'
import { pairsAt } from './relay-rows.ts'
import { atLeast, atMost, figure, type Row } from './row.ts'

const EACH = 1_000
const EACH_FULL = 10_000
/** Stored before anything is counted: a process that has just started compiles what it does. */
const WARM_UP_EACH = 1_000
const BEHIND = 100_000
/** What one device has in flight while the row is being prepared. */
const FLIGHT_OF_ONE = 256

export const offlineRow: Row = {
  name: 'offline',
  title: 'the same with every reader away: stored, taken later',
  async run(stage, options) {
    const [pairs, each] = [options.pairs ?? 50, options.full ? EACH_FULL : EACH]
    await using relay = await stage.relay('offline')
    await using loader = await stage.loader()
    const pid = relay.process.pid!
    const group = 'offline'
    stage.say(`  registering ${2 * pairs} people; authors sign in`)
    await loader.ask(pairsAt(relay.origin, group, pairs, { readersOn: false, doneWhen: ['sequenced'] }))
    await untilIdle(stage, [relay])
    const flight = options.flight ?? 8
    await loader.ask({ do: 'send', group, each: WARM_UP_EACH, flight })
    await loader.ask<Marked>({ do: 'mark', group })
    const before = await cpuMs(pid)
    stage.say(`  storing ${pairs * each} messages`)
    await loader.ask({ do: 'send', group, each, flight })
    const stored = await cpuMs(pid)
    const sent = await loader.ask<Marked>({ do: 'mark', group })
    stage.say('  readers come and take them')
    const drained = await loader.ask<CaughtUp>({ do: 'readers-on', group })
    const after = await cpuMs(pid)
    const end = await loader.ask<Marked>({ do: 'mark', group })
    const store = ((stored - before) * 1_000) / sent.done
    const take = ((after - stored) * 1_000) / drained.entries
    return {
      figures: [
        figure('CPU a message, stored and taken', store + take, 'µs', atMost(40)),
        figure('of it until it was stored', store, 'µs'),
        figure('stored', (sent.done * 1_000) / sent.elapsedMs, 'messages/s'),
        figure('taken', (drained.entries * 1_000) / drained.elapsedMs, 'messages/s'),
      ],
      notes: [`${sent.done} stored, ${drained.entries} taken in ${drained.pages} pages; ${pairs} sign-ins are in it`],
      faults: end.faults,
    }
  },
}

export const behindRow: Row = {
  name: 'behind',
  title: `a device that is ${BEHIND.toLocaleString('en')} messages behind`,
  async run(stage, options) {
    await using relay = await stage.relay('behind')
    await using loader = await stage.loader()
    const group = 'behind'
    await loader.ask(pairsAt(relay.origin, group, 1, { readersOn: false, doneWhen: ['sequenced'] }))
    stage.say(`  storing ${BEHIND} messages in one conversation`)
    await loader.ask({ do: 'send', group, each: BEHIND, flight: options.flight ?? FLIGHT_OF_ONE })
    stage.say('  the reader comes')
    const before = await cpuMs(relay.process.pid!)
    const found = await loader.ask<CaughtUp>({ do: 'readers-on', group })
    const after = await cpuMs(relay.process.pid!)
    const end = await loader.ask<Marked>({ do: 'mark', group })
    return {
      figures: [
        figure('first page', msOf(new Histogram().add(found.firstPage), 1), 'ms', atMost(20)),
        figure('taken', (found.entries * 1_000) / found.elapsedMs, 'messages/s', atLeast(50_000)),
        figure('CPU a message', ((after - before) * 1_000) / found.entries, 'µs'),
      ],
      notes: [`${found.entries} messages in ${found.pages} pages; sign-in is in the rate`],
      faults: end.faults,
    }
  },
}
