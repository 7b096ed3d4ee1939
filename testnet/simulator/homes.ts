// Where people live: everybody's records, version by version, and where they lived before.
import type { RegionId, UserId } from '#protocol'
import type { FormerHome } from '#relay/rules'
import type { Lived, SimPerson, SimRecords } from './cast.ts'

/** How often a person's manifest is replaced in one run without a move. */
const RENEWALS_MAX = 2

type Life = {
  readonly person: SimPerson
  /** By version, from 1. */
  readonly homes: Lived[]
  readonly records: SimRecords[]
  /** By generation, from 1. */
  readonly generations: RegionId[]
  /** By generation, from 1: whether the home before was given up. */
  readonly gaveUp: boolean[]
  renewals: number
}

export class Homes {
  readonly #lives: ReadonlyMap<UserId, Life>

  constructor(people: readonly SimPerson[]) {
    this.#lives = new Map(
      people.map((person) => {
        const homes = [{ region: person.region, generation: 1 }]
        const first = { homes, records: [person.records(homes)], generations: [person.region], gaveUp: [false] }
        return [person.userId, { person, ...first, renewals: 0 }]
      }),
    )
  }

  #life(user: UserId): Life {
    return this.#lives.get(user)!
  }

  /** The newest there is. */
  version(user: UserId): number {
    return this.#life(user).homes.length
  }

  records(user: UserId, version: number): SimRecords | undefined {
    return this.#lives.get(user)?.records[version - 1]
  }

  of(user: UserId): RegionId {
    return this.#life(user).homes.at(-1)!.region
  }

  /** Everywhere they ever lived, by generation from 1. */
  all(user: UserId): readonly RegionId[] {
    return this.#life(user).generations
  }

  /** Where they had lived before they moved to this region, by the version that it knows. */
  former(user: UserId, here: RegionId, version: number): FormerHome | undefined {
    const { generations, gaveUp } = this.#life(user)
    let at = generations.lastIndexOf(here, this.records(user, version)!.home.homeGeneration - 1)
    // Who came home to a restored home had not left it.
    while (at > 0 && generations[at - 1] === here) at--
    return at > 0 ? { region: generations[at - 1]!, gone: gaveUp[at]!, generation: at } : undefined
  }

  /** False when it was replaced often enough. */
  renew(user: UserId): boolean {
    const life = this.#life(user)
    if (life.renewals++ >= RENEWALS_MAX) return false
    this.#next(life)
    return true
  }

  /** Perhaps to where they lived already: a home that was restored. */
  move(user: UserId, to: RegionId, gaveUp: boolean): void {
    const life = this.#life(user)
    life.generations.push(to)
    life.gaveUp.push(gaveUp)
    this.#next(life)
  }

  #next({ person, homes, records, generations }: Life): void {
    homes.push({ region: generations.at(-1)!, generation: generations.length })
    records.push(person.records(homes))
  }
}
