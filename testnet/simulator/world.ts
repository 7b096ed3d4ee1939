// One simulated network: regions with a relay each, people with a device each, and wires between them. Everything runs
// on one virtual clock and one random, so that a seed is a story that can be told again.
import { hash } from 'node:crypto'
import { all, type DeviceEvent } from '#client/rules'
import {
  type ConvId,
  convIdBytes,
  directConvId,
  directGenesis,
  positionText,
  type Random,
  type RegionId,
  readGenesis,
  SimulatedClock,
  simulatedRandom,
  type UserId,
} from '#protocol'
import { castOf, type SimPerson, type SimRecords, START_MS } from './cast.ts'
import { allCheckers, type Checker, type Final, type Outside, type Told } from './checkers/index.ts'
import { DeviceNode, unreachable } from './device-node.ts'
import { WorldLinks } from './links.ts'
import type { WireFaults } from './network.ts'
import { NodeClock } from './node-clock.ts'
import type { Reach } from './reach.ts'
import { RelayNode, TINY_RULES } from './relay-node.ts'

/** What a relay may still hold when everything has come to rest. */
const AT_REST = { records: 24, conversations: TINY_RULES.conversations, keys: 400 }
/** Of a window: its limit, and one commit's share of every stream. */
const WINDOW_MOST = TINY_RULES.windowItems + 24
/** How wrong the clock of a process may be, ms. */
const SKEW_MS = 240_000
const LINES_FOLDED = 512

export type WorldOptions = {
  readonly seed: number
  /** People in each region. */
  readonly people: (random: Random) => readonly number[]
  readonly trace: ((line: string) => void) | undefined
}

export class World {
  readonly clock = new SimulatedClock(START_MS)
  readonly random: Random
  readonly people: readonly SimPerson[]
  readonly relays = new Map<RegionId, RelayNode>()
  readonly devices: DeviceNode[] = []
  readonly links: WorldLinks
  readonly checkers: readonly Checker[]
  readonly reach: Reach = {}
  readonly failures: string[] = []
  /** Called when a home lets an acknowledgement out, and a device has heard it: the best moment for a crash. */
  onAcknowledged: (device: DeviceNode) => void = () => {}
  readonly #byId: ReadonlyMap<UserId, SimPerson>
  readonly #members = new Map<ConvId, readonly UserId[]>()
  readonly #versions = new Map<UserId, number>()
  readonly #names: ReadonlyMap<string, string>
  readonly #lines: string[] = []
  readonly #trace: ((line: string) => void) | undefined
  #hash = ''

