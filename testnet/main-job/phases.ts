// The phases that need events of both clients: everybody there, the receiver away, relays killed, the host down.

import type { Client } from '../clients/client.ts'
import { STUCK_MS } from '../clients/limits.ts'
import { type Progress, sharedMs } from '../clients/orders.ts'
import type { TestRegion } from '../launch.ts'
import { HELD_WANTED, KILL_AHEAD_SHARE, KILL_AT, PACED_AHEAD } from './limits.ts'
import { type Kill, type Measured, measure } from './measure.ts'
import { clientOf, type Phase, stopClient, type Way } from './stage.ts'

type Both = { readonly sender: Client; readonly receiver: Client; readonly before: number }

async function both({ stage, from, to }: Way): Promise<Both> {
  const sender = await clientOf(stage, from)
  const receiver = await clientOf(stage, to)
  await Promise.all([sender.times(), receiver.times()])
  return { sender, receiver, before: receiver.received }
}

function sendOf({ to, file, name }: Way, ahead?: number, allowed?: number) {
  return { do: 'send', to: to.userId, file, job: name, ahead, allowed } as const
}

const untilOf = ({ to, name }: Way, stage: 'sequenced' | 'delivered') =>
  ({ do: 'until', to: to.userId, job: name, stage }) as const

/** Fails as soon as the sending fails, whatever is waited for. */
async function meanwhile<T>(sending: Promise<unknown>, act: Promise<T>): Promise<T> {
  const failed = Promise.withResolvers<never>()
  sending.catch(failed.reject)
  const done = await Promise.race([act, failed.promise])
  await sending
  return done
}

async function figures(sender: Client, receiver: Client, kills: readonly Kill[], since?: number): Promise<Measured> {
  const [{ sent }, { received }] = await Promise.all([sender.times(), receiver.times()])
  return measure(sent, received, kills, since)
}

async function connected(way: Way): Promise<Measured> {
  const { sender, receiver, before } = await both(way)
  const sending = sender.ask(sendOf(way, PACED_AHEAD))
  await meanwhile(sending, receiver.untilReceived(before + way.lines.length, STUCK_MS))
  await sender.ask(untilOf(way, 'delivered'))
  return await figures(sender, receiver, [])
}

async function bothAtOnce(way: Way, back: Way): Promise<Measured> {
  const { sender, receiver, before } = await both(way)
  const beforeBack = sender.received
  const sending = Promise.all([sender.ask(sendOf(way, PACED_AHEAD)), receiver.ask(sendOf(back, PACED_AHEAD))])
  const arriving = [
    receiver.untilReceived(before + way.lines.length, STUCK_MS),
    sender.untilReceived(beforeBack + back.lines.length, STUCK_MS),
  ]
  await meanwhile(sending, Promise.all(arriving))
  await sender.ask(untilOf(way, 'delivered'))
  await receiver.ask(untilOf(back, 'delivered'))
  return await figures(sender, receiver, [])
}

/** One at a time: what a message takes when nothing else is under way. */
async function alone(way: Way): Promise<Measured> {
  const { sender, receiver, before } = await both(way)
  const sending = sender.ask({ do: 'send-lone', to: way.to.userId, file: way.file })
  await meanwhile(sending, receiver.untilReceived(before + way.lines.length, STUCK_MS))
  return await figures(sender, receiver, [])
}

async function away(way: Way): Promise<Measured> {
  const { sender } = await both(way)
  await stopClient(way.stage, way.to)
  const from = sharedMs()
  await sender.ask(sendOf(way))
  await sender.ask(untilOf(way, 'sequenced'))
  const sentIn = sharedMs() - from
  const since = sharedMs()
  const receiver = await clientOf(way.stage, way.to)
  await receiver.untilReceived(way.lines.length, STUCK_MS)
  await sender.ask(untilOf(way, 'delivered'))
  const measured = await figures(sender, receiver, [], since)
  const rate = (way.lines.length / sentIn) * 1000
  return { ...measured, notes: [`sent at ${rate.toFixed(0)}/s while nobody was there`, ...measured.notes] }
}

async function killAndStart({ relay, name }: TestRegion): Promise<Kill> {
  const killed = relay.kill()
  const atMs = sharedMs()
  await killed
  await relay.start()
  return { what: `relay ${name}`, atMs, upMs: sharedMs(), inFlight: undefined }
}

/**
 * The sender is a few lines ahead of the receiver, and until a kill has happened of the place where it is to happen: so
 * lines are on their way at each one, however fast everything goes while a relay starts.
 */
