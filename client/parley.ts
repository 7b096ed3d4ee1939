// The SDK: a profile on disk, connected to its home.
import { EventEmitter, on } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Clock,
  type ConvId,
  compareVersions,
  directConvId,
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
import { deviceSigningKey } from '#crypto'
import {
  putRegion,
  raiseCounter,
  readBootstraps,
  readDevice,
  readHomeRegion,
  readOwnManifest,
  readResends,
} from './account.ts'
import { signalCipher } from './cipher.ts'
import { type Contact, contactOf, listContacts } from './contacts.ts'
import { type Connection, type ConnectionState, keepConnected } from './connection.ts'
import { createProfileFile, openProfileFile, type ProfileFile } from './db/profile-file.ts'
import { historyPage } from './history.ts'
import { homeDirectory } from './home-directory.ts'
import { readPending, registerAgain, registerNew, registerOnceMore, replaceSelf, type Where } from './registration.ts'
import { refreshRegion } from './regions.ts'
import { createDevice, type Device } from './rules/device.ts'
import type { DeviceEvent, Message } from './rules/ports.ts'
import { createWaiters, failure, type Stage } from './waiters.ts'

export type ParleyEvent =
  | DeviceEvent
  | { readonly type: 'connection'; readonly state: ConnectionState }
  /** This profile was an old copy; it goes on as a new device. */
  | { readonly type: 'device-replaced' }

export type ParleyEvents = { [T in ParleyEvent['type']]: [ParleyEvent & { type: T }] } & { event: [ParleyEvent] }

export type Ports = { readonly clock: Clock; readonly random: Random }

export type CreateOptions = {
  readonly passphrase: string
  /** Origin of the region that becomes home; without it the fastest that a bootstrap node lists. */
  readonly home?: string
  readonly bootstraps?: readonly string[]
}

/** A message that was accepted: durable on this device, with its k. */
export type Sending = {
  readonly conv: ConvId
  readonly k: number
  /** Rejects when it is cancelled or refused for good, or when the profile is closed before. */
  until(stage: Stage): Promise<Position>
}

const systemPorts: Ports = { clock: systemClock, random: systemRandom }
const BUSY_MS = 250

function whereOf({ home, bootstraps }: CreateOptions): Where {
  return { home, bootstraps: bootstraps ?? [] }
}

async function makeProfile<T>(
  directory: string,
  passphrase: string,
  register: (profile: ProfileFile) => Promise<T>,
): Promise<{ profile: ProfileFile; result: T }> {
  const profile = await createProfileFile(directory, passphrase)
  try {
    return { profile, result: await register(profile) }
  } catch (error) {
    profile[Symbol.dispose]()
    for (const file of ['profile.json', 'profile.db', 'profile.db-wal', 'profile.db-shm']) {
      await rm(join(directory, file), { force: true })
    }
    throw error
  }
}

export class Parley extends EventEmitter<ParleyEvents> implements AsyncDisposable {
  readonly #profile: ProfileFile
  readonly #ports: Ports
  readonly #waiters = createWaiters()
  readonly #connection: Connection
  #device: Device
  #closed = false
  #replacing = false

  private constructor(profile: ProfileFile, ports: Ports) {
    super()
    this.setMaxListeners(0)
    this.#profile = profile
    this.#ports = ports
    this.#connection = this.#makeConnection()
    this.#device = this.#makeDevice()
  }

