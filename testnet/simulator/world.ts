// One simulated network: regions with a disk and the processes that own it, people with a device each, and wires between
// them. Everything runs on one virtual clock, and everything that draws lots has a random of its own, from one seed.
import { all, type DeviceEvent } from '#client/rules'
import {
  type ConvId,
  convIdBytes,
  directConvId,
  directGenesis,
  nOf,
  ParleyError,
  type Position,
  positionText,
  type Random,
  type RegionId,
  readGenesis,
  SimulatedClock,
  simulatedRandom,
  type UserId,
} from '#protocol'
import type { Scene } from './acts.ts'
import { type Cast, castOf, type SimPerson, type SimRecords, START_MS } from './cast.ts'
import { allCheckers, type Checker, JUDGED_ITEMS, type Moved, type Outside, type Told } from './checkers/index.ts'
import { DeviceNode, unreachable } from './device-node.ts'
import { Homes } from './homes.ts'
import { WorldLinks } from './links.ts'
import type { WireFaults } from './network.ts'
import { NodeClock } from './node-clock.ts'
import type { Reach } from './reach.ts'
import { SimRegionNodes } from './region.ts'
import type { RelayNode } from './relay-node.ts'
import { finalOf, LIMITS } from './state.ts'
import { seedOf, Trace } from './trace.ts'
import { restore } from './upheavals.ts'

/** How wrong the clock of a process may be, ms. */
const SKEW_MS = 240_000
/** When each other region hears of a new manifest, ms. */
const NEWS_MS = 1_500

const NO_MOVES: readonly Moved[] = []

export type WorldOptions = { readonly scene: Scene; readonly show: ((line: string) => void) | undefined }

export class World {
  readonly clock = new SimulatedClock(START_MS)
  readonly scene: Scene
  readonly cast: Cast
  readonly regions = new Map<RegionId, SimRegionNodes>()
  readonly devices: DeviceNode[] = []
  readonly links: WorldLinks
  readonly checkers: readonly Checker[]
  readonly #reach = new Map<string, { times: number }>()
  readonly trace: Trace
  /** What went wrong outside the checkers, each with when. */
  readonly failures: string[] = []
  /** Called when a device has heard an acknowledgement: the best moment for a crash. */
  onAcknowledged: (device: DeviceNode) => void = () => {}
  readonly homes: Homes
  readonly #deviceOf = new Map<UserId, DeviceNode>()
  readonly #moves = new Map<ConvId, Moved[]>()
  readonly #members = new Map<ConvId, readonly UserId[]>()
  readonly #convs = new Map<UserId, Map<UserId, ConvId>>()
  readonly #names: ReadonlyMap<string, string>

  constructor({ scene, show }: WorldOptions) {
    this.scene = scene
    this.trace = new Trace(this.clock, show)
    this.cast = castOf(scene.counts)
    const people = scene.people.map((index) => this.cast.people[index]!)
    this.homes = new Homes(this.cast.people)
    this.#names = new Map<string, string>(
      [...this.cast.people.map((p) => [p.userId, p.name]), ...this.cast.regions.map((r) => [r.id, r.name])].map(
        ([id, name]) => [id!, name!],
      ),
    )
    const { clock, regions, trace } = this
    this.links = new WorldLinks({
      ...{ clock, regions, trace },
      random: this.random('links'),
      count: (what) => this.count(what),
      failed: (what) => void this.failures.push(what),
      judged: (kind) => JUDGED_ITEMS.has(kind),
      between: (between) => {
        for (const checker of this.checkers) checker.between(between)
      },
    })
    this.checkers = allCheckers(this.#outside(), LIMITS)
    for (const is of this.cast.regions) this.regions.set(is.id, this.#region(is))
    const wires: WireFaults = { latencyMs: [1, 5 + 60 * this.random('wires').fraction()] }
    for (const person of people) this.#addDevice(person, wires)
    for (const region of regions.values()) region.start()
    for (const device of this.devices) device.start()
  }

  random(name: string): Random {
    return simulatedRandom(seedOf(this.scene.seed, name))
  }

  #newClock(name: string): NodeClock {
    return new NodeClock(this.clock, SKEW_MS * (2 * this.random(`skew ${name}`).fraction() - 1))
  }

