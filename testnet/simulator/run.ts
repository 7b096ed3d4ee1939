// One seed from beginning to end: its story, then everything heals, and after quiescence the promises are checked.
import type { RegionId } from '#protocol'
import type { Reach } from './reach.ts'
import { Teller, tellStory } from './story.ts'
import { World } from './world.ts'

export type Outcome = {
  readonly seed: number
  readonly violations: readonly string[]
  readonly traceHash: string
  readonly reach: Reach
}

/** Promises between two steps of the clock are followed this deep; before time stands still, much deeper. */
const DRAIN = 12
const DRAIN_FULLY = 200
/** How long the network may take to come to rest after the last fault, ms. */
const REST_MS = 10_000
const SLICE_MS = 250
const QUIET_SLICES = 3
/** Longer than everything that waits for time: patience, age of a checkpoint, sweeps. */
const SETTLE_MS = 1_600

const SIZES: readonly (readonly number[])[] = [
  [2, 2],
  [1, 1],
  [2, 1],
  [1, 2],
  [3, 1],
  [1, 1, 1],
  [2, 1, 1],
]

async function drain(depth: number): Promise<void> {
  for (let i = 0; i < depth; i++) await undefined
}

async function runUntil(world: World, ms: number, depth = DRAIN_FULLY): Promise<void> {
  for (;;) {
    while (world.clock.step(ms)) await drain(DRAIN)
    await drain(depth)
    if (!world.clock.step(ms)) break
    await drain(DRAIN)
  }
  world.clock.advanceTo(ms)
}

export type RunOptions = { readonly trace?: (line: string) => void }

export async function runSeed(seed: number, options: RunOptions = {}): Promise<Outcome> {
  const people = (random: World['random']) => SIZES[Math.floor(random.fraction() * SIZES.length)]!
  const world = new World({ seed, people, trace: options.trace })
  const { random, clock } = world
  const story = tellStory(world)
  const teller = new Teller(world, story)
  for (const device of world.devices) device.start()
  teller.reconnect(1)
  await runUntil(world, clock.now() + 60)
  const end = clock.now() + story.lengthMs
  while (clock.now() < end) {
    const ms = 5 + 35 * random.fraction()
    // A fault hits in the middle of what was going on, unless that has come to its end.
    await runUntil(world, clock.now() + ms, random.fraction() < 0.5 ? DRAIN : DRAIN_FULLY)
    teller.step(ms)
  }
  await finish(world, teller)
  const violations = world.violations()
  return { seed, violations, traceHash: world.traceHash(), reach: world.reach }
}

async function finish(world: World, teller: Teller): Promise<void> {
  const dice = world.random.fraction()
  world.trace('everything heals')
  teller.heal()
  await rest(world, teller)
  if (dice < 0.5) {
    world.count('ending rest')
    await checkpoint(world)
    return
  }
  if (dice < 0.65) {
    world.count('ending checkpoint and crash')
    await checkpoint(world)
    for (const region of world.relays.keys()) world.crashRelay(region)
    return
  }
  if (dice < 0.8) {
    world.count('ending crash and rest')
    for (const region of world.relays.keys()) world.crashRelay(region)
    await rest(world, teller)
    await checkpoint(world)
    return
  }
  world.count('ending checkpoint, crash and more')
  await checkpoint(world)
  for (const region of world.relays.keys()) world.crashRelay(region)
  const alive = world.devices.filter((d) => d.fate === 'alive')
  for (const from of alive)
    for (const to of world.devices)
      if (to !== from) void world.say(from, to, `${from.person.name}>${to.person.name} last`)
  await rest(world, teller)
  await checkpoint(world)
}

/** Until nothing moves, or time is up. */
async function rest(world: World, teller: Teller): Promise<void> {
  const { clock } = world
  const stuckAt = new Map<RegionId, number>()
  const until = clock.now() + REST_MS
  let quiet = 0
  while (clock.now() < until && quiet < QUIET_SLICES) {
    teller.reconnect(1)
    await runUntil(world, clock.now() + SLICE_MS)
    restartSilent(world, stuckAt)
    quiet = teller.isOver && isQuiet(world) ? quiet + 1 : 0
  }
  teller.reconnect(1)
  await runUntil(world, clock.now() + SETTLE_MS)
}

/** What is in memory goes to rows, where it is looked at. Twice: what the first commit brings about is there after the second. */
async function checkpoint(world: World): Promise<void> {
  for (let i = 0; i < 2; i++) {
    for (const { store } of world.relays.values()) void store?.checkpoint().catch(() => undefined)
    await runUntil(world, world.clock.now() + SETTLE_MS / 2)
  }
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
  return world.devices.every((device) => device.fate === 'gone' || (device.isOnline && device.unsafe() === 0))
}