  /** Makes an account. The recovery phrase exists only in the answer: show it once. */
  static async create(
    directory: string,
    options: CreateOptions,
    ports: Ports = systemPorts,
  ): Promise<{ parley: Parley; recoveryPhrase: string }> {
    const { profile, result } = await makeProfile(directory, options.passphrase, ({ db }) =>
      registerNew(db, whereOf(options), ports),
    )
    return { parley: await Parley.#started(profile, ports), recoveryPhrase: result }
  }

  /** The account of a recovery phrase, on a new device; older devices stop counting. */
  static async recover(
    directory: string,
    options: CreateOptions & { readonly recoveryPhrase: string },
    ports: Ports = systemPorts,
  ): Promise<Parley> {
    const { profile } = await makeProfile(directory, options.passphrase, ({ db }) =>
      registerAgain(db, whereOf(options), options.recoveryPhrase, ports),
    )
    return Parley.#started(profile, ports)
  }

  /** `no_such_profile`, `wrong_passphrase`, `profile_in_use`. Not connected yet: see `connect`. */
  static async open(directory: string, options: { readonly passphrase: string }, ports: Ports = systemPorts): Promise<Parley> {
    return Parley.#started(await openProfileFile(directory, options.passphrase), ports)
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

  get userId(): UserId {
    return readDevice(this.#profile.db).userId
  }

  /** What others need to write to this person. */
  get link(): string {
    return `parley:${this.userId}`
  }

  get device(): { readonly number: number; readonly registration: string } {
    const { number, registrationEpoch, registrationVersion } = readDevice(this.#profile.db)
    return { number, registration: `${registrationEpoch}.${registrationVersion}` }
  }

  get homeRegion(): { readonly regionId: string; readonly name: string } {
    const { homeRegion } = readOwnManifest(this.#profile.db, this.#ports.clock.now())
    return { regionId: homeRegion, name: readHomeRegion(this.#profile.db, this.#ports.clock.now()).name }
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
    const { clock } = this.#ports
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
      const timer = clock.after(timeoutMs, () => finish(() => reject(late)))
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
        await new Promise<void>((resolve) => void setTimeout(resolve, BUSY_MS / 5))
        if (this.#device.status().behind > 0) busy()
      }
    } finally {
      this.off('message', busy)
    }
  }

  contacts(): Contact[] {
    return listContacts(this.#profile.db, this.userId)
  }

  contact(user: UserId): Contact | undefined {
    return contactOf(this.#profile.db, user)
  }

  /** `who`: an id, a link, or a name among the contacts. Throws `bad_id` or `not_found`. */
  resolve(who: string): UserId {
    const text = who.trim().replace(/^parley:/i, '')
    const named = this.contacts().filter(({ name }) => name !== '' && name === who.trim())
    if (named.length === 1) return named[0]!.user
    if (named.length > 1) throw new ParleyError('bad_argument', `several contacts are called ${who.trim()}: give the id`)
    if (!/^parley1/i.test(text)) throw new ParleyError('not_found', `no contact is called ${who.trim()}`)
    return ensureUserId(text)
  }

  /** By id or link; looks the person up when connected. */
  async addContact(idOrLink: string, name: string): Promise<UserId> {
    const user = ensureUserId(idOrLink.trim().replace(/^parley:/i, ''))
    if (user === this.userId) throw new ParleyError('bad_argument', 'this is your own id')
    await this.#device.describe(user, { name, accepted: true })
    return user
  }

  /** Asks the home who this is; rejects with `unknown_user`, `unreachable`, `timeout`. */
  async lookUp(user: UserId, timeoutMs: number): Promise<Contact> {
    await this.connected(timeoutMs)
    let refused: ParleyError | undefined
    const failed = (event: { user: UserId; code: string; message: string }): void => {
      if (event.user === user) refused = new ParleyError(isRefusalCode(event.code) ? event.code : 'malformed', event.message)
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
    const body = new Uint8Array(typeof content === 'string' ? Buffer.from(content) : content)
    if (body.length > limits.CONTENT_MAX_BYTES) {
      throw new ParleyError('too_large', `a message holds at most ${limits.CONTENT_MAX_BYTES} bytes`, { size: `${body.length}` })
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
    const reached = { waiting: 0, held: 1, sequenced: at <= delivered ? 3 : 2 }[status]
    if (reached >= { held: 1, sequenced: 2, delivered: 3 }[stage]) return at
    const promise = this.#waiters.wait(conv, k, stage)
    if (status === 'sequenced') this.#waiters.hear({ type: 'state', conv, k, state: 'sequenced', at, code })
    return promise
  }

  cancel(conv: ConvId, k: number): Promise<boolean> {
    return this.#device.cancel(conv, k)
  }

  /** How far a job came: its last line that was accepted, with its k. */
  job(name: string): { readonly line: number; readonly k: number; readonly conv: ConvId } | undefined {
    return this.#profile.db.get('jobs', [name])
  }

  /** Messages with one person, ascending; the newest page first. `before`: the first message of the page after it. */
  history(user: UserId, options: { readonly before?: Position; readonly limit?: number } = {}): Message[] {
    return historyPage(this.#profile.db, this.conversationWith(user), this.userId).page(options.before, options.limit ?? 50)
  }

  /** Messages with one person that have a number beyond `after`, ascending. */
  messagesAfter(user: UserId, after: Position, limit: number): Message[] {
    return historyPage(this.#profile.db, this.conversationWith(user), this.userId).after(after, limit)
  }

  /** The log as it came: headers, ascending; anybody can compute the heads from them. */
  headers(user: UserId): Uint8Array[] {
    return historyPage(this.#profile.db, this.conversationWith(user), this.userId).headers()
  }

  conversationWith(user: UserId): ConvId {
    return directConvId(this.userId, user)
  }

  /** How far the other side has everything, how far they have read, how far this person has. */
  marks(user: UserId): { readonly delivered: Position; readonly peerRead: Position; readonly ownRead: Position } {
    const row = this.#profile.db.get('conversations', [this.conversationWith(user)])
    return { delivered: row?.delivered ?? NOWHERE, peerRead: row?.peerRead ?? NOWHERE, ownRead: row?.ownRead ?? NOWHERE }
  }

  async markRead(user: UserId, upTo: Position): Promise<void> {
    await this.#device.markRead(this.conversationWith(user), upTo)
  }

  /** Where a named reader of this profile stands in a conversation; durable. */
  readerAt(reader: string, user: UserId): Position {
    const value = this.#profile.db.get('self', [`reader ${reader} ${user}`])?.value
    return value ? (Number(Buffer.from(value).readBigUInt64BE()) as Position) : NOWHERE
  }

  moveReader(reader: string, user: UserId, at: Position): void {
    const value = Buffer.alloc(8)
    value.writeBigUInt64BE(BigInt(at))
    this.#profile.db.transaction((tx) => tx.put('self', { name: `reader ${reader} ${user}`, value: new Uint8Array(value) }))
  }

  /** Everything as it happens, until the signal aborts. */
  async *events(signal?: AbortSignal): AsyncGenerator<ParleyEvent> {
    for await (const [event] of on(this, 'event', { signal })) yield event as ParleyEvent
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** What is not sent yet stays in the profile and goes with the next connection. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#connection.stop()
    await this.#device.stop()
    this.#waiters.endAll(new ParleyError('closing', 'the profile was closed'))
    this.#profile[Symbol.dispose]()
  }

  #ensureOpen(): void {
    if (this.#closed) throw new ParleyError('closing', 'this profile is closed')
  }

  #emit(event: ParleyEvent): void {
    this.#waiters.hear(event as DeviceEvent)
    const emitter: EventEmitter = this
    emitter.emit(event.type, event)
    emitter.emit('event', event)
  }

  #makeDevice(): Device {
    const { db } = this.#profile
    const { clock, random } = this.#ports
    const keys = readDevice(db)
    const { userId, number, registrationEpoch, registrationVersion } = keys
    return createDevice({
      self: { userId, device: number, registrationEpoch, registrationVersion },
      clock,
      random,
      db,
      cipher: signalCipher(db, keys, clock, random),
      directory: homeDirectory(() => this.#connection.session(), clock),
      events: (event) => this.#hear(event),
    })
  }

  #hear(event: DeviceEvent): void {
    if (this.#closed) return
    this.#emit(event)
    if (event.type === 'broken') {
      this.#connection.stop(new ParleyError('store_damaged', `the profile could not be written: ${event.error.message}`))
      this.#waiters.endAll(new ParleyError('store_damaged', 'the profile could not be written'))
    }
  }

  #makeConnection(): Connection {
    const { db } = this.#profile
    const { clock, random } = this.#ports
    return keepConnected({
      clock,
      random,
      region: () => readHomeRegion(db, clock.now()),
      proof: () => {
        const keys = readDevice(db)
        const manifest = readOwnManifest(db, clock.now())
        const { userId, number, registrationEpoch, registrationVersion } = keys
        return {
          userId,
          device: { device: number, registrationEpoch, registrationVersion },
          deviceKey: deviceSigningKey(keys),
          sessionCounter: raiseCounter(db),
          manifestHash: manifest.hash,
          manifest: undefined,
          rootEpochFloor: readHomeRegion(db, clock.now()).rootEpoch,
        }
      },
      online: (home) => {
        this.#device.online(home)
        const resends = readResends(db)
        if (resends.length > 0) {
          const items = resends.map(({ to, kind, body }) => ({ to, content: { kind, body } }))
          void this.#device.sendAll(items, 'resend').catch(() => undefined)
        }
      },
      offline: (home) => this.#device.offline(home),
      receive: (home, frame) => this.#device.receive(home, frame),
      changed: (state) => this.#emit({ type: 'connection', state }),
      remedy: (error) => this.#remedy(error),
    })
  }

  async #remedy(error: ParleyError): Promise<'again' | 'later' | 'stop'> {
    const { db } = this.#profile
    const region = readHomeRegion(db, this.#ports.clock.now())
    if (this.#closed) return 'stop'
    switch (error.code) {
      case 'old_profile':
        return this.#replace()
      case 'unsigned_device':
        return readPending(db) ? this.#replace() : 'stop'
      case 'unknown_user':
      case 'stale_manifest':
        await registerOnceMore(db, region, this.#ports.clock)
        return 'again'
      case 'too_old':
      case 'bad_signature':
      case 'not_granted':
      case 'conflict':
        return 'stop'
      default:
        await this.#refreshRegion()
        return 'later'
    }
  }

  async #refreshRegion(): Promise<void> {
    const { db } = this.#profile
    const { clock } = this.#ports
    const known = readHomeRegion(db, clock.now())
    const newer = await refreshRegion(known, readBootstraps(db), clock)
    if (newer && !this.#closed && compareVersions(newer, known) > 0) db.transaction((tx) => putRegion(tx, newer))
  }

  async #replace(): Promise<'again' | 'later' | 'stop'> {
    if (this.#replacing) return 'later'
    this.#replacing = true
    try {
      const { db } = this.#profile
      await this.#device.stop()
      const region = readHomeRegion(db, this.#ports.clock.now())
      if (!(await replaceSelf(db, region, this.#ports))) return 'stop'
      this.#device = this.#makeDevice()
      await this.#device.learn(readOwnManifest(db, this.#ports.clock.now()))
      this.#emit({ type: 'device-replaced' })
      return 'again'
    } finally {
      this.#replacing = false
    }
  }
}
