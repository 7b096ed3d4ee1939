// One random schedule of a moving world: crashes, broken links, phones that come and go, and homes that move, on purpose
// or because the old one is gone. Returns what went wrong.
import { type RegionId, simulatedRandom } from '#protocol'
import type { RuleLimits } from './limits.ts'
import { type MovingWorld, movingWorld } from './moving-world.ts'

/** Tiny, so that everything is reached. */
const LIMITS: Partial<RuleLimits> = {
  ...{
    takeoverPatienceMs: 900,
    takeoverAgainMs: 200,
    sweepMs: 200,
    lagAgainMs: 300,
    patienceMs: 600,
    conversations: 1,
  },
  ...{ windowItems: 3, itemBytes: 300, lagStreams: 2, lagTurnBytes: 400, catchUpTickBytes: 600 },
}
const CALM_ROUNDS = 600
const MOVES_MAX = 1

type Moves = { readonly planned: number; left: number }

export type Outcome = {
  readonly violations: readonly string[]
  readonly moves: number
  readonly backs: number
  readonly said: number
}

async function act(world: MovingWorld, ids: readonly RegionId[], moves: Moves): Promise<void> {
  const { below, pick } = world
  const roll = below(100)
  const phone = pick(world.phones)
  if (roll < 34) {
    await world.deliver(pick(ids), pick(ids), 1 + below(4))
  } else if (roll < 52) {
    for (let n = below(4); n >= 0; n--) phone.receive()
    await world.benches.get(phone.home)?.settle()
    world.collect()
  } else if (roll < 66) await world.tick(pick(ids), 20 + below(150))
  else if (roll < 78) {
    if (phone.said.size < 25) phone.say()
  } else if (roll < 80) phone.cancel(1 + below(phone.said.size + 1))
  else if (roll < 86) {
    if (below(3) === 0) phone.disconnect()
    else phone.connect()
  } else if (roll < 90) world.cut(pick(ids), pick(ids))
  else if (roll < 95) world.mend(pick(ids), pick(ids))
  else if (roll < 97) await world.crash(pick(ids), false)
  else if (roll < 98) await world.learn(pick(ids), below(2))
  else if (moves.left > 0) await moveSomebody(world, ids, moves)
}

/** The old home may be told, stay ignorant for a while, or be gone for good while the other member's home lives on. */
async function moveSomebody(world: MovingWorld, ids: readonly RegionId[], moves: Moves): Promise<void> {
  const { below, pick } = world
  const member = below(2)
  const phone = world.phones[member]!
  const other = world.phones[1 - member]!
  const from = phone.home
  const to = pick(ids.filter((id) => id !== from && !world.dead.has(id) && !world.exiled.has(id)))
  moves.left--
  const isFirst = moves.left === moves.planned - 1
  // What only a dead region had is lost, undelivered mail above all: it dies when its person has everything.
  const idle = phone.cursor === world.newest
  const settled = idle && world.atRest().length === 0
  let gone = false
  if (below(3) === 0 && idle && world.dead.size === 0 && from !== other.home && isFirst) {
    gone = true
    await world.crash(from, true)
  } else if (below(3) === 0 && settled) {
    // Of somebody who left it before, and has not given it up, it may keep something: they wait for it.
    gone = from !== other.home && below(2) === 0 && isFirst
    for (const id of ids) world.cut(from, id)
    if (gone) world.exiled.add(from)
  }
  await world.move(member, to, gone)
  if (below(2) === 0) await world.learn(from, member)
}

/** Up to `movesMax` moves. */
export async function playMoves(seed: number, movesMax = MOVES_MAX): Promise<Outcome> {
  const random = simulatedRandom(seed)
  const homes = random.fraction() < 0.2 ? ([0, 0] as const) : ([0, 1] as const)
  const world = await movingWorld(random, { homes, limits: LIMITS })
  const ids = world.regions.map(({ regionId }) => regionId)
  const planned = 1 + world.below(movesMax)
  const moves = { planned, left: planned }
  for (const phone of world.phones) phone.connect()
  const length = 200 + world.below(400)
  for (let step = 0; step < length && world.violations.length === 0; step++) await act(world, ids, moves)
  await world.calm(CALM_ROUNDS)
  const said = world.phones.reduce((sum, phone) => sum + phone.said.size, 0)
  const backs = world.phones.reduce((sum, phone) => sum + phone.backs, 0)
  return { violations: world.check(), moves: planned - moves.left, backs, said }
}
