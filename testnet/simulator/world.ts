// One simulated network: regions with a relay each, people with a device each, wires between them, and the faults of a
// seed. Everything runs on one virtual clock and one random, so that a seed is a story that can be told again.
import { hash } from 'node:crypto'
import { all, type DeviceEvent } from '#client/rules'
import {
  directConvId,
  type ParleyError,
  positionText,
  type Random,
  type RegionId,
  SimulatedClock,
  simulatedRandom,
  type UserId,
} from '#protocol'
import type { Item } from '#relay/rules'
import { castOf, type SimPerson, START_MS } from './cast.ts'
import { allChecks, type Check, type Final, type Said } from './checks.ts'
import { DeviceNode } from './device-node.ts'
import { openWire, type Wire, type WireFaults } from './network.ts'
import { RelayNode, TINY_RULES } from './relay-node.ts'

type Link = { up: boolean; downUntil: number; wires: Map<RegionId, Wire<Item[]>>; queued: Map<RegionId, number> }

export type WorldOptions = {
  readonly seed: number
  readonly regions: number
  readonly people: number
  readonly trace: ((line: string) => void) | undefined
}

/** How often each thing happened: blind spots show as zeros. */
export type Reach = Record<string, number>

export class World {
  readonly clock = new SimulatedClock(START_MS)
  readonly random: Random
  readonly people: readonly SimPerson[]
  readonly relays = new Map<RegionId, RelayNode>()
  readonly devices: DeviceNode[] = []
  readonly checks: Check[] = allChecks()
  readonly reach: Reach = {}
  readonly failures: string[] = []
  readonly said: Said[] = []
  readonly #links = new Map<string, Link>()
  readonly #lines: string[] = []
  readonly #trace: ((line: string) => void) | undefined
  readonly #regionNames = new Map<RegionId, string>()
  #hash = ''
  #faulty = true

  constructor(options: WorldOptions) {
    this.random = simulatedRandom(options.seed)
    this.#trace = options.trace
    const cast = castOf(options.regions, options.people)
    this.people = cast.people
    const byId = new Map(cast.people.map((p) => [p.userId, p]))
    for (const region of cast.regions) {
      this.#regionNames.set(region.id, region.name)
      const node = new RelayNode({
        region: region.id,
        clock: this.clock,
        random: this.random,
        people: byId,
        trace: (what) => this.trace(`${region.name} ${what}`),
        failed: (error) => this.#relayFailed(region.id, error),
        links: {
          send: (from, to, item) => this.#send(from, to, item),
          isUp: (from, to) => this.#link(from, to).up,
          backlog: (from, to) => this.#link(from, to).queued.get(to) ?? 0,
          close: (from, to, reason) => this.#refusedLink(from, to, reason),
        },
      })
      this.relays.set(region.id, node)
    }
    const wires: WireFaults = { latencyMs: [1, 5 + 60 * this.random.fraction()], duplicate: 0, reorder: 0 }
    for (const person of cast.people) {
      const home = this.relays.get(person.region)!
      const events = (event: DeviceEvent): void => this.#observe(person, event)
      this.devices.push(
        new DeviceNode({
          person,
          home,
          clock: this.clock,
          random: this.random,
          people: byId,
          faults: wires,
          events,
          trace: (line) => this.trace(line),
        }),
      )
    }
  }

  trace(line: string): void {
    const stamped = `${this.clock.monotonic().toFixed(1)} ${line}`
    this.#trace?.(stamped)
    this.#lines.push(stamped)
    if (this.#lines.length >= 512) this.#fold()
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

  personOf(user: string): string {
    return this.people.find((p) => p.userId === user)?.name ?? '?'
  }

  nameOf(region: RegionId): string {
    return this.#regionNames.get(region)!
  }

  #observe(person: SimPerson, event: DeviceEvent): void {
    this.count(event.type === 'state' ? `device ${event.state}` : `device ${event.type}`)
    if (event.type === 'message')
      this.trace(`${person.name} sees ${positionText(event.message.at)} m${event.message.member} k${event.message.k}`)
    if (event.type === 'state')
      this.trace(`${person.name} k${event.k} ${event.state} ${positionText(event.at)} ${event.code}`)
    if (event.type === 'broken') this.failures.push(`${person.name} broke: ${event.error.stack ?? event.error.message}`)
    if (event.type === 'host-lies' || event.type === 'old-copy')
      this.failures.push(`${person.name}: ${event.type} ${JSON.stringify(event)}`)
    for (const check of this.checks) check.observe(person.userId, event)
  }

  #relayFailed(region: RegionId, error: Error): void {
    const expected = /append failed|ENOSPC|another owner/.test(error.message)
    this.trace(`${this.nameOf(region)} failed: ${error.message}`)
    if (!expected) this.failures.push(`${this.nameOf(region)} failed: ${error.stack ?? error.message}`)
    this.crashRelay(region)
  }

  // --- links

