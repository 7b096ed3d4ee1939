// What a profile says about itself, read from its database; nothing here needs a connection.
import { EventEmitter } from 'node:events'
import {
  type Clock,
  type ConvId,
  directConvId,
  ensureUserId,
  NOWHERE,
  ParleyError,
  type Position,
  type UserId,
} from '#protocol'
import { readDevice, readHomeRegion, readOwnManifest } from './account.ts'
import type { ConnectionState } from './connection.ts'
import { type Contact, contactOf, listContacts } from './contacts.ts'
import { historyPage } from './history.ts'
import { READER_LEFT_MAX } from './limits.ts'
import { authorText } from './rules/conversation.ts'
import type { DeviceEvent, Message } from './rules/ports.ts'
import type { DeviceDb } from './rules/schema.ts'

const PAGE_DEFAULT = 50
const PLACE_BYTES = 8

export type ParleyEvent =
  | DeviceEvent
  | { readonly type: 'connection'; readonly state: ConnectionState }
  /** This profile was an old copy; it goes on as a new device. */
  | { readonly type: 'device-replaced' }

export type ParleyEvents = { [T in ParleyEvent['type']]: [ParleyEvent & { type: T }] } & { event: [ParleyEvent] }

export class Profile extends EventEmitter<ParleyEvents> {
  readonly #db: DeviceDb
  readonly #clock: Clock

  constructor(db: DeviceDb, clock: Clock) {
    super()
    this.setMaxListeners(0)
    this.#db = db
    this.#clock = clock
  }

  get userId(): UserId {
    return readDevice(this.#db).userId
  }

  /** What others need to write to this person. */
  get link(): string {
    return `parley:${this.userId}`
  }

  get device(): { readonly number: number; readonly registration: string } {
    const { number, registrationEpoch, registrationVersion } = readDevice(this.#db)
    return { number, registration: `${registrationEpoch}.${registrationVersion}` }
  }

  get homeRegion(): { readonly regionId: string; readonly name: string } {
    const { homeRegion } = readOwnManifest(this.#db, this.#clock.now())
    return { regionId: homeRegion, name: readHomeRegion(this.#db, this.#clock.now()).name }
  }

  contacts(): Contact[] {
    return listContacts(this.#db, this.userId)
  }

  contact(user: UserId): Contact | undefined {
    return contactOf(this.#db, user)
  }

  /** `who`: an id, a link, or a name among the contacts. Throws `bad_id` or `not_found`. */
  resolve(who: string): UserId {
    const text = who.trim().replace(/^parley:/i, '')
    const named = this.contacts().filter(({ name }) => name !== '' && name === who.trim())
    if (named.length === 1) return named[0]!.user
    if (named.length > 1)
      throw new ParleyError('bad_argument', `several contacts are called ${who.trim()}: give the id`)
    if (!/^parley1/i.test(text))
      throw new ParleyError('not_found', `no contact is called ${who.trim()}`, {
        next: 'see `parley contact list`, or give the id',
      })
    return ensureUserId(text)
  }

  /** How far a job came: its last line that was accepted, with its k. */
  job(name: string): { readonly line: number; readonly k: number; readonly conv: ConvId } | undefined {
    return this.#db.get('jobs', [name])
  }

  /** Messages with one person, ascending; the newest page first. `before`: the first message of the page after it. */
  history(user: UserId, options: { readonly before?: Position; readonly limit?: number } = {}): Message[] {
    return historyPage(this.#db, this.conversationWith(user), this.userId).page(
      options.before,
      options.limit ?? PAGE_DEFAULT,
    )
  }

  /** Messages with one person that have a number beyond `after`, ascending. */
  messagesAfter(user: UserId, after: Position, limit: number): Message[] {
    return historyPage(this.#db, this.conversationWith(user), this.userId).after(after, limit)
  }

  /** Places with one person, beyond `after` and up to `upTo`, of what they said and cannot be read yet; ascending. */
  unreadBetween(user: UserId, after: Position, upTo: Position): Position[] {
    return historyPage(this.#db, this.conversationWith(user), this.userId).unread(after, upTo)
  }

  /** The log as it came: headers, ascending; anybody can compute the heads from them. */
  headers(user: UserId): Uint8Array[] {
    return historyPage(this.#db, this.conversationWith(user), this.userId).headers()
  }

  conversationWith(user: UserId): ConvId {
    return directConvId(this.userId, user)
  }

  /** How far the other side has everything, how far they have read, how far this person has. */
  marks(user: UserId): { readonly delivered: Position; readonly peerRead: Position; readonly ownRead: Position } {
    const row = this.#db.get('conversations', [this.conversationWith(user)])
    return {
      delivered: row?.delivered ?? NOWHERE,
      peerRead: row?.peerRead ?? NOWHERE,
      ownRead: row?.ownRead ?? NOWHERE,
    }
  }

  /** Where a named reader of this profile stands in a conversation; durable. */
  readerAt(reader: string, user: UserId): Position {
    return this.#readerPlaces(reader, user)[0] ?? NOWHERE
  }

  /** Places that the reader came past although nothing could be read there yet. */
  readerLeft(reader: string, user: UserId): Position[] {
    return this.#readerPlaces(reader, user).slice(1)
  }

  /** Of `left`, ascending, the newest `READER_LEFT_MAX` are kept. */
  moveReader(reader: string, user: UserId, at: Position, left: readonly Position[] = []): void {
    const places = [at, ...left.slice(-READER_LEFT_MAX)]
    const value = Buffer.alloc(places.length * PLACE_BYTES)
    for (const [i, place] of places.entries()) value.writeBigUInt64BE(BigInt(place), i * PLACE_BYTES)
    this.#db.transaction((tx) => tx.put('self', { name: `reader ${reader} ${user}`, value: new Uint8Array(value) }))
  }

  /** The first is where it stands. */
  #readerPlaces(reader: string, user: UserId): Position[] {
    const bytes = Buffer.from(this.#db.get('self', [`reader ${reader} ${user}`])?.value ?? [])
    const count = Math.floor(bytes.length / PLACE_BYTES)
    return Array.from({ length: count }, (_, i) => Number(bytes.readBigUInt64BE(i * PLACE_BYTES)) as Position)
  }

  /** A message that came past a reader, lost its place when the host moved, and has another one now. */
  wasRead({ conv, member, device, k }: Message): boolean {
    return this.#db.get('voided', [conv, authorText(member, device), k])?.wasRead === true
  }

  /** To those who listen for its type, and to those who listen for every `event`. */
  protected tell(event: ParleyEvent): void {
    const told = this as unknown as { emit(name: string, event: ParleyEvent): boolean }
    told.emit(event.type, event)
    told.emit('event', event)
  }
}