  constructor(options: WorldOptions) {
    this.random = simulatedRandom(options.seed)
    this.#trace = options.trace
    const cast = castOf(options.people(this.random))
    this.people = cast.people
    this.#byId = new Map(cast.people.map((p) => [p.userId, p]))
    this.#names = new Map<string, string>([
      ...cast.people.map((p): [string, string] => [p.userId, p.name]),
      ...cast.regions.map((r): [string, string] => [r.id, r.name]),
    ])
    for (const a of cast.people) {
      for (const b of cast.people) {
        const genesis = a === b ? undefined : readGenesis(directGenesis(a.userId, b.userId))
        if (genesis?.kind === 'direct') this.#members.set(directConvId(a.userId, b.userId), genesis.members)
      }
    }
    const { clock, random, relays } = this
    const nameOf = (id: string): string => this.nameOf(id)
    const trace = (line: string): void => this.trace(line)
    const count = (what: string): void => this.count(what)
    const failed = (what: string): void => void this.failures.push(what)
    this.links = new WorldLinks({
      ...{ clock, random, relays, nameOf, trace, count, failed },
      between: (between) => {
        for (const checker of this.checkers) checker.between(between)
      },
    })
    this.checkers = allCheckers(this.#outside(), AT_REST)
    for (const { id } of cast.regions) this.relays.set(id, this.#relay(id))
    const wires: WireFaults = { latencyMs: [1, 5 + 60 * random.fraction()], duplicate: 0, reorder: 0 }
    for (const person of cast.people) this.devices.push(this.#device(person, wires))
  }

  #clock(): NodeClock {
    return new NodeClock(this.clock, SKEW_MS * (2 * this.random.fraction() - 1))
  }

  #relay(region: RegionId): RelayNode {
    const { links, random } = this
    return new RelayNode({
      region,
      clock: this.#clock(),
      random,
      people: this.#byId,
      refused: (code) => this.count(`refused ${code}`),
      demoted: () => this.count('demoted'),
      failed: (error) => this.#relayFailed(region, error),
      links: {
        send: (from, to, item) => links.send(from, to, item),
        isUp: (from, to) => links.isUp(from, to),
        backlog: (from, to) => links.backlog(from, to),
        close: (from, to, reason) => links.refused(from, to, reason),
      },
    })
  }

  #device(person: SimPerson, faults: WireFaults): DeviceNode {
    const home = this.relays.get(person.region)!
    const device: DeviceNode = new DeviceNode({
      person,
      home,
      clock: this.#clock(),
      random: this.random,
      faults,
      find: (user) => this.#find(home, user),
      events: (event) => this.#observe(device, event),
      told: (told) => this.#told(told),
      sent: (sent) => {
        if (device.fate === 'alive') for (const checker of this.checkers) checker.sent(sent)
      },
      trace: (line) => this.trace(line),
    })
    return device
  }

  #outside(): Outside {
    return {
      nameOf: (id) => this.nameOf(id),
      homeOf: (user) => this.#byId.get(user)!.region,
      membersOf: (conv) => this.#members.get(conv)!,
      bytesOf: (conv) => convIdBytes(conv),
      kept: (region, conv, key) => this.relays.get(region)!.kept.has(`c/${conv} ${key}`),
      cursorOf: (user, conv) => this.deviceOf(user).cursorOf(conv),
      storedTagOf: (user, conv, k) => {
        const slot = this.deviceOf(user).db.get('outbox', [conv, k])
        const hex = (tag: Uint8Array | undefined): string => (tag ? Buffer.from(tag).toString('hex') : '')
        return slot && { tag: hex(slot.tag), skipTag: hex(slot.skipTag) }
      },
    }
  }

  trace(line: string): void {
    const stamped = `${this.clock.monotonic().toFixed(1)} ${line}`
    this.#trace?.(stamped)
    if (this.#lines.push(stamped) >= LINES_FOLDED) this.#fold()
  }

  #fold(): void {
    this.#hash = hash('sha256', `${this.#hash}${this.#lines.join('\n')}`)
    this.#lines.length = 0
  }

  traceHash(): string {
    this.#fold()
    return this.#hash.slice(0, 16)
  }

  count(what: string): void {
    this.reach[what] = (this.reach[what] ?? 0) + 1
  }

  nameOf(id: string): string {
    return this.#names.get(id) ?? '?'
  }

  deviceOf(user: UserId): DeviceNode {
    return this.devices.find((d) => d.person.userId === user)!
  }

  #told(told: Told): void {
    if (told.what !== 'entry') this.count(`verdict ${told.what}`)
    for (const checker of this.checkers) checker.told(told)
  }

  #observe(device: DeviceNode, event: DeviceEvent): void {
    const { name, userId } = device.person
    this.count(event.type === 'state' ? `device ${event.state}` : `device ${event.type}`)
    if (event.type === 'message')
      this.trace(`${name} sees ${positionText(event.message.at)} m${event.message.member} k${event.message.k}`)
    if (event.type === 'state') this.trace(`${name} k${event.k} ${event.state} ${positionText(event.at)} ${event.code}`)
    if (event.type === 'broken') this.failures.push(`${name} broke: ${event.error.stack ?? event.error.message}`)
    const lies = event.type === 'host-lies' || event.type === 'expired'
    if (device.fate === 'gone') return
    if (lies || event.type === 'old-copy') this.failures.push(`${name}: ${JSON.stringify(event)}`)
    for (const checker of this.checkers) checker.observe(userId, event)
    if (event.type === 'state' && (event.state === 'held' || event.state === 'sequenced')) this.onAcknowledged(device)
  }

  #relayFailed(region: RegionId, error: Error): void {
    const expected = /append failed|ENOSPC|another owner/.test(error.message)
    this.trace(`${this.nameOf(region)} failed: ${error.message}`)
    this.count(`relay failed${/ENOSPC/.test(error.message) ? ' for a full disk' : ''}`)
    if (!expected) this.failures.push(`${this.nameOf(region)} failed: ${error.stack ?? error.message}`)
    this.crashRelay(region)
  }

  /** What a home answers about somebody: it asks the other home, or knows something older. */
  #find(home: RelayNode, user: UserId): SimRecords {
    const theirs = this.#byId.get(user)!.region
    const canAsk = theirs === home.region || this.links.isUp(home.region, theirs)
    const found = (canAsk ? this.relays.get(theirs)! : home).recordsOf(user)
    if (!home.isUp || !found) throw unreachable()
    return found
  }

  /** Somebody's manifest is replaced: the home knows at once, the own device and other regions a little later. */
  renew(person: SimPerson): void {
    const version = (this.#versions.get(person.userId) ?? 0) + 1
    const records = person.versions[version]
    if (!records) return
    this.#versions.set(person.userId, version)
    this.trace(`${person.name} has manifest ${version + 1}`)
    this.count('manifest replaced')
    for (const relay of this.relays.values()) {
      const waitMs = relay.region === person.region ? 0 : 1_500 * this.random.fraction()
      this.clock.after(waitMs, () => relay.clock.run(() => relay.learn(person.userId, version)))
    }
    const device = this.deviceOf(person.userId)
    this.clock.after(300 * this.random.fraction(), () => device.learn(records))
  }

  crashRelay(region: RegionId): void {
    const relay = this.relays.get(region)!
    if (relay.isUp) this.count('relay crash')
    for (const other of this.relays.keys()) if (other !== region) this.links.down(region, other, 0)
    relay.crash()
    this.trace(`${this.nameOf(region)} crashed`)
  }

  async say(from: DeviceNode, to: DeviceNode, text: string): Promise<void> {
    const { userId, name } = from.person
    const conv = directConvId(userId, to.person.userId)
    this.trace(`${name} says "${text.slice(0, 40)}"`)
    this.count('said')
    const sent = await from.device
      ?.send(to.person.userId, { kind: 'text', body: new TextEncoder().encode(text) }, undefined)
      .catch(() => undefined)
    if (!sent || from.fate === 'gone') return
    const said = { by: userId, to: to.person.userId, conv, k: sent.k, text }
    for (const checker of this.checkers) checker.said(said)
  }

  cancel(device: DeviceNode): void {
    const slot = all(device.db, 'outbox').find(({ state }) => state !== 'sequenced' && state !== 'done')
    if (!slot || !device.device) return
    this.trace(`${device.person.name} cancels k ${slot.k}`)
    this.count('cancel asked')
    for (const checker of this.checkers) checker.cancelled(device.person.userId, slot.conv, slot.k)
    void device.device.cancel(slot.conv, slot.k).catch(() => undefined)
  }

  read(device: DeviceNode): void {
    for (const { conv, cursor, ownRead } of all(device.db, 'conversations')) {
      if (cursor <= ownRead) continue
      this.count('read asked')
      void device.device?.markRead(conv, cursor).catch(() => undefined)
    }
  }

  final(): Final {
    return {
      devices: this.devices.map(({ person, db, fate, sessions }) => ({
        user: person.userId,
        name: person.name,
        region: person.region,
        fate,
        sessions,
        messages: all(db, 'messages'),
        entries: all(db, 'entries'),
        outbox: all(db, 'outbox'),
        conversations: all(db, 'conversations'),
      })),
      relays: [...this.relays.values()].map((relay) => {
        const memory = relay.inspect()
        return {
          region: relay.region,
          name: this.nameOf(relay.region),
          rows: relay.disk.rows,
          records: relay.disk.records.size,
          memory: memory && {
            conversations: memory.conversations,
            windowItems: [...this.relays.keys()].reduce(
              (sum, other) => sum + (other === relay.region ? 0 : memory.windowItems(other)),
              0,
            ),
            keys: relay.store?.stats().memoryKeys ?? 0,
          },
        }
      }),
    }
  }

  /** Windows stay as small as they are meant to be, at every moment; what a commit gathers comes on top. */
  watch(): void {
    for (const relay of this.relays.values()) {
      const memory = relay.inspect()
      for (const other of memory ? this.relays.keys() : []) {
        if (other === relay.region) continue
        const items = memory!.windowItems(other)
        if (items > WINDOW_MOST) this.failures.push(`${this.nameOf(relay.region)}: ${items} items in a window`)
      }
    }
  }

  violations(): string[] {
    if (this.reach['device restored'] && !this.reach['device old-copy'])
      this.failures.push('an old copy of a profile was put back and not noticed')
    const final = this.final()
    const bad = [...new Set(this.failures)].map((what) => `failure: ${what}`)
    for (const checker of this.checkers) for (const what of checker.check(final)) bad.push(`${checker.id}: ${what}`)
    return [...new Set(bad)]
  }
}
