// Attacks by people who have accounts: readers that stall, and a device that floods.
import { systemRandom } from '#protocol'
import { LoadDevice } from '../load/device.ts'
import { type Person, registerPerson, targetAt } from '../load/person.ts'
import { signIn } from '../load/session.ts'
import { type Attack, over, pause } from './attack.ts'

const BODY_BYTES = 362
const FLIGHT = 64
/** Enough that the relay always has something to read. */
const FLOOD_BACKLOG_BYTES = 4 * 1024 * 1024
const nothing = (): void => undefined

function author(
  me: Person,
  other: Person,
  on: { sequenced?: (k: number) => void; verdict?: (field: number) => void; lost?: () => void },
): LoadDevice {
  return new LoadDevice(me, other, systemRandom.bytes(BODY_BYTES), {
    sequenced: on.sequenced ?? nothing,
    received: nothing,
    frameDone: nothing,
    verdict: on.verdict ?? nothing,
    safe: nothing,
    page: nothing,
    fault: nothing,
    lost: on.lost ?? nothing,
  })
}

/** Readers that are signed in and never read what is pushed to them. */
export const stalledReaders: Attack = {
  id: 'stalled-readers',
  title: '100 readers that read nothing, 10,000 messages for each',
  p99Factor: 1.5,
  honest: 'within',
  async prepare({ north, full }) {
    const readers = full ? 100 : 40
    const target = await targetAt(north.origin)
    const pairs = await Promise.all(
      Array.from({ length: readers }, async () => {
        const [writes, reads] = await Promise.all([registerPerson(target), registerPerson(target)])
        const reader = author(reads, writes, {})
        await reader.connect()
        const stalled = await signIn(reads, { opened: nothing, message: nothing, closed: nothing })
        stalled.stall()
        return { writes, reads, stalled }
      }),
    )
    let [sent, over] = [0, false]
    const devices = pairs.map(({ writes, reads }) => {
      let [next, acknowledged] = [1, 0]
      const more = (): void => {
        const to = Math.min(acknowledged + FLIGHT, 10_000)
        if (over || to < next) return
        device.submit(next, to)
        sent += to - next + 1
        next = to + 1
      }
      const device = author(writes, reads, {
        sequenced: (k) => {
          acknowledged = Math.max(acknowledged, k)
          more()
        },
      })
      return { device, more }
    })
    for (const { device } of devices) await device.connect()
    return async (stopped) => {
      for (const { more } of devices) more()
      await stopped.promise
      over = true
      for (const { device } of devices) device.disconnect()
      for (const { stalled } of pairs) stalled.destroy()
      return { did: `${sent} messages for ${readers} readers`, times: sent }
    }
  },
}

/** Says far more than it may have in flight, and comes back when it is thrown out. */
export const floodingDevice: Attack = {
  id: 'flooding-device',
  title: 'a device that sends as fast as it can, whatever it is told',
  p99Factor: 1.5,
  honest: 'within',
  async prepare({ north }) {
    const target = await targetAt(north.origin)
    const [me, other] = await Promise.all([registerPerson(target), registerPerson(target)])
    return async (stopped) => {
      let [sent, lost] = [0, 0]
      const verdicts = new Map<number, number>()
      let k = 1
      await over(stopped, 1, async () => {
        let open = true
        const device = author(me, other, {
          verdict: (field) => void verdicts.set(field, (verdicts.get(field) ?? 0) + 1),
          lost: () => {
            open = false
            lost++
          },
        })
        await device.connect().catch(() => {
          open = false
        })
        while (open && !stopped.now()) {
          // What its own socket does not take yet reaches nobody, and would only fill this machine's memory.
          for (; device.backlog() < FLOOD_BACKLOG_BYTES; sent += 256) {
            device.submit(k, k + 255)
            k += 256
          }
          await new Promise(setImmediate)
        }
        device.disconnect()
        await pause(50)
      })
      const said = [...verdicts].map(([field, count]) => `${count} × ${VERDICTS[field] ?? field}`).join(', ')
      return { did: `${sent} submissions, thrown out ${lost} times; told ${said || 'nothing'}`, times: sent }
    }
  },
}

const VERDICTS: Readonly<Record<number, string>> = {
  5: 'held',
  6: 'past',
  7: 'behind',
  9: 'wait',
  10: 'stale',
  11: 'final',
}
