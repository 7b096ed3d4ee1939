// The SDK: a profile on disk, connected to its home.
import {
  type Clock,
  type ConvId,
  ensureUserId,
  isRefusalCode,
  limits,
  NOWHERE,
  ParleyError,
  type Position,
  type Random,
  systemClock,
  systemRandom,
  type UserId,
} from '#protocol'
import { readDevice, readHomeRegion, readOwnManifest, readResends } from './account.ts'
import { signalCipher } from './cipher.ts'
import { type Connection, type ConnectionState, keepConnected } from './connection.ts'
import type { Contact } from './contacts.ts'
import { openProfileFile, type ProfileFile } from './db/profile-file.ts'
import { eventsOf } from './event-stream.ts'
import { historyPage } from './history.ts'
import { homeDirectory } from './home-directory.ts'
import { type NewOptions, newProfile, type RecoverOptions, recoveredProfile } from './making.ts'
import { type ParleyEvent, Profile } from './profile.ts'
import { type Move, moveProfile, replaceSelf } from './registration.ts'
import { proofOf, type Remedy, remedyFor } from './remedies.ts'
import { createDevice, type Device } from './rules/device.ts'
import type { DeviceEvent } from './rules/ports.ts'
import { bytesOfText } from './rules/texts.ts'
import { createWaiters, failure, type Stage } from './waiters.ts'

export type Ports = { readonly clock: Clock; readonly random: Random }

/** A message that was accepted: durable on this device, with its k. */
export type Sending = {
  readonly conv: ConvId
  readonly k: number
  /** Rejects when it is cancelled or refused for good, or when the profile is closed before. */
  until(stage: Stage): Promise<Position>
}

const systemPorts: Ports = { clock: systemClock, random: systemRandom }
const BUSY_MS = 250
/** How long a new account waits until others can write to it. */
const STOCK_MS = 10_000

export class Parley extends Profile implements AsyncDisposable {
  readonly #profile: ProfileFile
  readonly #ports: Ports
  readonly #waiters = createWaiters()
  readonly #connection: Connection
  #device: Device
  #closed = false
  /** `owed`: the device has ended, and its home has not taken the new one yet. */
  #replacement: 'none' | 'under way' | 'owed' = 'none'

  private constructor(profile: ProfileFile, ports: Ports) {
    super(profile.db, ports.clock)
    this.#profile = profile
    this.#ports = ports
    this.#connection = this.#makeConnection()
    this.#device = this.#makeDevice()
  }

