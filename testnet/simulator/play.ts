// Carries the acts of a scene out, each at its time. What an act does is counted if it found something to do it to.
import { all } from '#client/rules'
import { limits } from '#protocol'
import { type Act, type Deed, inWords, isFault, type Names } from './acts.ts'
import type { DeviceNode } from './device-node.ts'
import type { SimRegionNodes } from './region.ts'
import type { World } from './world.ts'

type Doom = { readonly by: DeviceNode; readonly hit: () => void }

export class Player {
  readonly #world: World
  readonly #names: Names
  #dooms: Doom[] = []
  #lastUntil = 0
  #said = 0
  readonly #lastKs = new Map<DeviceNode, ReadonlyMap<string, number>>()
  /** Faults that found something to break. */
  faults = 0

  constructor(world: World) {
    this.#world = world
    this.#names = {
      person: (index) => world.cast.people[index]!.name,
      region: (index) => world.cast.regions[index]!.name,
    }
    world.onAcknowledged = (device) => this.#acknowledged(device)
  }

  get names(): Names {
    return this.#names
  }

  /** Everything that was begun has ended. */
  get isOver(): boolean {
    return this.#world.clock.now() > this.#lastUntil
  }

  schedule(acts: readonly Act[]): void {
    for (const act of acts) this.#world.clock.after(act.at, () => this.#play(act))
  }

  #play(act: Act): void {
    const { trace } = this.#world
    trace.note(act.what, () => `* ${inWords(act, this.#names)}`)
    if (this.#do(act)) this.#hit(act)
  }

  #hit(act: Act): void {
    this.#world.count(`act ${act.what}${act.what === 'disk' ? ` ${act.way}` : ''}`)
    if (isFault(act)) this.faults++
  }

  /** What goes on after everything has healed, for a while. */
  #lasting(ms: number): number {
    this.#lastUntil = Math.max(this.#lastUntil, this.#world.clock.now() + ms)
    return ms
  }

  #device(index: number): DeviceNode | undefined {
    const device = this.#world.deviceAt(index)
    return device?.fate === 'alive' ? device : undefined
  }

  #do(act: Act): boolean {
    if ('region' in act && act.region !== undefined && !('by' in act)) return this.#toRegion(act)
    if (act.what === 'clock jump') return this.#jump(act)
    if (act.what === 'halves' || act.what === 'ring' || act.what === 'swizzle') return this.#toLinks(act)
    const device = 'by' in act && act.by !== undefined ? this.#device(act.by) : undefined
    return device !== undefined && this.#toDevice(act, device)
  }

  #toDevice(act: Act, device: DeviceNode): boolean {
    const world = this.#world
    switch (act.what) {
      case 'say':
        return this.#say(device, act.to, act.count, act.large === true)
      case 'cancel':
        world.cancel(device)
        return true
      case 'read':
        world.read(device)
        return true
      case 'renew':
        world.renew(device)
        return true
      case 'move':
        return world.move(device, world.regionAt(act.to), false)
      case 'disconnect': {
        const { isOnline } = device
        device.disconnect()
        return isOnline
      }
      case 'crash device':
        device.crash()
        device.start()
        return true
      case 'slow device':
        device.stall(this.#lasting(act.ms))
        return device.isOnline
      case 'pause device':
        device.clock.pause(this.#lasting(act.ms))
        return true
      case 'back up':
        return this.#backUp(device)
      case 'restore':
        return this.#restore(act, device)
      default:
        return this.#doom(act, device)
    }
  }

  #say(from: DeviceNode, to: number, count: number, large: boolean): boolean {
    const person = this.#world.cast.people[to]!
    for (let i = 0; i < count; i++) {
      const text = `${from.person.name}>${person.name} ${++this.#said}`
      void this.#world.say(from, person, large ? text.padEnd(limits.CONTENT_MAX_BYTES + 1, 'x') : text)
    }
    return from.device !== undefined
  }

  #doom(act: Act, by: DeviceNode): boolean {
    const world = this.#world
    if (act.what === 'crash at an acknowledgement') {
      const region = world.regionAt(act.region)
      this.#dooms.push({
        by,
        hit: () => {
          if (world.crash(region, act.ms)) this.#hit(act)
        },
      })
    }
    if (act.what === 'destroy at an acknowledgement') {
      this.#dooms.push({
        by,
        hit: () => {
          if (by.fate === 'gone') return
          by.destroy()
          this.#hit(act)
          if (act.region !== undefined) world.crash(world.regionAt(act.region), 300)
        },
      })
    }
    return false
  }

  /** What a home has just acknowledged must survive whatever happens in the same moment. */
  #acknowledged(device: DeviceNode): void {
    const hits = this.#dooms.filter(({ by }) => by === device)
    if (hits.length === 0) return
    this.#dooms = this.#dooms.filter(({ by }) => by !== device)
    for (const { hit } of hits) this.#world.clock.after(0, hit)
  }

  #backUp(device: DeviceNode): boolean {
    const rows = all(device.db, 'conversations').filter(({ lastK }) => lastK > 0)
    if (rows.length === 0 || device.unsafe() > 0) return false
    device.backUp()
    this.#lastKs.set(device, new Map(rows.map(({ conv, lastK }) => [conv, lastK])))
    return true
  }

  /** Only when the profile has gone on since: then its k are used, and the old copy has to notice. */
  #restore(act: Deed, device: DeviceNode): boolean {
    const world = this.#world
    const before = this.#lastKs.get(device)
    const used = all(device.db, 'conversations').some(({ conv, lastK }) => lastK > (before?.get(conv) ?? lastK))
    if (!before || !used || device.unsafe() > 0 || act.what !== 'restore') return false
    world.count('device restored')
    device.restore()
    for (const to of world.devices)
      if (to !== device && before.has(world.convOf(device.person.userId, to.person.userId)))
        void world.say(device, to.person, 'from an old copy')
    return true
  }

  #toRegion(act: Deed): boolean {
    const world = this.#world
    if (!('region' in act) || act.region === undefined) return false
    const region = world.regionAt(act.region)
    const { faults, usedBytes } = region.disk
    switch (act.what) {
      case 'crash relay':
        return world.crash(region, act.ms)
      case 'pause relay':
        region.newest?.clock.pause(this.#lasting(act.ms))
        return region.newest !== undefined
      case 'second owner':
        return this.#secondOwner(region, act.pausedMs, act.lingerMs)
      case 'disk':
        faults.nextAppend = act.way
        return true
      case 'slow disk':
        faults.appendMs = [0.1, act.writeMs]
        faults.writeMs = [0.1, act.writeMs]
        world.clock.after(this.#lasting(act.ms), () => {
          faults.appendMs = [0.1, 2]
          faults.writeMs = [0.1, 2]
        })
        return true
      case 'full disk':
        faults.reserveBytes = act.reserveBytes
        faults.capacityBytes = usedBytes + act.spareBytes
        world.clock.after(act.ms, () => {
          faults.capacityBytes = Number.POSITIVE_INFINITY
        })
        return true
      case 'copy disk':
        region.copyDisk()
        return true
      case 'cut':
        return world.links.cut(region.is.id, world.regionAt(act.other).is.id, act.ms)
      case 'stall':
        return this.#stall(region, world.regionAt(act.other), this.#lasting(act.ms), true)
      case 'one way':
        return this.#stall(region, world.regionAt(act.other), this.#lasting(act.ms), false)
      default:
        return false
    }
  }

  /** A standby opens the store while the old owner may still run, or sleeps and comes back. */
  #secondOwner(region: SimRegionNodes, pausedMs: number, lingerMs: number): boolean {
    const old = region.serving
    if (!old) return false
    if (pausedMs > 0) old.clock.pause(this.#lasting(pausedMs))
    region.takeOver()
    this.#world.clock.after(this.#lasting(pausedMs + lingerMs), () => {
      if (!old.isDead) this.#world.kill(region, old)
    })
    return true
  }

  #stall(from: SimRegionNodes, to: SimRegionNodes, ms: number, both: boolean): boolean {
    const { links } = this.#world
    const there = links.stall(from.is.id, to.is.id, ms)
    return both ? links.stall(to.is.id, from.is.id, ms) || there : there
  }

  #jump(act: Extract<Deed, { what: 'clock jump' }>): boolean {
    const clock = act.by === undefined ? this.#world.regionAt(act.region).clock : this.#device(act.by)?.clock
    clock?.jump(act.jumpMs)
    return clock !== undefined
  }

  #toLinks(act: Extract<Deed, { what: 'halves' | 'ring' | 'swizzle' }>): boolean {
    const world = this.#world
    const idAt = (index: number) => world.regionAt(index).is.id
    const all = world.cast.regions.map((_, i) => i)
    const cut = (a: number, b: number, ms: number): boolean => world.links.cut(idAt(a), idAt(b), this.#lasting(ms))
    if (act.what === 'swizzle') {
      for (const { region, other, fromMs, toMs } of act.cuts)
        world.clock.after(this.#lasting(fromMs), () => cut(region, other, toMs - fromMs))
      return true
    }
    const apart: [number, number][] = []
    for (const a of all) {
      for (const b of all) {
        const isHalves = act.what === 'halves' && act.side.includes(a) && !act.side.includes(b)
        if (isHalves || (act.what === 'ring' && a < b && !isNext(act.order, a, b))) apart.push([a, b])
      }
    }
    return apart.map(([a, b]) => cut(a, b, act.ms)).includes(true)
  }

  /** Some of what was said may have died with a device before it was written down: whoever is there says the rest. */
  sayTheRest(messages: number): void {
    const alive = this.#world.devices.filter(({ fate }) => fate === 'alive')
    for (let i = this.#world.said; i < messages; i++) {
      const from = alive[i % alive.length]!
      const to = alive[(i + 1) % alive.length]!
      void this.#world.say(from, to.person, `${from.person.name}>${to.person.name} rest ${i}`)
    }
  }

  /** Nothing is held down any longer. */
  heal(): void {
    const world = this.#world
    this.#dooms = []
    world.onAcknowledged = () => {}
    for (const region of world.regions.values()) region.heal()
    world.links.heal()
  }
}

/** In a ring of three everybody would be everybody's neighbour: it stays open. */
function isNext(order: readonly number[], a: number, b: number): boolean {
  const apart = Math.abs(order.indexOf(a) - order.indexOf(b))
  return apart === 1 || (order.length > 3 && apart === order.length - 1)
}
