// Devices that are signed in and say nothing, and bare sockets to compare them with.
import { systemClock } from '#protocol'
import { each } from './each.ts'
import { Histogram } from './histogram.ts'
import type { CameBack } from './orders.ts'
import { type Person, registerPerson, targetAt } from './person.ts'
import { signIn } from './session.ts'
import { dialLean, type LeanWebSocket } from './web-socket.ts'

type Member = { readonly person: Person; socket: LeanWebSocket | undefined }

const silent = { opened(): void {}, message(): void {}, closed(): void {} }

export class Crowd {
  readonly #members: Member[] = []
  #sockets: LeanWebSocket[] = []
  #signedIn = 0

  async register(origin: string, count: number): Promise<void> {
    const target = await targetAt(origin)
    const people = await each(count, () => registerPerson(target))
    this.#members.push(...people.map((person) => ({ person, socket: undefined })))
  }

  async signIn(count: number): Promise<void> {
    const next = this.#members.slice(this.#signedIn, this.#signedIn + count)
    this.#signedIn += count
    await each(next.length, async (i) => {
      next[i]!.socket = await signIn(next[i]!.person, silent)
    })
  }

  async dial(origin: string, count: number): Promise<void> {
    const url = new URL('/idle', origin.replace(/^http/, 'ws'))
    this.#sockets.push(...(await each(count, () => dialLean(url, 'raw', silent))))
  }

  /** All sockets go at once, as in a network that was cut; each device comes back at a moment of its own. */
  async comeBack(count: number, withinMs: number): Promise<CameBack> {
    const members = this.#members.slice(0, count)
    const signIns = new Histogram()
    let refused = 0
    const began = systemClock.monotonic()
    for (const it of members) it.socket?.destroy()
    await Promise.all(
      members.map(async (it, i) => {
        await new Promise<void>((resolve) => void systemClock.after((i * withinMs) / members.length, resolve))
        const from = systemClock.monotonic()
        for (;;) {
          try {
            it.socket = await signIn(it.person, silent)
            break
          } catch {
            refused++
            await new Promise<void>((resolve) => void systemClock.after(1_000, resolve))
          }
        }
        signIns.record((systemClock.monotonic() - from) * 1_000)
      }),
    )
    return { elapsedMs: systemClock.monotonic() - began, signIns: signIns.counts(), refused }
  }

  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets = []
  }

  close(): void {
    for (const { socket } of this.#members) socket?.close()
    this.hangUp()
  }
}