  /** Makes an account. The recovery phrase exists only for `show` and in the answer: show it once. */
  static async create(
    directory: string,
    options: NewOptions,
    ports: Ports = systemPorts,
  ): Promise<{ parley: Parley; recoveryPhrase: string }> {
    const { profile, result } = await newProfile(directory, options, ports)
    return { parley: await (await Parley.#started(profile, ports)).#stocked(), recoveryPhrase: result }
  }

  /** The account of a recovery phrase, on a new device; older devices stop counting. */
  static async recover(directory: string, options: RecoverOptions, ports: Ports = systemPorts): Promise<Parley> {
    return (await Parley.#started(await recoveredProfile(directory, options, ports), ports)).#stocked()
  }

  /** `no_such_profile`, `wrong_passphrase`, `profile_in_use`. Not connected yet: see `connect`. */
  static async open(
    directory: string,
    options: { readonly passphrase: string },
    ports: Ports = systemPorts,
  ): Promise<Parley> {
    return Parley.#started(await openProfileFile(directory, options.passphrase), ports)
  }

  /** Moves the account of a profile to another home; `gone`: the old one will not answer any more. */
  static async move(directory: string, options: Move, ports: Ports = systemPorts): Promise<Parley> {
    return (await Parley.#started(await moveProfile(directory, options, ports.clock), ports)).#stocked()
  }

  static async #started(profile: ProfileFile, ports: Ports): Promise<Parley> {
    try {
      const parley = new Parley(profile, ports)
      await parley.#device.learn(readOwnManifest(profile.db, ports.clock.now()))
      return parley
    } catch (error) {
      profile[Symbol.dispose]()
      throw error
    }
  }

  /** Nobody can write to an account before its home has prekeys of it. They also go with any later connection. */
  async #stocked(): Promise<this> {
    let stocked = false
    this.once('prekeys-stocked', () => {
      stocked = true
    })
    this.connect()
    await this.until(() => stocked || this.state.is === 'stopped', STOCK_MS).catch(() => undefined)
    return this
  }

  get state(): ConnectionState {
    return this.#connection.state()
  }

  /** Signs in and stays signed in; `connection` events tell how it goes. */
  connect(): void {
    this.#ensureOpen()
    this.#connection.start()
  }

  /** Resolves when signed in; rejects with what stopped it, or after `timeoutMs`. */
  async connected(timeoutMs: number): Promise<void> {
    this.connect()
    await this.until(() => {
      if (this.state.is === 'stopped') throw this.state.error ?? new ParleyError('closing', 'not connected any more')
      return this.state.is === 'connected'
    }, timeoutMs)
  }

  /** Looks again after every event, and at the clock. */
  async until(holds: () => boolean, timeoutMs: number): Promise<void> {
    if (holds()) return
    await new Promise<void>((resolve, reject) => {
      const finish = (act: () => void): void => {
        timer.cancel()
        this.off('event', look)
        act()
      }
      const look = (): void => {
        try {
          if (holds()) finish(resolve)
        } catch (error) {
          finish(() => reject(error))
        }
      }
      const why = this.state.is === 'connecting' ? this.state.error : undefined
      const late = new ParleyError('timeout', why?.message ?? 'it took too long', { waitedMs: `${timeoutMs}` })
      const timer = this.#ports.clock.after(timeoutMs, () => finish(() => reject(late)))
      this.on('event', look)
    })
  }

  /** Resolves when everything that the home had for this device has been taken. */
  async caughtUp(timeoutMs: number): Promise<void> {
    const { clock } = this.#ports
    const until = clock.monotonic() + timeoutMs
    await this.connected(timeoutMs)
    let quietSince = clock.monotonic()
    const busy = (): void => {
      quietSince = clock.monotonic()
    }
    this.on('message', busy)
    try {
      while (clock.monotonic() - quietSince < BUSY_MS || this.#device.status().behind > 0) {
        if (clock.monotonic() > until) throw new ParleyError('timeout', 'the home did not deliver everything in time')
        await new Promise<void>((resolve) => void clock.after(BUSY_MS / 5, resolve))
        if (this.#device.status().behind > 0) busy()
      }
    } finally {
      this.off('message', busy)
    }
  }

  /** Whose id or link this is; `bad_id`, or `bad_argument` for one's own. */
  otherOf(idOrLink: string): UserId {
    const user = ensureUserId(idOrLink.trim().replace(/^parley:/i, ''))
    if (user !== this.userId) return user
    throw new ParleyError('bad_argument', 'this is your own id', { next: 'give the id of somebody else' })
  }

  /** By id or link. `bad_argument` when somebody else has that name. */
  async addContact(idOrLink: string, name: string): Promise<UserId> {
    const user = this.otherOf(idOrLink)
    if (name !== '' && this.contacts().some((it) => it.name === name && it.user !== user)) {
      throw new ParleyError('bad_argument', `another contact is called ${name}`, { next: 'choose another alias' })
    }
    await this.#device.describe(user, { name, accepted: true })
    return user
  }

  /** Asks the home who this is; rejects with `unknown_user`, `unreachable`, `timeout`. */
  async lookUp(user: UserId, timeoutMs: number): Promise<Contact> {
    await this.connected(timeoutMs)
    let refused: ParleyError | undefined
    const failed = (event: { user: UserId; code: string; message: string }): void => {
      if (event.user === user)
        refused = new ParleyError(isRefusalCode(event.code) ? event.code : 'malformed', event.message)
    }
    this.on('look-up-failed', failed)
    try {
      await this.#device.want(user)
      await this.until(() => {
        if (refused) throw refused
        return (this.contact(user)?.devices ?? 0) > 0
      }, timeoutMs)
    } finally {
      this.off('look-up-failed', failed)
    }
    return this.contact(user)!
  }

  markVerified(user: UserId, verified: boolean): Promise<void> {
    return this.#device.describe(user, { verified })
  }

  /**
   * Resolves when the message is durable on this device; the rest is told by `Sending.until` and `state` events.
   * `job`: stored with it, see `job`. `too_large` over 64 KiB.
   */
  async send(
    to: UserId,
    content: string | Uint8Array,
    job?: { readonly name: string; readonly line: number },
  ): Promise<Sending> {
    this.#ensureOpen()
    const kind = typeof content === 'string' ? 'text' : 'data'
    const body = typeof content === 'string' ? bytesOfText(content) : new Uint8Array(content)
    if (body.length > limits.CONTENT_MAX_BYTES) {
      throw new ParleyError('too_large', `a message holds at most ${limits.CONTENT_MAX_BYTES} bytes`, {
        size: `${body.length}`,
      })
    }
    const { conv, k } = await this.#device.send(to, { kind, body }, job)
    return this.sending(conv, k)
  }

  /** What becomes of a message of this device that was accepted earlier. */
  sending(conv: ConvId, k: number): Sending {
    return { conv, k, until: (stage) => this.#until(conv, k, stage) }
  }

  async #until(conv: ConvId, k: number, stage: Stage): Promise<Position> {
    this.#ensureOpen()
    const message = historyPage(this.#profile.db, conv, this.userId).ownOf(k, readDevice(this.#profile.db))
    if (!message) throw new ParleyError('not_found', 'no such message')
    const { status, at, code } = message
    if (status === 'cancelled' || status === 'failed') throw failure(status, code)
    const delivered = this.#profile.db.get('conversations', [conv])?.delivered ?? NOWHERE
    const reached = { waiting: 0, held: 1, unconfirmed: 0, sequenced: at <= delivered ? 3 : 2 }[status]
    if (reached >= { held: 1, sequenced: 2, delivered: 3 }[stage]) return at
    const promise = this.#waiters.wait(conv, k, stage, delivered)
    if (status === 'sequenced') this.#waiters.hear({ type: 'state', conv, k, state: 'sequenced', at, code })
    return promise
  }

  cancel(conv: ConvId, k: number): Promise<boolean> {
    return this.#device.cancel(conv, k)
  }

  async markRead(user: UserId, upTo: Position): Promise<void> {
    await this.#device.markRead(this.conversationWith(user), upTo)
  }

  /** Everything as it happens, until the signal aborts; ends with `overloaded` when it is read far too slowly. */
  events(signal: AbortSignal): AsyncGenerator<ParleyEvent> {
    return eventsOf(this, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** What is not sent yet stays in the profile and goes with the next connection. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    // It has a last word for the home.
    await this.#device.stop()
    this.#connection.stop()
    this.#waiters.endAll(new ParleyError('closing', 'the profile was closed'))
    this.#profile[Symbol.dispose]()
  }

  #ensureOpen(): void {
    if (this.#closed) throw new ParleyError('closing', 'this profile is closed')
  }

  #emit(event: ParleyEvent): void {
    this.#waiters.hear(event as DeviceEvent)
    this.tell(event)
  }

  #makeDevice(): Device {
    const { db } = this.#profile
    const { clock, random } = this.#ports
    const keys = readDevice(db)
    const { userId, number, registrationEpoch, registrationVersion } = keys
    return createDevice({
      self: { userId, device: number, registrationEpoch, registrationVersion },
      ...this.#ports,
      db,
      cipher: signalCipher(db, keys, clock, random),
      directory: homeDirectory(() => this.#connection.session(), clock),
      events: (event) => this.#hear(event),
    })
  }

  #hear(event: DeviceEvent): void {
    if (this.#closed) return
    this.#emit(event)
    if (event.type !== 'broken') return
    const error = new ParleyError('store_damaged', `the profile could not be written: ${event.error.message}`)
    this.#connection.stop(error)
    this.#waiters.endAll(new ParleyError('store_damaged', 'the profile could not be written'))
  }

  #makeConnection(): Connection {
    const { db } = this.#profile
    const { clock } = this.#ports
    return keepConnected({
      ...this.#ports,
      region: () => readHomeRegion(db, clock.now()),
      proof: () => {
        this.#ensureOpen()
        if (this.#replacement !== 'none') throw new ParleyError('old_profile', 'its device has ended')
        return proofOf(db, clock)
      },
      online: (home) => {
        this.#device.online(home)
        // One that ended as an old copy may have found its session gone, and told nobody.
        this.#device.learn(readOwnManifest(db, clock.now())).catch((error: ParleyError) => {
          if (error.code === 'old_profile') home.end(error)
        })
        this.#sayAgain()
      },
      offline: (home) => this.#device.offline(home),
      receive: (home, frame) => this.#device.receive(home, frame),
      changed: (state) => this.#emit({ type: 'connection', state }),
      remedy: (error) =>
        remedyFor(error, db, { clock, replace: () => this.#replace(), learn: (own) => this.#device.learn(own) }),
    })
  }

  /** What was left over when this device took the place of an older one; whoever waits for it goes on waiting. */
  #sayAgain(): void {
    const left = readResends(this.#profile.db)
    if (left.length === 0) return
    this.#device.sayAgain(left).then(
      (sent) => {
        for (const { conv, k, was } of sent) this.#waiters.move(conv, was, k)
      },
      () => undefined,
    )
  }

  async #replace(): Promise<Remedy> {
    if (this.#closed) return 'stop'
    if (this.#replacement === 'under way') return 'later'
    this.#replacement = 'under way'
    try {
      const { db } = this.#profile
      await this.#device.stop()
      if (!(await replaceSelf(db, readHomeRegion(db, this.#ports.clock.now()), this.#ports))) return 'stop'
      this.#device = this.#makeDevice()
      this.#replacement = 'none'
      await this.#device.learn(readOwnManifest(db, this.#ports.clock.now()))
      this.#emit({ type: 'device-replaced' })
      return 'again'
    } finally {
      if (this.#replacement === 'under way') this.#replacement = 'owed'
    }
  }
}
