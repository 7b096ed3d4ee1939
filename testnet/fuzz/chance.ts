// Choices from a seed.
import { type Random, simulatedRandom } from '#protocol'

export type Chance = {
  /** 0 ≤ n < end. */
  below(end: number): number
  oneIn(n: number): boolean
  pick<T>(from: readonly T[]): T
  bytes(length: number): Uint8Array
}

export function chanceOf(seed: number): Chance {
  const random: Random = simulatedRandom(seed)
  const below = (end: number): number => Math.floor(random.fraction() * end)
  return {
    below,
    oneIn: (n) => below(n) === 0,
    pick: (from) => from[below(from.length)]!,
    bytes: (length) => random.bytes(length),
  }
}

/** One number of a seed and a name. */
export function seedOf(seed: number, name: string): number {
  let mixed = seed | 0
  for (const char of name) mixed = Math.imul(mixed ^ char.charCodeAt(0), 0x01000193)
  return mixed
}
