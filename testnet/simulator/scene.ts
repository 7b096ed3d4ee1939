// A seed's scene: who there is, what they do and what goes wrong. Every seed has kinds of trouble of its own and leaves
// the others out, so that each kind is also seen alone.
import { type Random, simulatedRandom } from '#protocol'
import { type Act, type Cut, type Deed, type DeedKind, ENDINGS, type Ending, type Scene } from './acts.ts'
import { seedOf } from './trace.ts'

/** What every whole scene has to reach. */
export const LEAST = { messages: 100, faults: 5, regions: 3, people: 12 } as const
/** More are made, since some come too late or find nothing to break. */
const MESSAGES_SPARE = 5
const FAULTS_MORE = 9
/** More than a home keeps for one device (TINY_RULES.held). */
const LARGE_BURST = 30
const LONGEST_MS = 2_000
/** Part of the scenes in which people move. */
const MOVING = 0.12
/** … in which a region is destroyed in the end. */
const DESTROYED = 0.03
/** … in which the disk of a region goes back to what it was earlier. */
const WENT_BACK = 0.04

const COUNTS: readonly (readonly number[])[] = [
  [4, 4, 4],
  [6, 3, 3],
  [5, 5, 2],
  [2, 8, 2],
  [3, 3, 3, 3],
  [4, 4, 2, 2],
]

const FAULTS = [
  ...(['disconnect', 'crash device', 'slow device', 'pause device'] as const),
  ...(['crash at an acknowledgement', 'crash relay', 'crash relay', 'pause relay', 'second owner'] as const),
  ...(['clock jump', 'disk', 'slow disk', 'full disk'] as const),
  ...(['cut', 'cut', 'stall', 'one way', 'halves', 'ring', 'swizzle'] as const),
] satisfies DeedKind[]

/** These always find something. */
const SURE: ReadonlySet<(typeof FAULTS)[number]> = new Set(['clock jump', 'slow disk', 'pause relay'])