  #region(is: Cast['regions'][number]): SimRegionNodes {
    return new SimRegionNodes({
      ...{ world: this, is, homes: this.homes },
      random: (name) => this.random(name),
      newClock: (name) => this.#newClock(name),
      links: (node) => this.links.portOf(node),
    })
  }

  #addDevice(person: SimPerson, faults: WireFaults): void {
    const home = this.regions.get(person.region)!
    const { bytes, slowCipher } = this.scene
    const device: DeviceNode = new DeviceNode({
      ...{ person, home, faults, bytes, slowCipher },
      world: this,
      clock: this.#newClock(person.name),
      random: this.random(person.name),
      records: () => this.homes.records(person.userId, this.homes.version(person.userId))!,
      find: (user) => this.#find(device.home, user),
      events: (event) => this.#observe(device, event),
      moved: (moved) => this.#moved(device, moved),
      told: (told) => this.#told(told),
      heard: (told) => {
        if (device.fate === 'alive') for (const checker of this.checkers) checker.heard(told)
      },
      sent: (sent) => {
        if (device.fate === 'alive') for (const checker of this.checkers) checker.sent(sent)
      },
      trace: this.trace,
    })
    this.devices.push(device)
    this.#deviceOf.set(person.userId, device)
  }

  #outside(): Outside {
    return {
      nameOf: (id) => this.nameOf(id),
      homesOf: (user) => this.homes.all(user),
      movesOf: (conv) => this.#moves.get(conv) ?? NO_MOVES,
      membersOf: (conv) => this.membersOf(conv),
      bytesOf: (conv) => convIdBytes(conv),
      kept: (region, conv, key, before) => this.regions.get(region)!.kept.has(conv, key, before),
      // Of whoever is gone nobody knows what it had.
      cursorOf: (user, conv) => {
        const device = this.deviceOf(user)
        return device.fate === 'gone' ? Number.POSITIVE_INFINITY : device.cursorOf(conv)
      },
      slotOf: (user, conv, k) => this.deviceOf(user).db.get('outbox', [conv, k]),
      count: (what) => this.count(what),
    }
  }

  count(what: string): void {
    const known = this.#reach.get(what)
    if (known) known.times++
    else this.#reach.set(what, { times: 1 })
  }

  /** Messages that their devices have written down. */
  get said(): number {
    return this.#reach.get('said')?.times ?? 0
  }

  get reach(): Reach {
    return Object.fromEntries([...this.#reach].map(([what, { times }]) => [what, times]))
  }

  nameOf(id: string): string {
    return this.#names.get(id) ?? '?'
  }

  deviceOf(user: UserId): DeviceNode {
    return this.#deviceOf.get(user)!
  }

  /** Of the person at this place in the cast; undefined for whoever does not take part. */
  deviceAt(index: number): DeviceNode | undefined {
    return this.#deviceOf.get(this.cast.people[index]!.userId)
  }

  regionAt(index: number): SimRegionNodes {
    return this.regions.get(this.cast.regions[index]!.id)!
  }

  membersOf(conv: ConvId): readonly UserId[] {
    return this.#members.get(conv) ?? []
  }

  /** The direct conversation of two people. */
  convOf(a: UserId, b: UserId): ConvId {
    let known = this.#convs.get(a)
    if (!known) {
      known = new Map()
      this.#convs.set(a, known)
    }
    let conv = known.get(b)
    if (!conv) {
      conv = directConvId(a, b)
      known.set(b, conv)
      const genesis = readGenesis(directGenesis(a, b))
      if (genesis.kind === 'direct') this.#members.set(conv, genesis.members)
    }
    return conv
  }

  /** An epoch has one register, whoever tells of it. */
  #moved(device: DeviceNode, moved: Moved): void {
    const { conv, epoch, payload } = moved
    const known = this.#moves.get(conv) ?? []
    this.#moves.set(conv, known)
    const same = known.find((other) => other.epoch === epoch)
    this.count('told of a move')
    if (!same) {
      this.count(nOf(moved.cut as Position) > 0 ? 'moved' : 'moved with nothing')
      known.push(moved)
      known.sort((a, b) => a.epoch - b.epoch)
    } else if (Buffer.compare(same.payload, payload) !== 0)
      this.failures.push(`promise 3: ${device.person.name} is told of another register of epoch ${epoch}`)
  }

  #told(told: Told): void {
    if (told.what !== 'entry') this.count(`verdict ${told.what}`)
    for (const checker of this.checkers) checker.told(told)
  }

  #observe(device: DeviceNode, event: DeviceEvent): void {
    const { trace } = this
    const { name, userId } = device.person
    this.count(event.type === 'state' ? `device ${event.state}` : `device ${event.type}`)
    if (event.type === 'message') {
      const { at, member, k } = event.message
      trace.note('sees', () => `${name} sees ${positionText(at)} m${member} k${k}`, at, member, k)
    }
    if (event.type === 'state') {
      const { k, at, state, code } = event
      trace.note(state, () => `${name} k${k} ${state} ${positionText(at)} ${code}`, k, at)
    }
    if (event.type === 'broken') this.failures.push(`${name} broke: ${event.error.stack ?? event.error.message}`)
    if (event.type === 'host-moved' && event.unconfirmed > 0) this.count('cut off')
    const lies = (event.type === 'host-lies' && !this.#isForgotten(event.conv)) || event.type === 'expired'
    if (device.fate === 'gone') return
    if (lies || event.type === 'old-copy') this.failures.push(`${name}: ${JSON.stringify(event)}`)
    for (const checker of this.checkers) checker.observe(userId, event)
    if (event.type === 'state' && (event.state === 'held' || event.state === 'sequenced')) this.onAcknowledged(device)
  }

  /** Everybody lived in a region that was destroyed: nobody else has what was said, and devices say it again. */
  #isForgotten(conv: ConvId): boolean {
    const users = this.#members.get(conv)!
    return [...this.regions.values()].some(
      ({ is, isGone, isRestored }) =>
        (isGone || isRestored) && users.every((user) => this.homes.all(user).includes(is.id)),
    )
  }

  nodeReady(node: RelayNode): void {
    this.trace.note('ready', () => `${node.name} serves`)
    for (const other of this.regions.keys()) if (other !== node.region) this.links.connectSoon(node.region, other)
  }

  nodeFailed(region: SimRegionNodes, node: RelayNode, error: Error): void {
    if (error instanceof ParleyError && error.code === 'old_backup') {
      this.count('old backup found')
      this.kill(region, node)
      restore(this, region)
      return
    }
    const expected = /append failed|ENOSPC|another owner/.test(error.message)
    this.trace.note('failed', () => `${node.name} failed: ${error.message}`)
    const why = /ENOSPC/.test(error.message) ? ' for a full disk' : /another/.test(error.message) ? ' deposed' : ''
    this.count(`relay failed${why}`)
    if (!expected) this.failures.push(`${node.name} failed: ${error.stack ?? error.message}`)
    this.kill(region, node)
    region.restartSoon()
  }

  /** SIGKILL for one process. */
  kill(region: SimRegionNodes, node: RelayNode): void {
    region.kill(node)
    this.links.nodeDied(node)
  }

  /** All processes of a region die. */
  crash(region: SimRegionNodes, forMs: number): boolean {
    const nodes = [...region.nodes]
    if (nodes.length > 0) this.count('relay crash')
    region.crash(forMs)
    for (const node of nodes) this.links.nodeDied(node)
    this.trace.note('crash', () => `${region.is.name} crashed`)
    return nodes.length > 0
  }

  /** What a home answers about somebody: it asks the other home, or knows something older. */
  #find(home: SimRegionNodes, user: UserId): SimRecords {
    const node = home.serving
    const theirs = this.regions.get(this.homes.of(user))!
    const canAsk = theirs === home || (node && this.links.isUp(node, theirs.is.id))
    const found = (canAsk ? theirs : home).recordsOf(user)
    if (!node || !found) throw unreachable()
    return found
  }

  /** Somebody's manifest is replaced: the home knows at once, the own device and other regions a little later. */
  renew(device: DeviceNode): void {
    const { userId } = device.person
    if (!this.homes.renew(userId)) return
    this.count('manifest replaced')
    const random = this.#spread(device)
    const records = this.homes.records(userId, this.homes.version(userId))!
    this.clock.after(300 * random.fraction(), () => device.learn(records))
  }

  /** The home knows the newest records of somebody at once, other regions a little later; after `most` ms no other one. */
  #spread(device: DeviceNode, most = NEWS_MS): Random {
    const { userId, name } = device.person
    const version = this.homes.version(userId)
    const home = this.homes.of(userId)
    const random = this.random(`news ${name} ${version - 1}`)
    const lived = this.homes.all(userId)
    for (const region of this.regions.values()) {
      const waitMs = region.is.id === home ? 0 : NEWS_MS * random.fraction()
      // Of its own people a region believes itself, not what others say in the directory: it has to be told.
      if (region.is.id !== home && lived.includes(region.is.id)) continue
      if (waitMs < most) this.clock.after(waitMs, () => region.learn(userId, version))
    }
    return random
  }

  /** Somebody's account moves to another region. `gone`: the old home is given up. */
  move(device: DeviceNode, to: SimRegionNodes, gone: boolean): boolean {
    // Nobody registers with a process that answers nothing, or where nothing gets durable.
    if (to === device.home || !to.serving || to.serving.clock.isPaused || to.disk.isSilent) return false
    this.trace.note('moves', () => `${device.person.name} lives in ${to.is.name} from now on`)
    this.settle(device, to, gone)
    return true
  }

  /** In a later generation. */
  settle(device: DeviceNode, to: SimRegionNodes, gone: boolean): void {
    const { userId } = device.person
    this.homes.move(userId, to.is.id, gone)
    to.welcome(userId)
    device.moveTo(to)
    // Most hear of it only when they ask, or are told.
    this.#spread(device, NEWS_MS / 3)
  }

  async say(from: DeviceNode, to: SimPerson, text: string): Promise<void> {
    const { userId, name } = from.person
    const conv = this.convOf(userId, to.userId)
    this.trace.note('says', () => `${name} says "${text.slice(0, 40)}"`)
    const sent = await from.device
      ?.send(to.userId, { kind: 'text', body: new TextEncoder().encode(text) }, undefined)
      .catch(() => undefined)
    if (!sent || from.fate === 'gone') return
    this.count('said')
    const said = { by: userId, to: to.userId, conv, k: sent.k, text }
    for (const checker of this.checkers) checker.said(said)
  }

  cancel(device: DeviceNode): void {
    const slot = all(device.db, 'outbox').find(({ state }) => state !== 'sequenced' && state !== 'done')
    if (!slot || !device.device) return
    this.trace.note('cancels', () => `${device.person.name} cancels k ${slot.k}`, slot.k)
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

  violations(): string[] {
    if (this.#reach.has('disk went back') && !this.#reach.has('old backup found'))
      this.failures.push('a disk went back to an old backup and nobody noticed')
    if (this.#reach.has('device restored') && !this.#reach.has('device old-copy'))
      this.failures.push('an old copy of a profile was put back and not noticed')
    const final = finalOf(this)
    const bad = [...new Set(this.failures)].map((what) => `failure: ${what}`)
    for (const checker of this.checkers) for (const what of checker.check(final)) bad.push(`${checker.id}: ${what}`)
    return [...new Set(bad)]
  }
}
