// What moves of people and conversations do to places, worked out from what devices were told and from where people
// lived: the home of the smaller userId hosts, an epoch is a generation of that home, and a register cuts off what lies
// beyond it in the epochs before.
import type { ConvId, RegionId, UserId } from '#protocol'
import type { Moved, Outside } from './types.ts'

export const EPOCH = 2 ** 32
export const epochOf = (at: number): number => Math.floor(at / EPOCH)

export const isCutOff = (at: number, moves: readonly Moved[]): boolean =>
  moves.some(({ epoch, cut }) => epochOf(at) < epoch && at > cut)

/** The register behind whose cut the log goes on. */
export const openedAt = (at: number, moves: readonly Moved[]): Moved | undefined =>
  moves.findLast(({ epoch, cut }) => cut === at && epoch > epochOf(at))

export type Whereabouts = {
  readonly homeOf: (user: UserId) => RegionId
  /** The host of an epoch. */
  readonly hostAt: (conv: ConvId, epoch: number) => RegionId
  /** The regions where the members live, or ever lived. */
  readonly regionsOf: (conv: ConvId) => readonly RegionId[]
  readonly everOf: (conv: ConvId) => readonly RegionId[]
  /** The disk of the region has kept it, or, once somebody has moved, that of another from which it may have come. */
  readonly has: (region: RegionId, conv: ConvId, key: string) => boolean
  /** At least one region where the person lives or lived has kept it. */
  readonly hasFor: (user: UserId, conv: ConvId, key: string) => boolean
  readonly hasMoved: (conv: ConvId) => boolean
}

export function whereabouts({ homesOf, membersOf, kept }: Outside): Whereabouts {
  const everOf = (conv: ConvId): RegionId[] => [...new Set(membersOf(conv).flatMap((user) => homesOf(user)))]
  const homeOf = (user: UserId): RegionId => homesOf(user).at(-1)!
  const hasMoved = (conv: ConvId): boolean => membersOf(conv).some((user) => homesOf(user).length > 1)
  return {
    homeOf,
    hostAt: (conv, epoch) => homesOf(membersOf(conv)[0]!)[epoch - 1]!,
    regionsOf: (conv) => [...new Set(membersOf(conv).map(homeOf))],
    everOf,
    hasMoved,
    has: (region, conv, key) =>
      kept(region, conv, key) || (hasMoved(conv) && everOf(conv).some((other) => kept(other, conv, key))),
    hasFor: (user, conv, key) => homesOf(user).some((region) => kept(region, conv, key)),
  }
}