  #link(a: RegionId, b: RegionId): Link {
    const name = a < b ? `${a} ${b}` : `${b} ${a}`
    let link = this.#links.get(name)
    if (!link) {
      link = { up: false, downUntil: 0, wires: new Map(), queued: new Map() }
      this.#links.set(name, link)
    }
    return link
  }

  #send(from: RegionId, to: RegionId, item: Item): void {
    const link = this.#link(from, to)
    if (!link.up) return
    link.queued.set(to, (link.queued.get(to) ?? 0) + item.body.length)
    link.wires.get(to)!.send([item])
  }

  linkUp(a: RegionId, b: RegionId): void {
    const link = this.#link(a, b)
    const [ra, rb] = [this.relays.get(a)!, this.relays.get(b)!]
    if (link.up || !ra.isUp || !rb.isUp || (this.#faulty && link.downUntil > this.clock.monotonic())) return
    link.up = true
    const faults: WireFaults = {
      latencyMs: [1, 2 + 80 * this.random.fraction()],
      duplicate: this.#faulty ? 0.02 : 0,
      reorder: this.#faulty && this.random.fraction() < 0.5 ? 0.02 : 0,
    }
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      link.queued.set(to, 0)
      link.wires.set(
        to,
        openWire(this.clock, this.random, faults, (items) => this.#deliver(link, from, to, items)),
      )
    }
    this.trace(`link ${this.nameOf(a)}-${this.nameOf(b)} up`)
    this.count('link up')
    ra.relay?.linkUp(b)
    rb.relay?.linkUp(a)
  }

  #deliver(link: Link, from: RegionId, to: RegionId, items: Item[]): void {
    for (const item of items) {
      link.queued.set(to, Math.max(0, (link.queued.get(to) ?? 0) - item.body.length))
      this.count(`item ${item.kind}`)
    }
    this.trace(`${this.nameOf(from)} -> ${this.nameOf(to)} ${items.map((i) => `${i.kind}:${i.body.length}`).join(' ')}`)
    this.relays.get(to)!.relay?.items(from, items)
  }

  linkDown(a: RegionId, b: RegionId, forMs: number): void {
    const link = this.#link(a, b)
    link.downUntil = this.clock.monotonic() + forMs
    if (!link.up) return
    link.up = false
    for (const wire of link.wires.values()) wire.cut()
    this.trace(`link ${this.nameOf(a)}-${this.nameOf(b)} down for ${forMs.toFixed(0)}`)
    this.count('link down')
    this.relays.get(a)!.relay?.linkDown(b)
    this.relays.get(b)!.relay?.linkDown(a)
  }

  /** A relay cut the link because of what the other said: between honest relays only what was lost before excuses it. */
  #refusedLink(from: RegionId, to: RegionId, reason: ParleyError): void {
    this.trace(`${this.nameOf(from)} refuses ${this.nameOf(to)}: ${reason.code} ${reason.message}`)
    this.count(`link refused ${reason.code}`)
    if (reason.code !== 'unknown_conversation')
      this.failures.push(`${this.nameOf(from)} cut ${this.nameOf(to)}: ${reason.code} ${reason.message}`)
    this.linkDown(from, to, 50)
  }

  // --- processes

  async startRelay(region: RegionId): Promise<void> {
    this.trace(`${this.nameOf(region)} starts`)
    await this.relays.get(region)!.start()
  }

  crashRelay(region: RegionId): void {
    const relay = this.relays.get(region)!
    if (relay.isUp) this.count('relay crash')
    for (const other of this.relays.keys()) if (other !== region) this.linkDown(region, other, 0)
    relay.crash()
    this.trace(`${this.nameOf(region)} crashed`)
  }

  /** Everything heals: no fault happens from here on. */
  heal(): void {
    this.#faulty = false
  }

  async say(from: DeviceNode, to: DeviceNode, text: string): Promise<void> {
    const conv = directConvId(from.person.userId, to.person.userId)
    this.trace(`${from.person.name} says "${text}"`)
    this.count('said')
    const sent = await from.device
      ?.send(to.person.userId, { kind: 'text', body: new TextEncoder().encode(text) }, undefined)
      .catch(() => undefined)
    if (!sent) return
    const said: Said = { by: from.person.userId, to: to.person.userId, conv, k: sent.k, text }
    this.said.push(said)
    for (const check of this.checks) check.said(said)
  }

  // --- what is left

  final(): Final {
    const undrained: string[] = []
    for (const [region, relay] of this.relays) {
      for (const [partition, rows] of relay.disk.rows) {
        if (partition.startsWith('i/'))
          for (const [key, row] of rows)
            undrained.push(
              `${this.nameOf(region)}: inbox row ${this.personOf(partition.slice(2))} ${key.slice(0, 16)} ${Buffer.from(row).toString('hex')}`,
            )
        if (partition.startsWith('f/'))
          for (const key of rows.keys())
            if (key !== '!')
              undrained.push(
                `${this.nameOf(region)}: lag row to ${this.nameOf(partition.slice(2) as RegionId)} ${key.slice(60)}`,
              )
        if (partition.startsWith('c/')) {
          for (const key of rows.keys()) {
            if (key[0] === 'e')
              undrained.push(
                `${this.nameOf(region)}: entry ${Number.parseInt(key.slice(7), 16)} of ${partition.slice(2, 14)} is kept`,
              )
            if (key[0] === 'r')
              undrained.push(`${this.nameOf(region)}: held submission ${key.slice(-8)} of ${partition.slice(2, 14)}`)
          }
        }
      }
    }
    const devices = this.devices.map(({ person, db }) => ({
      user: person.userId,
      name: person.name,
      messages: all(db, 'messages'),
      entries: all(db, 'entries'),
      outbox: all(db, 'outbox'),
      cursors: new Map(all(db, 'conversations').map((c) => [c.conv, c.cursor])),
    }))
    return { devices, undrained }
  }

  violations(): string[] {
    const final = this.final()
    const bad = [...new Set(this.failures)]
    for (const check of this.checks) for (const what of check.check(final)) bad.push(`${check.id}: ${what}`)
    return bad
  }

  get tickMs(): number {
    return TINY_RULES.tickMs
  }

  userOf(device: DeviceNode): UserId {
    return device.person.userId
  }
}
