// How a conversation comes to a node: the genesis says who the members are, their home records say where they live, and
// both are checked before anything is kept. A direct conversation's host is the home of the smaller userId.
import {
  type ConvId,
  convIdOfGenesis,
  decode,
  type Genesis,
  type Home,
  HomeBodySchema,
  type HomeRecord,
  limits,
  openHomeRecord,
  ParleyError,
  type RegionId,
  readGenesis,
  type UserId,
  userIdOf,
} from '#protocol'
import type { Store } from '../store/types.ts'
import type { DirectoryPort, RelayPorts } from './ports.ts'

/** `since`: the home generation, 1 if nothing is said. */
export type Resident = { readonly userId: UserId; readonly region: RegionId; readonly since?: number }

/** Who the members are and where they live: what makes a conversation, checked before it comes here. */
export type Founding = {
  readonly id: ConvId
  readonly genesisBytes: Uint8Array
  readonly genesis: Genesis
  readonly members: readonly Resident[]
  readonly host: RegionId
  readonly epoch: number
}

/** Later epochs begin with their host registers, whatever the home generation. */
const FIRST_EPOCH = 1
/** Home records that one name or intro may carry. */
const HOMES_MAX = 2

/** Conversations that are founded although the disk has no room, until it has some again: a row each. */
export const FOUNDED_WITHOUT_ROOM_MAX = 1_000

/** Whether one more may be founded: what other regions introduce must not eat up the reserve of a full disk. */
export function foundingBudget(store: Pick<Store, 'hasRoom'>): () => boolean {
  let founded = 0
  return () => {
    if (store.hasRoom()) founded = 0
    return founded++ < FOUNDED_WITHOUT_ROOM_MAX
  }
}

const sameBytes = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a !== undefined && b !== undefined && Buffer.compare(a, b) === 0

/**
 * Verifies and learns the home records that came with a message; what is known already costs nothing. One that does not
 * hold (any more) is passed over: whether enough is known is asked when a conversation is founded. Returns who moved.
 */
export function learnHomes(records: readonly HomeRecord[], directory: DirectoryPort, nowMs: number): UserId[] {
  const moved: UserId[] = []
  for (const record of records.slice(0, HOMES_MAX)) {
    try {
      const head = record.head && decode(HomeBodySchema, record.head.payload, limits.RECORD_MAX_BYTES)
      const known = head && directory.knownHome(userIdOf(head.userId))
      if (known && sameBytes(known.record.countersignature?.signature, record.countersignature?.signature)) continue
      const home = openHomeRecord(record, nowMs)
      const generation = known?.homeGeneration ?? home.homeGeneration
      if (directory.learnHome(home) && home.homeGeneration > generation) moved.push(home.userId)
    } catch (error) {
      if (!(error instanceof ParleyError)) throw error
    }
  }
  return moved
}

/** Where each of them lives, `undefined` for whom that cannot be found; `fresh` as in the port. */
export const findHomes = (
  { directory }: Pick<RelayPorts, 'directory'>,
  users: readonly UserId[],
  found?: { readonly fresh: boolean },
): Promise<(Home | undefined)[]> =>
  Promise.all(users.map((user) => directory.findHome(user, found).catch(() => undefined)))

/** The newest home records of the members, if somebody who knows these does not know them all. */
export function newsFor(
  { members }: Pick<Founding, 'members'>,
  known: readonly HomeRecord[],
  directory: DirectoryPort,
): HomeRecord[] {
  const newest = members.flatMap(({ userId }) => directory.knownHome(userId)?.record ?? [])
  const isKnown = ({ countersignature }: HomeRecord): boolean =>
    known.some((record) => sameBytes(record.countersignature?.signature, countersignature!.signature))
  return newest.every(isKnown) ? [] : newest
}

export function membersOf(id: ConvId, genesisBytes: Uint8Array): readonly UserId[] {
  if (convIdOfGenesis(genesisBytes) !== id) throw new ParleyError('bad_id', 'the genesis is of another conversation')
  const genesis = readGenesis(genesisBytes)
  if (genesis.kind !== 'direct') throw new ParleyError('unknown_conversation', 'group conversations are not served yet')
  return genesis.members
}

/** Throws `unknown_user` when a member's home is not known. */
export function foundingOf(id: ConvId, genesisBytes: Uint8Array, homeOf: (user: UserId) => Home | undefined): Founding {
  const users = membersOf(id, genesisBytes)
  const homes = users.map((userId) => {
    const home = homeOf(userId)
    if (!home) throw new ParleyError('unknown_user', 'nobody knows where this person lives', { userId })
    return home
  })
  return {
    id,
    genesisBytes: genesisBytes.slice(),
    genesis: readGenesis(genesisBytes),
    members: homes.map((h) => ({ userId: h.userId, region: h.homeRegion, since: h.homeGeneration })),
    host: homes[0]!.homeRegion,
    epoch: FIRST_EPOCH,
  }
}

/** This node has to do with the conversation: a member lives here. */
export function ensureLocal(founding: Founding, here: RegionId): void {
  if (!founding.members.some((m) => m.region === here)) {
    throw new ParleyError('not_home', 'no member of this conversation lives here')
  }
}
