// Attacks on the client port by whoever can open a socket.
import { systemClock } from '#protocol'
import { signIn } from '../load/session.ts'
import { type Attack, dialTcp, holdSockets, over, pause, people, upgradeRequest } from './attack.ts'

const IDLE_SOCKETS = 10_000
const SLOW_SOCKETS = 1_000
/** Beyond the time that a relay gives to headers. */
const SLOW_LEAST_MS = 13_000
const FRAGMENT_SOCKETS = 50
/** Beyond the time that a relay gives to a socket that it closes. */
const FRAGMENT_CUT_MAX_MS = 3_000
/** A row is named for 5,000 in ten seconds: an even pace for as long as it lasts, so that no part of it is quiet. */
const RECONNECTS_PER_SECOND = 500
/** Rows of the store that one of them may read. */
const RECONNECT_READS_MAX = 2
const HONEST_EVERY_MS = 500
const quiet = { opened: () => undefined, message: () => undefined, closed: () => undefined }

/** Sockets that are upgraded and never say hello; honest people sign in meanwhile. */
export const idleSockets: Attack = {
  id: 'idle-sockets',
  title: '10,000 sockets that never sign in',
  p99Factor: 2,
  honest: 'within',
  async prepare({ north }) {
    const [honest] = await people(north.origin, 1)
    return async (stopped) => {
      const faults: string[] = []
      let signedIn = 0
      const trying = over(stopped, 1, async () => {
        await pause(HONEST_EVERY_MS)
        await signIn(honest!, quiet).then(
          (socket) => {
            signedIn++
            socket.destroy()
          },
          (error: Error) => faults.push(`an honest sign-in failed: ${error.message.slice(0, 100)}`),
        )
      })
      const at = { host: north.host, port: north.clientPort }
      const { mostOpen, dialled } = await holdSockets(stopped, at, IDLE_SOCKETS, (socket) =>
        socket.write(upgradeRequest(`${north.host}:${north.clientPort}`)),
      )
      await trying
      return {
        did: `${dialled} dialled, ${mostOpen} open at once; ${signedIn} honest sign-ins`,
        times: dialled,
        faults: faults.slice(0, 3),
      }
    }
  },
}

/** Devices that sign in and say nothing more. */
export const idleSessions: Attack = {
  id: 'idle-sessions',
  title: '10,000 devices that sign in and say nothing',
  p99Factor: 2,
  honest: 'within',
  async prepare({ north, full }) {
    const all = await people(north.origin, full ? 10_000 : 500)
    return async (stopped) => {
      const faults: string[] = []
      const open: { destroy(): void }[] = []
      let [next, inTime] = [0, 0]
      // How many are in when it ends is a matter of the machine; that everybody gets in is not.
      const work = async (): Promise<void> => {
        for (let person = all[next++]; person; person = all[next++]) {
          await signIn(person, quiet).then(
            (socket) => {
              open.push(socket)
              if (!stopped.now()) inTime++
            },
            (error: Error) => faults.push(`a sign-in failed: ${error.message.slice(0, 100)}`),
          )
        }
      }
      await Promise.all(Array.from({ length: 16 }, work))
      await stopped.promise
      for (const socket of open) socket.destroy()
      return { did: `${open.length} signed in, ${inTime} of them in time`, times: inTime, faults: faults.slice(0, 3) }
    }
  },
}

/** A byte of a header now and then. */
export const slowHeaders: Attack = {
  id: 'slow-headers',
  title: '1,000 connections with a byte of a header each second',
  leastMs: SLOW_LEAST_MS,
  p99Factor: 2,
  honest: 'within',
  async prepare({ north }) {
    return async (stopped) => {
      let longestMs = 0
      const at = { host: north.host, port: north.clientPort }
      const { dialled } = await holdSockets(stopped, at, SLOW_SOCKETS, (socket) => {
        const from = systemClock.monotonic()
        socket.write('GET /v1/health HTTP/1.1\r\nHost: x\r\nX-Slow: ')
        void over({ now: () => stopped.now() || socket.destroyed, promise: stopped.promise }, 1, async () => {
          await pause(1_000)
          socket.write('a')
        })
        socket.on('close', () => {
          if (!stopped.now()) longestMs = Math.max(longestMs, systemClock.monotonic() - from)
        })
      })
      const cut = longestMs > 0 ? `; the longest lived ${(longestMs / 1_000).toFixed(1)} s` : ''
      return { did: `${dialled} dialled${cut}`, times: dialled, faults: longestMs === 0 ? ['none was ever cut'] : [] }
    }
  },
}