class Dice {
  readonly #random: Random
  constructor(random: Random) {
    this.#random = random
  }
  chance(p: number): boolean {
    return this.#random.fraction() < p
  }
  between(least: number, most: number): number {
    return least + (most - least) * this.#random.fraction()
  }
  upTo(count: number): number {
    return Math.floor(this.#random.fraction() * count)
  }
  pick<T>(list: readonly T[]): T {
    return list[this.upTo(list.length)]!
  }
  shuffled<T>(list: readonly T[]): T[] {
    const rest = [...list]
    return list.map(() => rest.splice(this.upTo(rest.length), 1)[0]!)
  }
  /** Mostly short, sometimes long, ms. */
  some(ms: number): number {
    return this.between(0, this.chance(0.3) ? ms : ms / 15)
  }
}

export function sceneOf(seed: number): Scene {
  const dice = new Dice(simulatedRandom(seedOf(seed, 'scene')))
  const counts = dice.pick(COUNTS)
  const people = Array.from({ length: counts.reduce((a, b) => a + b, 0) }, (_, i) => i)
  const lengthMs = dice.between(1_200, 2_800)
  const doomed = dice.upTo(people.length)
  const fate = dice.chance(0.25) ? 'destroyed' : dice.chance(0.12) ? 'old copy' : 'usual'
  const acts: Act[] = [
    ...talk(dice, people, lengthMs, fate === 'usual' ? undefined : doomed),
    ...trouble(dice, counts.length, people.length, lengthMs),
    ...(fate === 'destroyed' ? [destroyed(dice, doomed, counts.length, lengthMs)] : []),
    ...(fate === 'old copy' ? oldCopy(dice, people, doomed, lengthMs) : []),
  ]
  const how = { bytes: dice.chance(0.12), slowCipher: dice.chance(0.3), ending: endingOf(dice) }
  const turn = fate === 'usual' ? dice.between(0, 1) : 1
  if (turn < MOVING) acts.push(...moves(dice, counts.length, people.length, lengthMs))
  else if (turn < MOVING + DESTROYED) how.ending = 'a region is destroyed'
  else if (turn < MOVING + DESTROYED + WENT_BACK) {
    how.ending = 'a disk goes back'
    acts.push({ at: dice.between(0, 1) * lengthMs, what: 'copy disk', region: dice.upTo(counts.length) })
  }
  return {
    ...{ seed, counts, people, lengthMs, ...how },
    acts: acts.sort((a, b) => a.at - b.at),
    least: { messages: LEAST.messages, faults: LEAST.faults },
  }
}

/** People who go to live elsewhere, some of them back and forth. */
function moves(dice: Dice, regions: number, people: number, lengthMs: number): Act[] {
  const movers = [dice.upTo(people), dice.upTo(people)]
  return Array.from({ length: 1 + dice.upTo(3) }, (): Act => {
    const at = dice.between(0.1, 0.9) * lengthMs
    return { at, what: 'move', by: dice.pick(movers), to: dice.upTo(regions) }
  })
}

function endingOf(dice: Dice): Ending {
  const [rest, short, crash, more] = ENDINGS
  return dice.chance(0.4) ? rest : dice.chance(0.35) ? short : dice.chance(0.4) ? crash : more
}

/** Pairs of people who talk: few enough that their conversations grow. */
function pairsOf(dice: Dice, people: readonly number[]): [number, number][] {
  const order = dice.shuffled(people)
  const pairs = order.map((person, i): [number, number] => [person, order[(i + 1) % order.length]!])
  return dice.chance(0.3) ? pairs : pairs.filter((_, i) => i % 2 === 0 || dice.chance(0.2))
}

function talk(dice: Dice, people: readonly number[], lengthMs: number, doomed: number | undefined): Act[] {
  const acts: Act[] = []
  const pairs = pairsOf(dice, people)
  const favourite = dice.pick(pairs)
  const at = (): number => dice.between(0, lengthMs)
  let counted = 0
  while (counted < LEAST.messages + MESSAGES_SPARE) {
    const pair = dice.chance(0.3) ? favourite : dice.pick(pairs)
    const [by, to] = dice.chance(0.5) ? pair : [pair[1], pair[0]]
    const left = LEAST.messages + MESSAGES_SPARE - counted
    const count = dice.chance(0.02) ? LARGE_BURST : dice.chance(0.4) ? 1 + dice.upTo(3) : 4 + dice.upTo(16)
    acts.push({ at: at(), what: 'say', by, to, count: by === doomed ? Math.min(count, 8) : Math.min(count, left) })
    if (by !== doomed) counted += count
  }
  const some = (p: number, most: number): number => (dice.chance(p) ? 1 + dice.upTo(most) : 0)
  for (let i = some(0.05, 1); i > 0; i--) {
    const [by, to] = dice.pick(pairs)
    acts.push({ at: at(), what: 'say', by, to, count: 1, large: true })
  }
  for (let i = some(0.4, 5); i > 0; i--) acts.push({ at: at(), what: 'cancel', by: dice.pick(people) })
  for (let i = some(0.6, 8); i > 0; i--) acts.push({ at: at(), what: 'read', by: dice.pick(people) })
  if (doomed === undefined)
    for (let i = some(0.4, 4); i > 0; i--) acts.push({ at: at(), what: 'renew', by: dice.pick(people) })
  return acts
}

function destroyed(dice: Dice, by: number, regions: number, lengthMs: number): Act {
  const region = dice.chance(0.5) ? dice.upTo(regions) : undefined
  return { at: dice.between(0.2, 0.9) * lengthMs, what: 'destroy at an acknowledgement', by, region }
}

/** The profile is copied, goes on, and is put back as it was. */
function oldCopy(dice: Dice, people: readonly number[], by: number, lengthMs: number): Act[] {
  const others = people.filter((person) => person !== by)
  const say = (part: number): Act => ({ at: part * lengthMs, what: 'say', by, to: dice.pick(others), count: 2 })
  return [
    say(0.05),
    { at: 0.35 * lengthMs, what: 'back up', by },
    ...others.slice(0, 3).map((to): Act => ({ at: 0.5 * lengthMs, what: 'say', by, to, count: 1 })),
    { at: 0.8 * lengthMs, what: 'restore', by },
  ]
}

function trouble(dice: Dice, regions: number, people: number, lengthMs: number): Act[] {
  const kinds = FAULTS.filter(() => dice.chance(0.4))
  if (kinds.length === 0) kinds.push('crash relay')
  const count = LEAST.faults + FAULTS_MORE + dice.upTo(10)
  const chosen = Array.from({ length: count }, () => dice.pick(kinds))
  // Others may find nothing to break, or come too late.
  for (let sure = chosen.filter((kind) => SURE.has(kind)).length; sure < LEAST.faults; sure++)
    chosen.push(dice.pick([...SURE]))
  return chosen.map((kind) => ({ ...fault(dice, kind, regions, people), at: dice.between(0, lengthMs) }))
}

function fault(dice: Dice, what: (typeof FAULTS)[number], regions: number, people: number): Deed {
  const region = dice.upTo(regions)
  const other = (region + 1 + dice.upTo(regions - 1)) % regions
  const by = dice.upTo(people)
  const long = (): number => 50 + dice.some(LONGEST_MS)
  switch (what) {
    case 'disconnect':
    case 'crash device':
      return { what, by }
    case 'slow device':
    case 'pause device':
      return { what, by, ms: long() }
    case 'crash at an acknowledgement':
      return { what, by, region, ms: dice.some(LONGEST_MS) }
    case 'crash relay':
      return { what, region, ms: dice.some(LONGEST_MS) }
    case 'pause relay':
      return { what, region, ms: long() }
    case 'second owner':
      return { what, region, pausedMs: dice.chance(0.5) ? long() : 0, lingerMs: 50 + dice.between(0, 1_000) }
    case 'clock jump': {
      const jumpMs = dice.between(-60_000, 60_000)
      return { what, region, by: dice.chance(0.5) ? by : undefined, jumpMs }
    }
    case 'disk':
      return { what, region, way: dice.pick(['failing', 'unknown', 'silent'] as const) }
    case 'slow disk':
      return { what, region, ms: long(), writeMs: dice.between(10, 250) }
    case 'full disk': {
      const reserveBytes = dice.chance(0.5) ? 2_000 : 0
      return { what, region, ms: dice.between(200, 1_000), spareBytes: dice.between(0, 3_000), reserveBytes }
    }
    case 'cut':
      return { what, region, other, ms: dice.some(LONGEST_MS) }
    case 'stall':
    case 'one way':
      return { what, region, other, ms: long() }
    case 'halves': {
      const side = dice.shuffled(Array.from({ length: regions }, (_, i) => i)).slice(0, Math.ceil(regions / 2))
      return { what, side, ms: long() }
    }
    case 'ring':
      return { what, order: dice.shuffled(Array.from({ length: regions }, (_, i) => i)), ms: long() }
    case 'swizzle':
      return { what, cuts: swizzle(dice, regions) }
  }
}

/** Links stop one after the other, and start in another order. */
function swizzle(dice: Dice, regions: number): Cut[] {
  const pairs: [number, number][] = []
  for (let a = 0; a < regions; a++) for (let b = a + 1; b < regions; b++) pairs.push([a, b])
  const stops = dice.shuffled(pairs)
  const starts = dice.shuffled(stops.map((_, i) => i))
  const step = dice.between(20, 200)
  return stops.map(([region, other], i) => ({
    ...{ region, other },
    fromMs: i * step,
    toMs: (stops.length + starts[i]!) * step,
  }))
}
