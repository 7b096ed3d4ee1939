// The client SDK with real libsignal and its encrypted database: one device sends, another one takes it all afterwards, so
// that each has a core to itself.
import { join } from 'node:path'
import { systemRandom } from '#protocol'
import type { SdkReceived } from '../load/orders.ts'
import { cpuMs } from './cpu.ts'
import { atLeast, figure, type Row } from './row.ts'

const COUNT = 5_000
const COUNT_FULL = 50_000

export const clientRow: Row = {
  name: 'client',
  title: 'client SDK with libsignal: one device sends, one receives, 256-byte texts',
  async run(stage, options) {
    const count = options.full ? COUNT_FULL : COUNT
    await using relay = await stage.relay('client')
    await using sender = await stage.loader()
    await using receiver = await stage.loader()
    const passphrase = Buffer.from(systemRandom.bytes(18)).toString('base64url')
    const create = (name: string) =>
      ({ do: 'sdk-create', profile: join(stage.dir, name), passphrase, home: relay.origin }) as const
    const [one, other] = [await sender.ask<string>(create('one')), await receiver.ask<string>(create('other'))]
    await sender.ask({ do: 'sdk-meet', user: other })
    await receiver.ask({ do: 'sdk-meet', user: one })
    // Both ways once: from then on messages carry no key exchange.
    await sender.ask({ do: 'sdk-send', user: other, count: 1 })
    await receiver.ask({ do: 'sdk-heard', count: 1 })
    await receiver.ask({ do: 'sdk-send', user: one, count: 1 })
    await sender.ask({ do: 'sdk-heard', count: 1 })
    await receiver.ask({ do: 'sdk-close' })
    stage.say(`  sending ${count}`)
    const before = await cpuMs(sender.pid)
    const sentMs = await sender.ask<number>({ do: 'sdk-send', user: other, count })
    const sendingCpu = (await cpuMs(sender.pid)) - before
    await sender.ask({ do: 'sdk-close' })
    stage.say(`  receiving ${count}`)
    const receiverBefore = await cpuMs(receiver.pid)
    const got = await receiver.ask<SdkReceived>({ do: 'sdk-receive', passphrase, count })
    const receivingCpu = (await cpuMs(receiver.pid)) - receiverBefore
    await receiver.ask({ do: 'sdk-close' })
    return {
      figures: [
        figure('sends, until they have their numbers', (count * 1_000) / sentMs, 'sends/s', atLeast(5_000)),
        figure('CPU a send, client', (sendingCpu * 1_000) / count, 'µs'),
        figure('receives', ((got.received - 1) * 1_000) / got.elapsedMs, 'receives/s', atLeast(5_000)),
        figure('CPU a receive, client', (receivingCpu * 1_000) / count, 'µs'),
        figure('from connecting to the first of them', got.firstMs, 'ms'),
      ],
      notes: [`${count} messages; all of them are with the receiver, in order, when it is done`],
    }
  },
}
