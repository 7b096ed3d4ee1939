// A client of its own, over the SDK: does what the process that started it asks for, tells what comes in, and ends with it.
// Arguments: the profile and the file of its passphrase.
import { readFile, writeFile } from 'node:fs/promises'
import { flushCompileCache } from 'node:module'
import { type Message, Parley, type ParleyEvent, type Sending } from '#client'
import { ensureUserId, type Position, systemClock } from '#protocol'
import {
  CLIENT_MS,
  DUMP_PAGE,
  LOG_MS,
  LONE_PAUSE_MS,
  STUCK_MS,
  TOLD_EVERY,
  TOLD_EVERY_MS,
  UNSTORED_MAX,
} from './limits.ts'
import { type Asked, type Order, sharedMs, type Told } from './orders.ts'
import { dieBeforeFrame, Talk } from './talk.ts'

type Orders = { readonly [D in Order['do']]: (order: Order & { do: D }) => Promise<unknown> }

const tell = (told: Told): void => void process.send?.(told)

/** Whoever looks for somebody is told by the order itself when that fails. */
const EXPECTED = ['delivered', 'read', 'prekeys-stocked', 'contact-changed', 'look-up-failed']

/** Remembers when what was sent, numbered and received. */
class Log {
  sent: [k: number, ms: number][] = []
  received: [k: number, ms: number][] = []
  connections: [is: string, ms: number][] = []
  readonly held = new Set<number>()
  numbered = 0
  stored = 0
  allowed = Number.POSITIVE_INFINITY
  more = Promise.withResolvers<void>()
  all = 0
  #told = 0
  #timed = false

  allow(lines: number): void {
    this.allowed = lines
    this.more.resolve()
    this.more = Promise.withResolvers()
  }

  hear(event: ParleyEvent): void {
    if (event.type === 'message') this.#message(event.message)
    else if (event.type === 'state') this.#state(event)
    else if (event.type === 'connection') this.connections.push([event.state.is, sharedMs()])
    else if (!EXPECTED.includes(event.type)) tell({ faults: JSON.stringify(event) })
  }

  #state(event: ParleyEvent & { type: 'state' }): void {
    if (event.state === 'held') this.held.add(event.k)
    else if (event.state === 'sequenced') {
      this.numbered++
      this.held.delete(event.k)
    } else tell({ faults: `k ${event.k} is ${event.state}: ${event.code}` })
  }

  #message({ mine, k, kind }: Message): void {
    if (mine) return
    if (kind !== 'text') tell({ faults: `a message of kind ${kind}, k ${k}` })
    this.received.push([k, sharedMs()])
    this.all++
    if (this.all - this.#told >= TOLD_EVERY) this.#tell()
    else if (!this.#timed) {
      this.#timed = true
      systemClock.after(TOLD_EVERY_MS, () => this.#tell())
    }
  }

  #tell(): void {
    this.#timed = false
    if (this.#told === this.all) return
    this.#told = this.all
    tell({ received: this.all })
  }
}

async function linesOf(file: string): Promise<string[]> {
  return (await readFile(file, 'utf8')).split('\n').slice(0, -1)
}

async function sendAll(parley: Parley, log: Log, order: Order & { do: 'send' }): Promise<void> {
  const to = ensureUserId(order.to)
  const done = parley.job(order.job)?.line ?? 0
  let pending: Promise<Sending>[] = []
  const before = log.numbered
  log.allow(order.allowed ?? Number.POSITIVE_INFINITY)
  let count = 0
  for (const [i, line] of (await linesOf(order.file)).entries()) {
    if (i < done) continue
    const { ahead } = order
    if (ahead !== undefined && count - (log.numbered - before) >= ahead)
      await parley.until(() => count - (log.numbered - before) < ahead, STUCK_MS)
    while (i >= log.allowed) await log.more.promise
    const ms = sharedMs()
    pending.push(parley.send(to, line, { name: order.job, line: i + 1 }))
    pending.at(-1)?.then(
      ({ k }) => {
        log.stored++
        log.sent.push([k, ms])
      },
      () => undefined,
    )
    count++
    if (pending.length >= UNSTORED_MAX) {
      await Promise.all(pending)
      pending = []
    }
  }
  await Promise.all(pending)
}

