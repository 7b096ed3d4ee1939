// What happens to a region as a whole: it is destroyed, or its disk goes back to what it was and it goes on from that.
import type { ConvId } from '#protocol'
import type { DeviceNode } from './device-node.ts'
import type { SimRegionNodes } from './region.ts'
import type { World } from './world.ts'

/** How long people stay without a home, ms. */
const FLIGHT_MS = 1_000
const DOWN_MS = 100

const localsOf = ({ devices }: World, region: SimRegionNodes): DeviceNode[] =>
  devices.filter(({ home }) => home === region)

const othersOf = ({ regions }: World, region: SimRegionNodes): SimRegionNodes[] =>
  [...regions.values()].filter((other) => other !== region && !other.isGone)

/** Every device that lives there has everything that its home ever kept. */
export function hasDelivered(world: World, region: SimRegionNodes): boolean {
  const locals = localsOf(world, region)
  for (const [name, head] of region.kept.heads) {
    const conv = name as ConvId
    for (const device of locals)
      if (world.membersOf(conv).includes(device.person.userId) && device.cursorOf(conv) < head) return false
  }
  return true
}

/** For good; whoever lived there gives it up, and goes to live elsewhere. */
export function destroy(world: World, region: SimRegionNodes): void {
  const random = world.random('refuge')
  const nodes = [...region.nodes]
  world.trace.note('destroyed', () => `${region.is.name} is destroyed`)
  world.count('region destroyed')
  region.destroy()
  for (const node of nodes) world.links.nodeDied(node)
  const others = othersOf(world, region)
  for (const device of localsOf(world, region)) {
    const to = others[Math.floor(others.length * random.fraction())]!
    world.clock.after(FLIGHT_MS * random.fraction(), () => world.move(device, to, true))
    world.clock.after(FLIGHT_MS * random.fraction(), () => beginTalk(world, device))
  }
}

/** Somebody elsewhere writes to them for the first time: of that conversation they know nothing when they flee. */
function beginTalk(world: World, { person, home }: DeviceNode): void {
  const isNew = (from: DeviceNode): boolean => from.cursorOf(world.convOf(from.person.userId, person.userId)) === 0
  const from = world.devices.find((device) => device.fate === 'alive' && device.home !== home && isNew(device))
  if (from) void world.say(from, person, `${from.person.name}>${person.name} for the first time`)
}

/** Every other region keeps that its journal has come farther than this commit. */
export function isKnownBeyond(world: World, region: SimRegionNodes, commit: number): boolean {
  return othersOf(world, region).every(({ serving }) => (serving?.inspect()?.journalOf(region.is.id) ?? 0) > commit)
}

/** All that came to its disk since it was copied is gone. */
export function goBack(world: World, region: SimRegionNodes): void {
  world.crash(region, DOWN_MS)
  world.trace.note('goes back', () => `the disk of ${region.is.name} goes back to commit ${region.copied}`)
  world.count('disk went back')
  region.goBack()
}

/** The operator lets it go on from what it has; its people come home again, each when a device of theirs is there. */
export function restore(world: World, region: SimRegionNodes): void {
  const random = world.random('return')
  world.trace.note('restored', () => `${region.is.name} is restored`)
  world.count('region restored')
  region.isRestored = true
  for (const device of localsOf(world, region)) {
    region.awaited.add(device.person.userId)
    world.clock.after(FLIGHT_MS * (1 + random.fraction()), () => comeHome(world, device))
  }
  region.restore()
}

function comeHome(world: World, device: DeviceNode): void {
  const { home, person } = device
  if (device.fate === 'gone') return
  if (!home.serving) {
    world.clock.after(FLIGHT_MS, () => comeHome(world, device))
    return
  }
  world.trace.note('comes home', () => `${person.name} comes home to ${home.is.name}`)
  home.awaited.delete(person.userId)
  world.settle(device, home, true)
}
