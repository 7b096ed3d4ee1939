// What happens in a round and when: a function of the seed. Kinds are dealt from decks, so that each comes up in turn;
// targets, times and measures are drawn.
import type { Random } from '#protocol'
import type { Faults } from './faults.ts'
import {
  CLOCK_FAULT_MS,
  CLOCK_FAULTS,
  DELAY_MS,
  DOWN_MS,
  FAULTS_MS,
  FRAMES,
  FSYNC_MS,
  JITTER_MS,
  MARGIN_MS,
  NETWORK_FAULT_MS,
  NETWORK_FAULTS,
  PAUSE_MS,
  PAUSES,
  RATE,
  type Range,
  SKEW_MS,
  STARTING_MS,
  STORE_FAULT_MS,
  STORE_FAULTS,
} from './limits.ts'

/** Names of processes. A region may have several nodes; each of them is killed, paused and cut off by itself. */
export type Cast = {
  readonly regions: readonly (readonly string[])[]
  readonly people: readonly { readonly name: string; readonly home: string }[]
  readonly entry: string
}

type Death = Exclude<Faults['dies'], 'no'>
export type KillKind =
  | 'relay'
  | 'in a write'
  | 'taking over'
  | 'minority'
  | 'all'
  | 'entry'
  | 'client'
  | 'before a frame'
export type NetworkKind = 'halves' | 'ring' | 'one alone' | 'one way' | 'slow' | 'thin' | 'stall' | 'reset'
export type StoreKind = 'slow fsync' | 'full disk' | 'failing disk'

export type Kill = {
  readonly is: 'kill'
  readonly kind: KillKind
  readonly targets: readonly string[]
  /** What was not fsynced is lost. */
  readonly power: boolean
  readonly downMs: number
  /** `in a write`. */
  readonly dies: Death
  /** `taking over`: from the next start to the next kill. */
  readonly startingMs: number
  /** `before a frame`. */
  readonly frames: number
}
export type Fault =
  | Kill
  | { readonly is: 'pause'; readonly target: string; readonly ms: number }
  | {
      readonly is: 'network'
      readonly kind: NetworkKind
      /** Every relay in some order; what it means depends on the kind. */
      readonly order: readonly string[]
      /** Two ends of a path. */
      readonly pair: readonly [string, string]
      /** Connections are cut and refused, rather than silent. */
      readonly loud: boolean
      readonly ms: number
      readonly delayMs: number
      readonly jitterMs: number
      readonly bytesPerSecond: number
    }
  | {
      readonly is: 'store'
      readonly kind: StoreKind
      readonly target: string
      readonly ms: number
      readonly fsyncMs: number
    }
  | { readonly is: 'clock'; readonly target: string; readonly ms: number; readonly skewMs: number }

export type Scheduled = { readonly atMs: number; readonly fault: Fault }

const KILL_DECK: Readonly<Record<KillKind, number>> = {
  relay: 5,
  'in a write': 5,
  'taking over': 2,
  minority: 1,
  all: 1,
  entry: 1,
  client: 4,
  'before a frame': 4,
}
const NETWORK_DECK: readonly NetworkKind[] = [
  'halves',
  'ring',
  'one alone',
  'one way',
  'slow',
  'thin',
  'stall',
  'reset',
]
const STORE_DECK: readonly StoreKind[] = ['slow fsync', 'full disk', 'slow fsync', 'failing disk']
const DEATHS: readonly Death[] = ['unsynced', 'before', 'unsynced', 'synced']
const POWER_SHARE = 0.6
const RELAY_SHARE = 0.7

export function shuffled<T>(list: readonly T[], random: Random): T[] {
  const out = [...list]
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random.fraction() * (i + 1))
    ;[out[i], out[j]] = [out[j]!, out[i]!]
  }
  return out
}

/** Deals all of the list before anything comes twice. */
function deckOf<T>(list: readonly T[], random: Random): () => T {
  let left: T[] = []
  return () => {
    if (left.length === 0) left = shuffled(list, random)
    return left.pop()!
  }
}

