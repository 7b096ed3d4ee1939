// A device of the SDK with everything it does: libsignal, its encrypted database, its checks.
import { Parley, type ParleyEvent, type Sending } from '#client'
import { ensureUserId, ParleyError, systemClock } from '#protocol'
import { SDK_AHEAD, SDK_STEP_MS } from './limits.ts'
import type { SdkReceived } from './orders.ts'

const TEXT = 'x'.repeat(256)

export class SdkDevice {
  #parley: Parley | undefined
  #profile = ''
  #received = 0
  #firstMs = 0
  #lastMs = 0

  get #open(): Parley {
    if (!this.#parley) throw new ParleyError('bad_argument', 'this device is not open')
    return this.#parley
  }

  #listen(parley: Parley): void {
    this.#parley = parley
    parley.on('event', (event: ParleyEvent) => {
      if (event.type !== 'message' || event.message.mine) return
      this.#lastMs = systemClock.monotonic()
      if (this.#received++ === 0) this.#firstMs = this.#lastMs
    })
  }

  /** Answers with the new account's id. */
  async create(profile: string, passphrase: string, home: string): Promise<string> {
    const { parley } = await Parley.create(profile, { passphrase, home })
    this.#profile = profile
    this.#listen(parley)
    await parley.connected(SDK_STEP_MS)
    return parley.userId
  }

  async meet(user: string): Promise<void> {
    await this.#open.addContact(user, 'other')
    await this.#open.lookUp(ensureUserId(user), SDK_STEP_MS)
  }

  /** Sends so many texts of 256 bytes; answers, when the last has its number, how long it took from the first, ms. */
  async send(user: string, count: number): Promise<number> {
    const to = ensureUserId(user)
    const from = systemClock.monotonic()
    const pending: Promise<Sending>[] = []
    let last: Sending | undefined
    for (let i = 0; i < count; i++) {
      pending.push(this.#open.send(to, TEXT))
      if (pending.length < SDK_AHEAD) continue
      last = (await Promise.all(pending.splice(0))).at(-1)
    }
    last = (await Promise.all(pending)).at(-1) ?? last
    await last?.until('sequenced')
    return systemClock.monotonic() - from
  }

  async close(): Promise<void> {
    await this.#parley?.close()
    this.#parley = undefined
  }

  /** Opens the profile again and takes what has come meanwhile. */
  async receive(passphrase: string, count: number): Promise<SdkReceived> {
    this.#received = 0
    const parley = await Parley.open(this.#profile, { passphrase })
    this.#listen(parley)
    const from = systemClock.monotonic()
    parley.connect()
    await parley.until(() => this.#received >= count, SDK_STEP_MS)
    return { received: this.#received, elapsedMs: this.#lastMs - this.#firstMs, firstMs: this.#firstMs - from }
  }

  async heard(count: number): Promise<void> {
    await this.#open.until(() => this.#received >= count, SDK_STEP_MS)
  }
}
