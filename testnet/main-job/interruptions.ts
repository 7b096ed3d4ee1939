// Both clients are the command line, killed again and again: `parley send --job` has to go on at the right line though its
// pipe begins at the first one each time, `parley receive` has to print everything, a page twice at most.
import { systemClock } from '#protocol'
import { STUCK_MS } from '../clients/limits.ts'
import { sharedMs } from '../clients/orders.ts'
import { type Sender, startReceiver, startSender } from './command-line.ts'
import { KILL_AT, PIPE_AHEAD_SHARE, POLL_MS } from './limits.ts'
import { type Kill, type Measured, measure } from './measure.ts'
import { clientOf, type Phase, stopClient, type Way } from './stage.ts'

function missingText(texts: ReadonlyMap<number, string>, count: number): string {
  const first = Math.min(...texts.keys())
  const missing = Array.from({ length: count }, (_, i) => first + i).filter((k) => !texts.has(k))
  return `${texts.size} of ${count} printed, nothing new for ${STUCK_MS} ms; k from ${first}, missing ${missing.slice(0, 40)}`
}

/** What the receiver has printed, each k once, and who waits for more of it. */
function printedLog() {
  const texts = new Map<number, string>()
  const times: [k: number, ms: number][] = []
  const faults: string[] = []
  let again = 0
  let moved = Promise.withResolvers<void>()
  return {
    texts,
    times,
    faults,
    again: () => again,
    hear(k: number, text: string): void {
      const before = texts.get(k)
      if (before === undefined) times.push([k, sharedMs()])
      else if (before !== text) faults.push(`k ${k} was printed with two texts`)
      else again++
      texts.set(k, text)
      moved.resolve()
      moved = Promise.withResolvers()
    },
    async until(count: number): Promise<void> {
      while (texts.size < count) {
        const late = Promise.withResolvers<never>()
        const timer = systemClock.after(STUCK_MS, () => late.reject(new Error(missingText(texts, count))))
        await Promise.race([moved.promise, late.promise]).finally(() => timer.cancel())
      }
    },
  }
}

type Printed = ReturnType<typeof printedLog>

const pause = (ms: number): Promise<void> => new Promise((resolve) => void systemClock.after(ms, resolve))

/** Lines of `printed` are at most so far behind what the pipe is given; false once the sender is to die. */
function pipeGate(printed: Printed, count: number, alive: () => boolean): (line: number) => Promise<boolean> {
  const ahead = Math.ceil(count * PIPE_AHEAD_SHARE)
  return async (line) => {
    while (alive() && line > printed.texts.size + ahead) {
      await pause(POLL_MS)
    }
    return alive()
  }
}

/** Until the pipe has taken lines that are not printed; or all of them, and then there may be none. */
async function untilInFlight(sender: Sender, printed: Printed, count: number): Promise<void> {
  const since = systemClock.monotonic()
  while (sender.fed() <= printed.texts.size && sender.fed() < count) {
    if (systemClock.monotonic() - since > STUCK_MS)
      throw new Error(`parley send has taken ${sender.fed()} of ${count} lines, nothing new for ${STUCK_MS} ms`)
    await pause(POLL_MS)
  }
}

async function bothKilled(way: Way): Promise<Measured> {
  const { stage, pair, from, to, lines } = way
  const reader = await clientOf(stage, to)
  await reader.ask({ do: 'skip-to-end', with: from.userId, at: pair.last })
  await stopClient(stage, to)
  await stopClient(stage, from)
  const printed = printedLog()
  const kills: Kill[] = []
  const faults: string[] = []
  const began = sharedMs()
  let alive = { is: true }
  const send = (): Sender => {
    const mine = { is: true }
    alive = mine
    return startSender(
      way,
      pipeGate(printed, lines.length, () => mine.is),
    )
  }
  let sender = send()
  let receiver = startReceiver(way, printed.hear)
  const progress = async (count: number): Promise<void> => {
    const early = sender.ended.then(({ exit }) => {
      if (exit.code !== 0 && alive.is) throw new Error(`parley send ended with ${exit.code ?? exit.signal}`)
      return new Promise<never>(() => undefined)
    })
    await Promise.race([printed.until(count), early])
  }
  for (const part of KILL_AT) {
    await progress(Math.ceil(lines.length * part))
    await untilInFlight(sender, printed, lines.length)
    alive.is = false
    const atMs = sharedMs()
    await Promise.all([sender.kill(), receiver.kill('SIGKILL')])
    const inFlight = sender.fed() - printed.texts.size
    kills.push({ what: 'both clients', atMs, upMs: sharedMs(), inFlight })
    sender = send()
    receiver = startReceiver(way, printed.hear)
  }
  await progress(lines.length)
  const { exit, sent } = await sender.ended
  if (exit.code !== 0) faults.push(`parley send ended with ${exit.code ?? exit.signal}`)
  const left = await receiver.kill('SIGTERM')
  if (left.code !== 0 && left.code !== 130) faults.push(`parley receive ended with ${left.code ?? left.signal}`)
  const texts = [...printed.texts].sort(([a], [b]) => a - b).map(([, text]) => text)
  if (texts.join('\n') !== lines.join('\n')) faults.push('what was printed is not what was sent')
  faults.push(...printed.faults)
  const measured = measure([], printed.times, kills, began)
  const notes = [`the last call sent ${sent} of ${lines.length} lines; ${printed.again()} were printed twice`]
  return { ...measured, notes: [...notes, ...measured.notes], faults: [...measured.faults, ...faults] }
}

export const interrupted: Phase = { id: 'f', title: 'both clients killed', run: bothKilled }