export function createSchedule(cast: Cast, random: Random) {
  const relays = cast.regions.flat()
  const within = ([least, most]: Range): number => least + random.fraction() * (most - least)
  /** Short ones are as frequent as long ones. */
  const spread = ([least, most]: Range): number => least * (most / least) ** random.fraction()
  const one = <T>(list: readonly T[]): T => list[Math.floor(random.fraction() * list.length)]!
  const relay = deckOf(relays, random)
  const people = deckOf(cast.people, random)
  const person = (): string => people().name
  const somebody = (): string => (random.fraction() < RELAY_SHARE ? relay() : person())
  const kill = deckOf(
    Object.entries(KILL_DECK).flatMap(([kind, count]) => Array<KillKind>(count).fill(kind as KillKind)),
    random,
  )
  const network = deckOf(NETWORK_DECK, random)
  const store = deckOf(STORE_DECK, random)
  const death = deckOf(DEATHS, random)

  function targetsOf(kind: KillKind): readonly string[] {
    if (kind === 'all') return relays
    if (kind === 'minority') return shuffled(relays, random).slice(0, Math.floor((relays.length - 1) / 2))
    if (kind === 'entry') return [cast.entry]
    return [kind === 'client' || kind === 'before a frame' ? person() : relay()]
  }

  function killOf(kind: KillKind): Kill {
    return {
      is: 'kill',
      kind,
      targets: targetsOf(kind),
      power: random.fraction() < POWER_SHARE,
      downMs: within(DOWN_MS),
      dies: death(),
      startingMs: within(STARTING_MS),
      frames: Math.ceil(within(FRAMES)),
    }
  }

  /** Exactly so many processes are killed. */
  function kills(count: number): Kill[] {
    const out: Kill[] = []
    for (let left = count; left > 0; ) {
      const next = killOf(kill())
      const fits = killsOf(next) <= left ? next : killOf('client')
      out.push(fits)
      left -= killsOf(fits)
    }
    return out
  }

  function pause(): Fault {
    return { is: 'pause', target: somebody(), ms: spread(PAUSE_MS) }
  }

  function networkFault(): Fault {
    const order = shuffled(relays, random)
    const { name, home } = people()
    const ends = random.fraction() < RELAY_SHARE ? ([order[0]!, order[1]!] as const) : ([home, name] as const)
    return {
      is: 'network',
      kind: network(),
      order,
      pair: random.fraction() < 0.5 ? ends : [ends[1], ends[0]],
      loud: random.fraction() < 0.5,
      ms: within(NETWORK_FAULT_MS),
      delayMs: within(DELAY_MS),
      jitterMs: within(JITTER_MS),
      bytesPerSecond: spread(RATE),
    }
  }

  function storeFault(): Fault {
    return { is: 'store', kind: store(), target: relay(), ms: within(STORE_FAULT_MS), fsyncMs: spread(FSYNC_MS) }
  }

  function clockFault(): Fault {
    return { is: 'clock', target: somebody(), ms: within(CLOCK_FAULT_MS), skewMs: one([-SKEW_MS, SKEW_MS]) }
  }

  const several = (count: number, make: () => Fault): Fault[] => Array.from({ length: count }, make)

  return {
    /** The next round: so many kills among other faults, ascending. */
    round(count: number): Scheduled[] {
      const faults = [
        ...kills(count),
        ...several(PAUSES, pause),
        ...several(NETWORK_FAULTS, networkFault),
        ...several(STORE_FAULTS, storeFault),
        ...several(CLOCK_FAULTS, clockFault),
      ]
      return faults
        .map((fault) => ({ atMs: within([MARGIN_MS, FAULTS_MS - MARGIN_MS]), fault }))
        .sort((a, b) => a.atMs - b.atMs)
    },
  }
}

/** How many processes it kills. */
export function killsOf({ kind, targets }: Kill): number {
  return kind === 'taking over' ? 2 : targets.length
}
