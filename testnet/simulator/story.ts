// A seed's story: people talk while relays and devices crash, pause and lose their disks, and links break and stall.
import { all } from '#client/rules'
import { limits, type RegionId } from '#protocol'
import type { DeviceNode } from './device-node.ts'
import type { World } from './world.ts'

const SAID_MAX = 48
/** More than a home keeps for one device (TINY_RULES.held). */
const LARGE_BURST = 30

export type Story = {
  readonly lengthMs: number
  /** Once so often a second. */
  readonly rates: Readonly<Record<Act, number>>
  /** What happens to one of the devices. */
  readonly fate: 'usual' | 'destroyed' | 'old copy'
  /** How often a relay crashes at the very moment in which an acknowledgement arrives. */
  readonly atAcknowledgement: number
}

const ACTS = [
  ...(['say', 'burst', 'large', 'cancel', 'read', 'renew', 'crash relay', 'pause relay', 'disk', 'full'] as const),
  ...(['link', 'stall', 'disconnect', 'crash device', 'pause device', 'slow device'] as const),
]
type Act = (typeof ACTS)[number]

export function tellStory(world: World): Story {
  const { random } = world
  const chance = (p: number): boolean => random.fraction() < p
  const some = (p: number, rate: number): number => (chance(p) ? rate * (0.5 + random.fraction()) : 0)
  const fate = chance(0.25) ? 'destroyed' : chance(0.12) ? 'old copy' : 'usual'
  return {
    lengthMs: 1_500 + 3_000 * random.fraction(),
    fate,
    atAcknowledgement: some(0.4, 0.15),
    rates: {
      say: 5 + 6 * random.fraction(),
      burst: some(0.5, 1),
      large: some(0.05, 0.5),
      cancel: some(0.3, 1.5),
      read: some(0.5, 1.5),
      renew: fate === 'usual' ? some(0.4, 0.8) : 0,
      'crash relay': some(0.8, 1),
      'pause relay': some(0.3, 0.5),
      disk: some(0.5, 0.8),
      full: some(0.2, 0.4),
      link: some(0.8, 1.6),
      stall: some(0.3, 0.8),
      disconnect: 1,
      'crash device': some(0.5, 0.8),
      'pause device': some(0.2, 0.6),
      'slow device': some(0.2, 0.8),
    },
  }
}

/** Carries out what the story says happens by chance. */
export class Teller {
  readonly #world: World
  readonly #story: Story
  readonly #downUntil = new Map<RegionId, number>()
  #said = 0
  #lastUntil = 0
  #doomed: DeviceNode | undefined
  #lastKs: ReadonlyMap<string, number> = new Map()

  constructor(world: World, story: Story) {
    this.#world = world
    this.#story = story
    if (story.fate !== 'usual') this.#doomed = this.#pick(world.devices)
    world.onAcknowledged = (device) => this.#acknowledged(device)
  }