async function sendLone(parley: Parley, log: Log, order: Order & { do: 'send-lone' }): Promise<void> {
  for (const line of await linesOf(order.file)) {
    const ms = sharedMs()
    const sending = await parley.send(ensureUserId(order.to), line)
    log.sent.push([sending.k, ms])
    await sending.until('sequenced')
    await pause(LONE_PAUSE_MS)
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => void systemClock.after(ms, resolve))
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** What this device holds, as it gives it to anybody who uses the SDK. */
async function dump(parley: Parley, order: Order & { do: 'dump' }): Promise<void> {
  const { after, file } = order
  const user = ensureUserId(order.with)
  const until = systemClock.monotonic() + LOG_MS
  let headers = parley.headers(user)
  // A number may be known before the entry itself has come.
  while (headers.length < order.entries && systemClock.monotonic() < until) {
    await pause(TOLD_EVERY_MS)
    headers = parley.headers(user)
  }
  const messages: Described[] = []
  let at = after as Position
  for (;;) {
    const page = parley.messagesAfter(user, at, DUMP_PAGE)
    messages.push(...page.map(described))
    const last = page.at(-1)
    if (!last || page.length < DUMP_PAGE) break
    at = last.at
  }
  const waiting = parley.history(user, { limit: 10 }).filter((it) => it.status !== 'sequenced').length
  const text = JSON.stringify({
    conv: parley.conversationWith(user),
    self: parley.userId,
    peer: user,
    waiting,
    headers: headers.map(hex),
    messages,
  })
  await writeFile(file, text)
}

type Described = { readonly [field: string]: string | number | boolean }

function described(it: Message): Described {
  const { device, at, from, mine, member, k, kind, status, timeMs } = it
  const registration = `${device.registrationEpoch}.${device.registrationVersion}`
  const body = Buffer.from(it.body).toString('base64')
  return { at, from, mine, member, device: device.device, registration, k, kind, status, timeMs, body }
}

function ordersOf(parley: Parley, log: Log): Orders {
  let talk: Talk | undefined
  return {
    connect: () => parley.connected(CLIENT_MS),
    find: async ({ user, name }) => {
      await parley.addContact(user, name)
      await parley.lookUp(ensureUserId(user), CLIENT_MS)
    },
    send: (order) => sendAll(parley, log, order),
    allow: async ({ lines }) => log.allow(lines),
    'send-lone': (order) => sendLone(parley, log, order),
    until: async ({ to, job, stage }) => {
      const last = parley.job(job)
      if (!last) throw new Error(`no job ${job}`)
      if (parley.conversationWith(ensureUserId(to)) !== last.conv) throw new Error(`job ${job} is another's`)
      await parley.sending(last.conv, last.k).until(stage)
    },
    'until-held': ({ count }) =>
      parley
        .until(() => log.held.size >= count, STUCK_MS)
        .catch((error) => {
          throw new Error(`${log.held.size} of ${count} are held`, { cause: error })
        }),
    dump: (order) => dump(parley, order),
    'skip-to-end': async ({ with: user, at }) => parley.moveReader('receive', ensureUserId(user), at as Position),
    talk: async ({ journal, to, perSecond }) => {
      talk = new Talk(parley, journal, to, perSecond, (what) => tell({ faults: what }))
    },
    pace: async ({ perSecond }) => talk?.pace(perSecond),
    standing: async () => talk?.standing(),
    die: async ({ frames }) => dieBeforeFrame(frames),
    progress: async () => ({ stored: log.stored, numbered: log.numbered }),
    times: async () => {
      const { sent, received, held, connections } = log
      log.sent = []
      log.received = []
      log.connections = []
      return { sent, received, held: held.size, connections }
    },
    close: async () => {
      await parley.close()
      process.disconnect()
    },
  }
}

async function main(profile: string, passphraseFile: string): Promise<void> {
  const passphrase = (await readFile(passphraseFile, 'utf8')).split('\n', 1)[0] ?? ''
  const parley = await Parley.open(profile, { passphrase })
  const log = new Log()
  parley.on('event', (event) => log.hear(event))
  const orders = ordersOf(parley, log)
  process.on('disconnect', () => process.exit(0))
  process.on('message', ({ id, order }: Asked) => {
    const obey = orders[order.do] as (it: Order) => Promise<unknown>
    obey(order).then(
      (value) => tell({ id, value }),
      (error: unknown) => tell({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    )
  })
  flushCompileCache()
  tell({ ready: true })
}

const [profile, passphraseFile] = process.argv.slice(2)
if (!profile || !passphraseFile) throw new Error('device.ts PROFILE PASSPHRASE_FILE')
await main(profile, passphraseFile)
