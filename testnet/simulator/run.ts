// A seed's story: people talk while relays and devices crash and links break; then everything heals, and after
// quiescence the promises are checked.
import type { RegionId } from '#protocol'
import type { DeviceNode } from './device-node.ts'
import { World } from './world.ts'

export type Outcome = {
  readonly seed: number
  readonly violations: readonly string[]
  readonly traceHash: string
  readonly reach: Record<string, number>
}

/** Promises between two steps of the clock are followed this deep; before time stands still, much deeper. */
const DRAIN = 12
const DRAIN_FULLY = 200
/** How long the network may take to come to rest after the last fault, ms. */
const REST_MS = 60_000

async function drain(depth: number): Promise<void> {
  for (let i = 0; i < depth; i++) await undefined
}

async function runUntil(world: World, ms: number): Promise<void> {
  for (;;) {
    while (world.clock.step(ms)) await drain(DRAIN)
    await drain(DRAIN_FULLY)
    if (!world.clock.step(ms)) break
    await drain(DRAIN)
  }
  world.clock.advanceTo(ms)
}

export type RunOptions = { readonly trace?: (line: string) => void }

export async function runSeed(seed: number, options: RunOptions = {}): Promise<Outcome> {
  const world = new World({ seed, regions: 2, people: 2, trace: options.trace })
  const { random, clock } = world
  const chance = (p: number): boolean => random.fraction() < p
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.fraction() * list.length)]!
  const regions = [...world.relays.keys()]
  for (const region of regions) void world.startRelay(region)
  for (const device of world.devices) device.start()
  await runUntil(world, clock.now() + 100)

  const lengthMs = 4_000 + 8_000 * random.fraction()
  const end = clock.now() + lengthMs
  const rates = {
    say: 0.15 + 0.25 * random.fraction(),
    relay: chance(0.8) ? 0.02 : 0,
    link: chance(0.8) ? 0.04 : 0,
    device: 0.05,
    crash: chance(0.5) ? 0.02 : 0,
    disk: chance(0.5) ? 0.02 : 0,
  }
  const downUntil = new Map<RegionId, number>()
  let said = 0
  while (clock.now() < end) {
    await runUntil(world, clock.now() + 25)
    if (chance(rates.say) && said < 60) {
      const from = pick(world.devices)
      const to = pick(world.devices.filter((d) => d !== from))
      for (let burst = chance(0.2) ? 8 : 1; burst > 0; burst--)
        void world.say(from, to, `${from.person.name}>${to.person.name} ${++said}`)
    }
    faults(world, rates, chance, pick, downUntil)
    reconnect(world, regions, downUntil, (device) => chance(0.2) && device.connect())
  }
  await heal(world, regions, downUntil)
  const violations = world.violations()
  return { seed, violations, traceHash: world.traceHash(), reach: world.reach }
}

type Rates = { relay: number; link: number; device: number; crash: number; disk: number }

function faults(
  world: World,
  rates: Rates,
  chance: (p: number) => boolean,
  pick: <T>(list: readonly T[]) => T,
  downUntil: Map<RegionId, number>,
): void {
  const { clock, random } = world
  const regions = [...world.relays.keys()]
  if (chance(rates.relay)) {
    const region = pick(regions)
    if (world.relays.get(region)!.isUp) {
      world.crashRelay(region)
      downUntil.set(region, clock.now() + random.fraction() * (chance(0.3) ? 4_000 : 300))
    }
  }
  if (chance(rates.link)) {
    const [a, b] = [pick(regions), pick(regions)]
    if (a !== b) world.linkDown(a, b, random.fraction() * (chance(0.3) ? 4_000 : 200))
  }
  if (chance(rates.device)) pick(world.devices).disconnect()
  if (chance(rates.crash)) {
    const device = pick(world.devices)
    device.crash()
    world.count('device crash')
    world.trace(`${device.person.name} crashed`)
    device.start()
  }
  if (chance(rates.disk)) {
    const relay = world.relays.get(pick(regions))!
    relay.disk.faults.nextAppend = pick(['failing', 'unknown', 'silent'] as const)
    world.count(`disk ${relay.disk.faults.nextAppend}`)
  }
}

function reconnect(
  world: World,
  regions: readonly RegionId[],
  downUntil: Map<RegionId, number>,
  device: (d: DeviceNode) => void,
): void {
  for (const region of regions) {
    if (!world.relays.get(region)!.isUp && (downUntil.get(region) ?? 0) <= world.clock.now()) {
      downUntil.set(region, world.clock.now() + 200)
      void world.startRelay(region)
    }
  }
  for (const a of regions) for (const b of regions) if (a < b) world.linkUp(a, b)
  for (const d of world.devices) device(d)
}

/** Everything heals; then the network comes to rest, and what is in memory goes to rows, where it is looked at. */
async function heal(world: World, regions: readonly RegionId[], downUntil: Map<RegionId, number>): Promise<void> {
  const { clock } = world
  world.heal()
  world.trace('everything heals')
  for (const relay of world.relays.values()) relay.disk.faults.nextAppend = 'good'
  let quiet = 0
  const stuckAt = new Map<RegionId, number>()
  downUntil.clear()
  const until = clock.now() + REST_MS
  while (clock.now() < until) {
    reconnect(world, regions, downUntil, (device) => device.connect())
    await runUntil(world, clock.now() + 500)
    restartSilent(world, stuckAt)
    quiet = isQuiet(world) ? quiet + 1 : 0
    if (quiet === 3) break
  }
  // Twice: what the first one's commit brings about is in rows after the second.
  for (let i = 0; i < 2; i++) {
    await runUntil(world, clock.now() + 3_000)
    for (const relay of world.relays.values()) void relay.store?.checkpoint()
  }
  await runUntil(world, clock.now() + 3_000)
}

/** A commit that never resolves blocks its relay for ever: an operator would restart it. */
function restartSilent(world: World, stuckAt: Map<RegionId, number>): void {
  for (const [region, { store }] of world.relays) {
    const waits = store !== undefined && store.gate() > store.committed()
    if (waits && stuckAt.get(region) === store.committed()) world.crashRelay(region)
    if (waits) stuckAt.set(region, store.committed())
    else stuckAt.delete(region)
  }
}

function isQuiet(world: World): boolean {
  for (const { store } of world.relays.values()) if (!store || store.gate() > store.committed()) return false
  for (const device of world.devices) {
    if (!device.isOnline || device.unsafe() > 0) return false
  }
  return true
}