  #chance(p: number): boolean {
    return this.#world.random.fraction() < p
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#world.random.fraction() * list.length)]!
  }

  /** What happens in the next `ms`. */
  step(ms: number): void {
    for (const act of ACTS) if (this.#chance((this.#story.rates[act] * ms) / 1_000)) this.#act(act)
    if (this.#story.fate === 'old copy') this.#copy()
    this.reconnect(0.2)
    this.#world.watch()
  }

  #someDevice(): DeviceNode | undefined {
    const alive = this.#world.devices.filter((d) => d.fate === 'alive')
    return alive.length > 0 ? this.#pick(alive) : undefined
  }

  #act(act: Act): void {
    const world = this.#world
    const { random } = world
    const region = this.#pick([...world.relays.keys()])
    const other = this.#pick([...world.relays.keys()])
    const relay = world.relays.get(region)!
    const device = this.#someDevice()
    const some = (ms: number): number => random.fraction() * (this.#chance(0.3) ? ms : ms / 15)
    if (act === 'crash relay' && relay.isUp) this.#crashRelay(region, some(2_500))
    const long = (): number => this.#lasting(50 + some(1_500))
    if (act === 'pause relay') this.#count('relay pause', () => relay.clock.pause(long()))
    if (act === 'link' && region !== other) world.links.down(region, other, some(2_500))
    if (act === 'stall' && region !== other) world.links.stall(region, other, long())
    if (act === 'disk') {
      relay.disk.faults.nextAppend = this.#pick(['failing', 'unknown', 'silent'] as const)
      world.count(`disk ${relay.disk.faults.nextAppend}`)
    }
    if (act === 'full') this.#count('disk full', () => this.#fill(region))
    if (!device) return
    const peer = this.#pick(world.devices.filter((d) => d !== device))
    if (act === 'say') this.#say(device, peer, 1)
    if (act === 'burst') this.#say(device, peer, this.#chance(0.2) ? LARGE_BURST : 8)
    if (act === 'large') void world.say(device, peer, `${++this.#said}`.padEnd(limits.CONTENT_MAX_BYTES + 1, 'x'))
    if (act === 'cancel') world.cancel(device)
    if (act === 'read') world.read(device)
    if (act === 'renew') world.renew(device.person)
    if (act === 'disconnect') this.#count('device disconnect', () => device.disconnect())
    if (act === 'slow device') this.#count('device stall', () => device.stall(long()))
    if (act === 'pause device') this.#count('device pause', () => device.clock.pause(long()))
    if (act === 'crash device') {
      this.#count('device crash', () => device.crash())
      world.trace(`${device.person.name} crashed`)
      device.start()
    }
  }

  /** What goes on after everything has healed, for a while. */
  #lasting(ms: number): number {
    this.#lastUntil = Math.max(this.#lastUntil, this.#world.clock.now() + ms)
    return ms
  }

  get isOver(): boolean {
    return this.#world.clock.now() > this.#lastUntil
  }

  #count(what: string, act: () => void): void {
    this.#world.count(what)
    act()
  }

  #say(from: DeviceNode, to: DeviceNode, count: number): void {
    for (let i = 0; i < count && this.#said < SAID_MAX; i++)
      void this.#world.say(from, to, `${from.person.name}>${to.person.name} ${++this.#said}`)
  }

  #crashRelay(region: RegionId, forMs: number): void {
    this.#world.crashRelay(region)
    this.#downUntil.set(region, this.#world.clock.now() + forMs)
  }

  #fill(region: RegionId): void {
    const { faults, usedBytes } = this.#world.relays.get(region)!.disk
    faults.reserveBytes = this.#chance(0.5) ? 2_000 : 0
    faults.capacityBytes = usedBytes + 3_000 * this.#world.random.fraction()
    this.#world.clock.after(200 + 800 * this.#world.random.fraction(), () => {
      faults.capacityBytes = Number.POSITIVE_INFINITY
    })
  }

  /** What a home has just acknowledged must survive whatever happens in the same moment. */
  #acknowledged(device: DeviceNode): void {
    const world = this.#world
    const dies = device === this.#doomed && this.#story.fate === 'destroyed' && this.#chance(0.15)
    if (!dies && !this.#chance(this.#story.atAcknowledgement)) return
    world.clock.after(0, () => {
      if (dies && device.fate === 'alive') {
        device.destroy()
        world.count('device destroyed')
        world.trace(`${device.person.name} is destroyed`)
      }
      if (dies && this.#chance(0.5)) return
      const region = this.#chance(0.5) ? device.person.region : this.#pick([...world.relays.keys()])
      if (!world.relays.get(region)!.isUp) return
      world.count('relay crash at an acknowledgement')
      this.#crashRelay(region, 300 * world.random.fraction())
    })
  }

  /** The doomed device's profile is copied, goes on, and is put back as it was. */
  #copy(): void {
    const world = this.#world
    const device = this.#doomed!
    if (device.fate === 'gone' || device.unsafe() > 0 || !device.device) return
    const rows = all(device.db, 'conversations').filter(({ lastK }) => lastK > 0)
    if (!device.hasBackup) {
      if (rows.length === 0 || !this.#chance(0.05)) return
      device.backUp()
      this.#lastKs = new Map(rows.map(({ conv, lastK }) => [conv, lastK]))
      return
    }
    const used = rows.filter(({ conv, lastK }) => lastK > (this.#lastKs.get(conv) ?? lastK))
    if (used.length === 0 || !this.#chance(0.05)) return
    world.count('device restored')
    world.trace(`${device.person.name} is an old copy now`)
    device.restore()
    for (const to of world.devices) if (to !== device) void world.say(device, to, 'from an old copy')
  }

  /** What is down comes up when its time has come, or with some probability. */
  reconnect(p: number): void {
    const world = this.#world
    const { relays, clock } = world
    for (const [region, relay] of relays) {
      if (relay.isUp || (this.#downUntil.get(region) ?? 0) > clock.now()) continue
      this.#downUntil.set(region, clock.now() + 200)
      world.trace(`${world.nameOf(region)} starts`)
      void relay.start()
    }
    for (const a of relays.keys()) for (const b of relays.keys()) if (a < b) world.links.up(a, b)
    for (const device of world.devices) if (this.#chance(p)) device.connect()
  }

  /** Nothing is held down any longer. */
  heal(): void {
    const world = this.#world
    this.#downUntil.clear()
    world.onAcknowledged = () => {}
    world.links.heal()
    for (const { disk } of world.relays.values()) {
      disk.faults.nextAppend = 'good'
      disk.faults.capacityBytes = Number.POSITIVE_INFINITY
    }
  }
}
