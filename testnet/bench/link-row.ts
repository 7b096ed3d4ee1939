// The link between two relays: authors in the north, whose home hosts, write to people of the south who are away. A message
// is done when its author hears `safe`: the south has it, durably.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { TEXT_BYTES } from '../load/limits.ts'
import { cpuMs } from './cpu.ts'
import { busyNote, faultsOf, measure, msOf, stop, untilIdle, verdictNotes } from './measure.ts'
import { pairsAt } from './relay-rows.ts'
import { atLeast, atMost, figure, type Row } from './row.ts'
import type { RelayServer } from './stage.ts'

const PAIRS = 50
const FLIGHT = 64
const WARM_UP_MS = 2_000
const SECONDS = 5

/** Bytes that sockets at these local ports have sent so far, both ends counted once; undefined without `ss`. */
async function bytesBetween(ports: readonly number[]): Promise<number | undefined> {
  const filter = ports.map((port) => `sport = :${port}`).join(' or ')
  const said = await promisify(execFile)('ss', ['-tinH', `( ${filter} )`]).catch(() => undefined)
  if (!said) return undefined
  const sum = (name: string): number =>
    [...said.stdout.matchAll(new RegExp(`${name}:(\\d+)`, 'g'))].reduce((total, it) => total + Number(it[1]), 0)
  return sum('bytes_sent') + sum('bytes_received')
}

export const linkRow: Row = {
  name: 'link',
  title: "link between two relays, the receiver's commit included",
  async run(stage, options) {
    await using network = await stage.regions(['north', 'south'])
    const [north, south] = network.relays as [RelayServer, RelayServer]
    await using loader = await stage.loader()
    const group = 'link'
    const pairs = options.pairs ?? PAIRS
    stage.say(`  registering ${2 * pairs} people`)
    const away = { readers: south.origin, readersOn: false, host: 'author', doneWhen: ['safe'] } as const
    await loader.ask(pairsAt(north.origin, group, pairs, away))
    const ports = [north.meshPort, south.meshPort]
    await untilIdle(stage, [north, south])
    await loader.ask({ do: 'start', group, loop: 'closed', flight: options.flight ?? FLIGHT })
    await stage.pause(WARM_UP_MS)
    const [pid, other] = [north.process.pid, south.process.pid!]
    const [bytesBefore, otherBefore] = [await bytesBetween(ports), await cpuMs(other)]
    const it = { loader, group, pid }
    const measured = await measure(stage, it, 0, (options.seconds ?? SECONDS) * 1_000)
    const [bytesAfter, otherAfter] = [await bytesBetween(ports), await cpuMs(other)]
    const found = await stop(it, measured)
    const receiverUs = ((otherAfter - otherBefore) * 1_000) / found.done
    const bytes = bytesBefore === undefined || bytesAfter === undefined ? undefined : bytesAfter - bytesBefore
    return {
      figures: [
        figure('messages over the link', found.perSecond, 'messages/s', atLeast(60_000)),
        ...(bytes === undefined
          ? []
          : [figure('bytes a message beyond its ciphertext', bytes / found.done - TEXT_BYTES, 'bytes', atMost(72))]),
        figure('CPU a message, sending relay (with its clients)', found.cpuUs, 'µs'),
        figure('CPU a message, receiving relay', receiverUs, 'µs'),
        figure('what a receiver with a core of its own could take', 1_000_000 / receiverUs, 'messages/s'),
        figure('p50 until safe, closed loop', msOf(found.latency, 0.5), 'ms'),
      ],
      notes: [
        network.placed,
        busyNote('north', found),
        'bytes: both ways, acknowledgements, encryption and multiplexing included; TCP and IP headers are not',
        ...(bytes === undefined ? ['no figure for bytes: there is no `ss` on this machine'] : []),
        ...verdictNotes(found),
      ],
      faults: faultsOf(found),
    }
  },
}
