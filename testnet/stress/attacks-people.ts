// Attacks by people who have accounts: readers that stall, and a device that floods.
import { systemClock, systemRandom, type Timer } from '#protocol'
import { LoadDevice } from '../load/device.ts'
import { type Person, registerPerson, targetAt } from '../load/person.ts'
import { type Attack, over, pause, people } from './attack.ts'

const BODY_BYTES = 362
/** For each reader that stalls; in all about half of what a relay can take on the machine that each is for. */
const UNREAD_PER_SECOND = 250
const UNREAD_PER_SECOND_FULL = 500
const OPEN_LOOP_MS = 20
/** Enough that the relay always has something to read. */
const FLOOD_BACKLOG_BYTES = 4 * 1024 * 1024
const nothing = (): void => undefined

type Tells = ConstructorParameters<typeof LoadDevice>[3]

const device = (me: Person, other: Person, on: Partial<Tells>): LoadDevice =>
  new LoadDevice(me, other, systemRandom.bytes(BODY_BYTES), {
    sequenced: nothing,
    received: nothing,
    frameDone: nothing,
    verdict: nothing,
    safe: nothing,
    page: nothing,
    fault: nothing,
    lost: nothing,
    ...on,
  })

/** Sessions that are open and not read. They are written to all the time: what is compared is the same load. */
export const stalledReaders: Attack = {
  id: 'stalled-readers',
  title: '100 readers that read nothing any more, 10,000 messages for each in 20 s',
  p99Factor: 1.5,
  honest: 'within',
  loaded: true,
  async prepare({ north, full }) {
    const count = full ? 100 : 40
    const everybody = await people(north.origin, 2 * count)
    const authors: LoadDevice[] = []
    const readers: LoadDevice[] = []
    // By author: what is said on a session that is lost reaches nobody.
    const numbered: number[] = []
    const inAll = (): number => numbered.reduce((sum, k) => sum + k, 0)
    for (let i = 0; i < everybody.length; i += 2) {
      const [writes, reads] = [everybody[i]!, everybody[i + 1]!]
      const reader: LoadDevice = device(reads, writes, { frameDone: () => reader.acknowledge() })
      await reader.connect()
      readers.push(reader)
      const at = authors.length
      numbered[at] = 0
      const author = device(writes, reads, {
        sequenced: (k) => {
          numbered[at] = k
        },
      })
      await author.connect()
      authors.push(author)
    }
    const pace = openLoop(full ? UNREAD_PER_SECOND_FULL : UNREAD_PER_SECOND, (from, to) => {
      for (const author of authors) author.submit(from, to)
    })
    return async (stopped) => {
      const [before, numberedBefore] = [pace.said(), inAll()]
      for (const reader of readers) reader.stall()
      await stopped.promise
      pace.stop()
      for (const author of authors) author.disconnect()
      for (const reader of readers) reader.destroy()
      const each = pace.said() - before
      const times = inAll() - numberedBefore
      return { did: `${each} messages for each of ${count} readers, ${times} numbered`, times }
    }
  },
}

/** So many a second, numbered from 1, whatever becomes of them. */
function openLoop(perSecond: number, say: (from: number, to: number) => void): { said(): number; stop(): void } {
  const began = systemClock.monotonic()
  let said = 0
  let timer: Timer
  const more = (): void => {
    const due = Math.floor(((systemClock.monotonic() - began) * perSecond) / 1_000)
    if (due > said) say(said + 1, due)
    said = due
    timer = systemClock.after(OPEN_LOOP_MS, more)
  }
  more()
  return { said: () => said, stop: () => timer.cancel() }
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
        const flooder = device(me, other, {
          verdict: (field) => void verdicts.set(field, (verdicts.get(field) ?? 0) + 1),
          lost: () => {
            open = false
            lost++
          },
        })
        await flooder.connect().catch(() => {
          open = false
        })
        while (open && !stopped.now()) {
          // What its own socket does not take yet reaches nobody, and would only fill this machine's memory.
          for (; flooder.backlog() < FLOOD_BACKLOG_BYTES; sent += 256) {
            flooder.submit(k, k + 255)
            k += 256
          }
          await new Promise(setImmediate)
        }
        flooder.disconnect()
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
