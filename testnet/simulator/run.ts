// One seed from beginning to end: its scene is played, then everything heals, and after quiescence the promises are
// checked.
import type { RegionId } from '#protocol'
import { hashForHmac, rememberSignatures } from '../cheap-crypto.ts'
import type { Scene } from './acts.ts'
import { Player } from './play.ts'
import type { Reach } from './reach.ts'
import { sceneOf } from './scene.ts'
import { watch } from './state.ts'
import { destroy, goBack, hasDelivered, isKnownBeyond } from './upheavals.ts'
import { World } from './world.ts'

export type Outcome = {
  readonly seed: number
  readonly violations: readonly string[]
  readonly traceHash: string
  readonly reach: Reach
}

rememberSignatures()
hashForHmac()

/** Until the first act: everybody signs in. */
const PROLOGUE_MS = 60
/** How long the network may take to come to rest after the last fault, ms: promise 5. */
const REST_MS = 10_000
const SLICE_MS = 250
const QUIET_SLICES = 3
/** After a region was lost: new homes wait in vain for what it had, twice for their patience, before they go on. */
const LOST_QUIET_SLICES = 14
/** Longer than everything that waits for time: patience, age of a checkpoint, sweeps. */
const SETTLE_MS = 1_600
const WATCH_MS = 40
/** How long people talk before a region is destroyed, and how often it is looked whether it may be, ms. */
const TALK_MS = 2_000
const MOMENT_MS = 7
/** Steps of the clock that are queued at once: after each, everything that was promised meanwhile happens. */
const LAP = 128

/** Runs what is due until then. */
function runUntil(world: World, ms: number): Promise<void> {
  const { clock } = world
  return new Promise((resolve, reject) => {
    let left = 0
    let ended = false
    const step = (): void => {
      left--
      if (ended) return
      try {
        if (!clock.step(ms)) {
          ended = true
          clock.advanceTo(ms)
          resolve()
        } else if (left === 0) lap()
      } catch (error) {
        ended = true
        reject(error)
      }
    }
    const lap = (): void => {
      left = LAP
      for (let i = 0; i < LAP; i++) setImmediate(step)
    }
    lap()
  })
}

export type RunOptions = { readonly show?: (line: string) => void }

export function runSeed(seed: number, options: RunOptions = {}): Promise<Outcome> {
  return runScene(sceneOf(seed), options.show)
}

export async function runScene(scene: Scene, show?: (line: string) => void): Promise<Outcome> {
  const world = new World({ scene, show })
  const { clock } = world
  const player = new Player(world)
  const watchAgain = (): void => {
    watch(world)
    clock.after(WATCH_MS, watchAgain)
  }
  watchAgain()
  await runUntil(world, clock.now() + PROLOGUE_MS)
  player.schedule(scene.acts)
  await runUntil(world, clock.now() + scene.lengthMs)
  world.trace.note('everything heals')
  player.heal()
  if (scene.least) player.sayTheRest(scene.least.messages)
  await rest(world, player)
  await finish(world, player)
  const short = tooSmall(scene, world, player)
  const violations = [...short, ...world.violations()]
  return { seed: scene.seed, violations, traceHash: world.trace.hash(), reach: world.reach }
}

/** A seed that tells less than it should proves less than it seems to. */
function tooSmall({ least, counts, people }: Scene, { said }: World, { faults }: Player): string[] {
  if (!least) return []
  const isLarge = said >= least.messages && faults >= least.faults && counts.length >= 3 && people.length >= 12
  return isLarge ? [] : [`scene: only ${said} messages and ${faults} faults`]
}

