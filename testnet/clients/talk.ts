// Somebody who talks without end, to several people at once, at a given pace, and writes everything down. Opened again
// after any kind of end it goes on with the line after the last one that its profile has.
import { WebSocket } from 'ws'
import type { Parley, ParleyEvent } from '#client'
import { ensureUserId, systemClock, type UserId } from '#protocol'
import { type Journal, openJournal } from './journal.ts'
import { TALK_AHEAD, TALK_EVERY_MS } from './limits.ts'
import { type Partner, type Standing, sharedMs } from './orders.ts'

type Thread = {
  readonly user: UserId
  readonly job: string
  /** Lines that went to the SDK. */
  said: number
  /** Those of them that are not durable yet. */
  storing: number
  lastK: number
  numberedK: number
  due: number
}

const PADDING_MAX = 160

function textOf(job: string, i: number): string {
  return `${job} ${i} ${'-'.repeat((i * 7_919) % PADDING_MAX)}`
}

export class Talk {
  readonly #parley: Parley
  readonly #journal: Journal
  readonly #threads: readonly Thread[]
  readonly #fault: (what: string) => void
  #perSecond: number
  #stored = Promise.withResolvers<void>()

  constructor(
    parley: Parley,
    file: string,
    partners: readonly Partner[],
    perSecond: number,
    fault: (what: string) => void,
  ) {
    this.#parley = parley
    this.#journal = openJournal(file, sharedMs())
    this.#fault = fault
    this.#perSecond = perSecond
    this.#threads = partners.map((partner) => this.#resume(partner))
    parley.on('event', (event) => this.#hear(event))
    parley.connect()
    this.#tick(systemClock.monotonic())
  }

  #resume({ user: text, job }: Partner): Thread {
    const user = ensureUserId(text)
    const last = this.#parley.job(job)
    const lastK = last?.k ?? 0
    const waiting = this.#parley.history(user, { limit: TALK_AHEAD }).filter((it) => it.status !== 'sequenced')
    const numberedK = Math.min(lastK, ...waiting.map(({ k }) => k - 1))
    return { user, job, said: last?.line ?? 0, storing: 0, lastK, numberedK, due: 0 }
  }

  #thread(conv: string): Thread | undefined {
    return this.#threads.find(({ user }) => this.#parley.conversationWith(user) === conv)
  }

  #hear(event: ParleyEvent): void {
    if (event.type === 'message' && !event.message.mine) {
      const { from, k, at, kind, body } = event.message
      this.#journal.write(['got', from, k, at, kind, Buffer.from(body).toString(), sharedMs()])
    } else if (event.type === 'state') {
      const thread = this.#thread(event.conv)
      const { k, at, state } = event
      if (thread && state === 'held') this.#journal.write(['held', thread.user, k])
      else if (thread && state === 'sequenced') {
        thread.numberedK = Math.max(thread.numberedK, k)
        this.#journal.write(['sequenced', thread.user, k, at])
      } else this.#odd(`k ${k} is ${state}: ${event.code}`)
    }
  }

  #odd(what: string): void {
    this.#journal.write(['odd', what])
    this.#fault(what)
  }

  #tick(before: number): void {
    const now = systemClock.monotonic()
    for (const thread of this.#threads) {
      const inFlight = thread.storing + thread.lastK - thread.numberedK
      thread.due = Math.min(thread.due + (this.#perSecond * (now - before)) / 1000, TALK_AHEAD)
      const count = Math.max(0, Math.min(Math.floor(thread.due), TALK_AHEAD - inFlight))
      thread.due -= count
      for (let i = 0; i < count; i++) this.#say(thread)
    }
    systemClock.after(TALK_EVERY_MS, () => this.#tick(now))
  }

  #say(thread: Thread): void {
    const i = ++thread.said
    const text = textOf(thread.job, i)
    thread.storing++
    this.#journal.write(['say', thread.user, i, text, sharedMs()])
    this.#parley
      .send(thread.user, text, { name: thread.job, line: i })
      .then(({ k }) => {
        thread.lastK = k
        this.#journal.write(['stored', thread.user, i, k])
      })
      .catch((error: unknown) => this.#odd(`line ${i} to ${thread.job} was not taken: ${error}`))
      .finally(() => {
        thread.storing--
        this.#stored.resolve()
        this.#stored = Promise.withResolvers()
      })
  }

  /** Lines a second, to each. Resolves when what was said so far is durable. */
  async pace(perSecond: number): Promise<void> {
    this.#perSecond = perSecond
    for (const thread of this.#threads) thread.due = 0
    while (this.#threads.some(({ storing }) => storing > 0)) await this.#stored.promise
  }

  standing(): Standing[] {
    return this.#threads.map(({ user, said, lastK, numberedK }) => {
      const last = this.#parley.history(user, { limit: 1 })[0]
      const { delivered } = this.#parley.marks(user)
      return { user, said, waiting: lastK - numberedK, last: last?.at ?? 0, delivered }
    })
  }
}

/** The process dies in the moment in which it would hand this frame of it to the socket. */
export function dieBeforeFrame(frames: number): void {
  let left = frames
  const send: (this: WebSocket, ...frame: unknown[]) => void = WebSocket.prototype.send as never
  WebSocket.prototype.send = function (this: WebSocket, ...frame: unknown[]): void {
    if (--left <= 0) process.kill(process.pid, 'SIGKILL')
    send.apply(this, frame)
  }
}