/** One message in fragments of a byte; a mask of zeros. */
function fragments(count: number): Buffer {
  const each = (first: number): Buffer => Buffer.from([first, 0x81, 0, 0, 0, 0, 0x61])
  return Buffer.concat([each(0x02), ...Array.from({ length: count }, () => each(0x00))])
}

export const tinyFragments: Attack = {
  id: 'tiny-fragments',
  title: 'messages in fragments of a byte, on 50 sockets',
  p99Factor: 2,
  honest: 'within',
  async prepare({ north }) {
    const burst = fragments(50)
    return async (stopped) => {
      let [rounds, cut] = [0, 0]
      await over(stopped, FRAGMENT_SOCKETS, async () => {
        const socket = await dialTcp(north.host, north.clientPort)
        if (!socket) return pause(20)
        const [answered, closed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
        let said = false
        socket.on('close', closed.resolve)
        socket.once('data', (answer) => {
          said = `${answer}`.startsWith('HTTP/1.1 101')
          if (said) socket.write(burst)
          answered.resolve()
        })
        socket.write(upgradeRequest(`${north.host}:${north.clientPort}`))
        socket.resume()
        await Promise.race([answered.promise, closed.promise, pause(FRAGMENT_CUT_MAX_MS)])
        if (said) await Promise.race([closed.promise, pause(FRAGMENT_CUT_MAX_MS)])
        // What came while this process stood in line for a core is heard first. And now: our own end would count as a cut.
        await new Promise(setImmediate)
        if (said) rounds++
        if (said && socket.destroyed) cut++
        socket.destroy()
        await pause(50)
      })
      return {
        did: `${rounds} messages of 50 fragments, ${cut} cut`,
        times: rounds,
        faults: cut < rounds ? [`${rounds - cut} of ${rounds} were not cut within ${FRAGMENT_CUT_MAX_MS} ms`] : [],
      }
    }
  },
}

/** Honest devices after a cut: all come back at once, again and again. */
export const reconnects: Attack = {
  id: 'reconnects',
  title: '5,000 reconnects of devices that are up to date, in 10 s',
  p99Factor: 2,
  honest: 'within',
  async prepare({ north }) {
    const all = await people(north.origin, 128)
    for (const person of all) (await signIn(person, quiet)).destroy()
    return async (stopped) => {
      // Here: whatever the relay did before the attack is not what reconnects cost.
      const [before, began] = [await rowReads(north.origin), systemClock.monotonic()]
      let [tried, done] = [0, 0]
      const faults: string[] = []
      const isDue = (): boolean =>
        tried < ((systemClock.monotonic() - began) * RECONNECTS_PER_SECOND) / 1_000 && !stopped.now()
      await over(stopped, 32, async (i) => {
        const mine = all.filter((_, at) => at % 32 === i)
        for (const person of mine) {
          while (!isDue()) {
            if (stopped.now()) return
            await pause(20)
          }
          tried++
          await signIn(person, quiet).then(
            (socket) => {
              done++
              socket.destroy()
            },
            (error: Error) => faults.push(error.message.slice(0, 100)),
          )
        }
      })
      const reads = ((await rowReads(north.origin)) - before) / Math.max(1, done)
      // A number that the relay does not tell is none that is low enough.
      if (!(reads <= RECONNECT_READS_MAX)) faults.push(`${reads.toFixed(2)} reads of rows a reconnect`)
      return {
        did: `${done} reconnects, ${reads.toFixed(2)} reads of rows each`,
        times: done,
        faults: faults.slice(0, 3),
      }
    }
  },
}

async function rowReads(origin: string): Promise<number> {
  const text = await (await fetch(`${origin}/metrics`)).text()
  return Number(/^parley_store\{what="rowReads"\} (\S+)$/m.exec(text)?.[1] ?? Number.NaN)
}