function gateOf(sender: Client, receiver: Client, before: number, count: number) {
  const ahead = Math.ceil(count * KILL_AHEAD_SHARE)
  const places = [...KILL_AT.map((part) => Math.ceil(count * part)), count]
  let next = 0
  let extra = 0
  let allowed = ahead
  let moved = Promise.withResolvers<void>()
  const limit = (): number => Math.min(receiver.received - before, places[next] ?? count) + ahead + extra
  const move = (): void => {
    moved.resolve()
    moved = Promise.withResolvers()
  }
  return {
    first: ahead,
    killed(): void {
      next++
      extra = 0
      move()
    },
    /** A few more, beyond the place; false: all of them were allowed before. */
    more(): boolean {
      if (allowed >= count) return false
      do extra += ahead
      while (limit() <= allowed)
      move()
      return true
    },
    async run(): Promise<void> {
      while (allowed < count) {
        const came = receiver.received + 1
        if (limit() > allowed) {
          allowed = limit()
          await sender.ask({ do: 'allow', lines: allowed })
        } else if (receiver.received - before < Math.min(allowed, count)) {
          const coming = receiver.untilReceived(came, STUCK_MS)
          coming.catch(() => undefined)
          await Promise.race([coming, moved.promise])
        } else await moved.promise
      }
    },
  }
}

const storedBy = async (sender: Client): Promise<number> => ((await sender.ask({ do: 'progress' })) as Progress).stored

/**
 * Allows a few lines more and resolves when the first of them have just been handed over. A client that is busy answers
 * late: when all of them have arrived by then, a few more are allowed. `arrived`: how many lines have.
 */
async function untilOnTheWay(sender: Client, more: () => boolean, start: number, arrived: () => number): Promise<void> {
  let now = await storedBy(sender)
  do {
    const before = now
    if (!more()) return
    const since = sharedMs()
    while (now <= before) {
      if (sharedMs() - since > STUCK_MS) throw new Error(`${now - start} lines handed over, no more for ${STUCK_MS} ms`)
      now = await storedBy(sender)
    }
  } while (now - start <= arrived())
}

async function withKills(way: Way, region: TestRegion): Promise<Measured> {
  const { sender, receiver, before } = await both(way)
  const count = way.lines.length
  const gate = gateOf(sender, receiver, before, count)
  const start = await storedBy(sender)
  const sending = sender.ask(sendOf(way, undefined, gate.first))
  const kills: Kill[] = []
  const killing = async (): Promise<void> => {
    for (const part of KILL_AT) {
      await receiver.untilReceived(before + Math.ceil(count * part), STUCK_MS)
      await untilOnTheWay(sender, gate.more, start, () => receiver.received - before)
      const started = killAndStart(region)
      gate.killed()
      kills.push(await started)
    }
    await receiver.untilReceived(before + count, STUCK_MS)
  }
  await meanwhile(sending, Promise.all([killing(), gate.run()]))
  await sender.ask(untilOf(way, 'delivered'))
  return await figures(sender, receiver, kills)
}

/**
 * The host is down, or where the sender's home is the host the receiver's region; the sender's client hands over what it
 * can and goes; its home is killed and started; then the missing one comes back, and without the client all of it arrives.
 */
async function farSideDown(way: Way): Promise<Measured> {
  const { stage, from, to, host, lines } = way
  const home = stage.network.region(from.region)
  const missing = stage.network.region(to.region)
  const { sender } = await both(way)
  const receiver = await clientOf(stage, to)
  const before = receiver.received
  await missing.relay.kill()
  await sender.ask(sendOf(way))
  const isHeld = host !== home
  if (isHeld) await sender.ask({ do: 'until-held', count: Math.min(HELD_WANTED, lines.length) })
  else await sender.ask(untilOf(way, 'sequenced'))
  const first = await sender.times()
  await stopClient(stage, from)
  const atMs = sharedMs()
  await home.relay.kill()
  await home.relay.start()
  await missing.relay.start()
  const upMs = sharedMs()
  const kill: Kill = { what: `relays ${home.name}, ${missing.name}`, atMs, upMs, inFlight: lines.length }
  const alone = isHeld ? Math.min(HELD_WANTED, lines.length) : lines.length
  await receiver.untilReceived(before + alone, STUCK_MS)
  const arrivedMs = sharedMs()
  const again = await clientOf(stage, from)
  await receiver.untilReceived(before + lines.length, STUCK_MS)
  await again.ask(untilOf(way, 'delivered'))
  const { received } = await receiver.times()
  const measured = measure(first.sent, received, [kill], upMs)
  const note = `${alone} arrived without the client, ${(arrivedMs - upMs).toFixed(0)} ms after the relays were up`
  return { ...measured, notes: [note, ...measured.notes] }
}

export const PHASES = {
  connected: { id: 'a', title: 'both connected', run: connected },
  atOnce: { id: 'ab', title: 'both send at once', both: true, run: bothAtOnce },
  alone: { id: 'l', title: 'one at a time', run: alone },
  away: { id: 'b', title: 'receiver away, then back', run: away },
  receiverRelay: {
    id: 'c',
    title: "receiver's relay killed",
    run: (way) => withKills(way, way.stage.network.region(way.to.region)),
  },
  senderRelay: {
    id: 'd',
    title: "sender's relay killed",
    run: (way) => withKills(way, way.stage.network.region(way.from.region)),
  },
  farSideDown: { id: 'e', title: 'other side down, held at home', run: farSideDown },
} as const satisfies Readonly<Record<string, Phase>>