async function finish(world: World, player: Player): Promise<void> {
  const { ending } = world.scene
  if (ending === 'a region is destroyed') await destroyOne(world)
  if (ending === 'a disk goes back') await diskGoesBack(world)
  const crashAll = (): void => {
    for (const region of world.regions.values()) world.crash(region, 0)
  }
  world.count(`ending ${ending}`)
  const isLost = ending === 'a region is destroyed' || ending === 'a disk goes back'
  if (isLost) await rest(world, player, LOST_QUIET_SLICES)
  if (ending !== 'crash and rest') await checkpoint(world)
  if (ending === 'rest' || isLost) return
  if (ending === 'checkpoint and crash') {
    for (const region of world.regions.values()) world.crash(region, Number.MAX_SAFE_INTEGER)
    return
  }
  crashAll()
  if (ending === 'checkpoint, crash and more') {
    const alive = world.devices.filter((d) => d.fate === 'alive')
    for (const [i, from] of alive.entries()) {
      const to = alive[(i + 1) % alive.length]!
      if (to !== from) void world.say(from, to.person, `${from.person.name}>${to.person.name} last`)
    }
  }
  await rest(world, player)
  await checkpoint(world)
}

/** What only one region has is lost with it: it goes while others lack what it has, and in no moment when its own people do. */
async function destroyOne(world: World): Promise<void> {
  const region = [...world.regions.values()][Math.floor(world.regions.size * world.random('destroyed').fraction())]!
  talkAtLast(world)
  if (await happens(world, () => hasDelivered(world, region))) destroy(world, region)
}

/** Its disk is what it was earlier, and others know better. */
async function diskGoesBack(world: World): Promise<void> {
  const region = [...world.regions.values()].find(({ copied }) => copied !== undefined)
  if (!region) return
  talkAtLast(world)
  const { copied } = region
  if (await happens(world, () => hasDelivered(world, region) && isKnownBeyond(world, region, copied!)))
    goBack(world, region)
}

function talkAtLast(world: World): void {
  for (const from of world.devices)
    for (const to of world.devices)
      if (from !== to && from.cursorOf(world.convOf(from.person.userId, to.person.userId)) > 0)
        void world.say(from, to.person, `${from.person.name}>${to.person.name} at last`)
}

async function happens(world: World, isSo: () => boolean): Promise<boolean> {
  const until = world.clock.now() + TALK_MS
  do await runUntil(world, world.clock.now() + MOMENT_MS)
  while (!isSo() && world.clock.now() < until)
  return isSo()
}

/** Until nothing moves; that has to be soon. */
async function rest(world: World, player: Player, slices = QUIET_SLICES): Promise<void> {
  const { clock } = world
  const stuckAt = new Map<RegionId, number>()
  while (!player.isOver) await runUntil(world, clock.now() + SLICE_MS)
  const until = clock.now() + REST_MS
  let quiet = 0
  // At rest from when it became quiet, not from when that was believed.
  while ((clock.now() < until || quiet > 0) && quiet < slices) {
    await runUntil(world, clock.now() + SLICE_MS)
    restartSilent(world, stuckAt)
    quiet = isQuiet(world) ? quiet + 1 : 0
  }
  if (quiet < slices) world.failures.push(`not at rest ${REST_MS} ms after everything had healed`)
  await runUntil(world, clock.now() + SETTLE_MS)
}

/** What is in memory goes to rows, where it is looked at. Twice: what the first commit brings about is there after the second. */
async function checkpoint(world: World): Promise<void> {
  for (let i = 0; i < 2; i++) {
    for (const { serving } of world.regions.values()) void serving?.store?.checkpoint().catch(() => undefined)
    await runUntil(world, world.clock.now() + SETTLE_MS / 2)
  }
}

/** A commit that never resolves blocks its relay for ever, also while it starts: an operator would restart it. */
function restartSilent(world: World, stuckAt: Map<RegionId, number>): void {
  for (const [id, region] of world.regions) {
    const store = region.newest?.store
    const waits = store !== undefined && store.gate() > store.committed()
    if (waits && stuckAt.get(id) === store.committed()) world.crash(region, 0)
    if (waits) stuckAt.set(id, store.committed())
    else stuckAt.delete(id)
  }
}

function isQuiet(world: World): boolean {
  for (const { serving, isGone } of world.regions.values()) {
    if (isGone) continue
    const store = serving?.store
    if (!store || store.gate() > store.committed()) return false
  }
  return world.devices.every((device) => device.fate === 'gone' || (device.isOnline && device.unsafe() === 0))
}
