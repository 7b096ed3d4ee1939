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
  readonly #sockets: LeanWebSocket[] = []

  async signIn(origin: string, count: number): Promise<void> {
    const target = await targetAt(origin)
    this.#members.push(
      ...(await each(count, async () => {
        const person = await registerPerson(target)
        return { person, socket: await signIn(person, silent) }
      })),
    )
  }

  async dial(origin: string, count: number, ca: string | undefined): Promise<void> {
    const url = new URL('/idle', origin.replace(/^http/, 'ws'))
    this.#sockets.push(...(await each(count, () => dialLean(url, 'raw', silent, ca))))
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

  close(): void {
    for (const { socket } of this.#members) socket?.close()
    for (const socket of this.#sockets) socket.close()
  }
}
