// Bugs that the simulator must find, planted one at a time (plant-hook.ts).
import type { About } from './about.ts'
import { CLIENT_PLANTS } from './plants-client.ts'
import { MOVES_PLANTS } from './plants-moves.ts'
import { RELAY_PLANTS } from './plants-relay.ts'
import { RESTORED_PLANTS } from './plants-restored.ts'
import { STORE_PLANTS } from './plants-store.ts'

/** What to replace in which file of the rules, which of the checks has to notice, and within how many seeds. */
export type Plant = {
  readonly id: string
  /** From the root of the package. */
  readonly file: string
  readonly patches: readonly (readonly [find: string, replace: string])[]
  readonly explain: string
  /** One of these checks has to notice: any other may as well. */
  readonly checks: readonly string[]
  readonly seeds: number
  /** The first of them, for a bug that shows rarely (1). */
  readonly first?: number
  /** None of them, but the kept story of this one. */
  readonly story?: number
  /** Only those that tell such a story. */
  readonly about?: About
}

export const PLANTS: readonly Plant[] = [
  ...RELAY_PLANTS,
  ...MOVES_PLANTS,
  ...RESTORED_PLANTS,
  ...STORE_PLANTS,
  ...CLIENT_PLANTS,
]
