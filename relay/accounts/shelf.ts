// The one-time prekeys of one device, as a list of ids: the rules of stocking and taking, over plain data.
// "Given at most once" must survive a device that uploads the same key twice (a lost answer, an old copy of its
// profile). Remembering every key that ever went out would grow for ever; so ids rise, the shelf remembers the
// highest it was given, and what is not above it is passed over: it is here already, or it went out.
import { compareVersions, limits, ParleyError, type Prekey, type Prekeys, type Version } from '#protocol'

export type Pile = { readonly ids: readonly number[]; readonly highest: number }

export type Shelf = {
  readonly registration: Version
  readonly timeMs: number
  /** Of the payload stocked last: the same payload again changes nothing. */
  readonly payloadHash: string
  readonly oneTime: Pile
  readonly oneTimeKyber: Pile
}

export type Counts = { readonly oneTime: number; readonly oneTimeKyber: number }

export type Stocked = {
  readonly shelf: Shelf
  readonly oneTime: readonly Prekey[]
  readonly oneTimeKyber: readonly Prekey[]
  /** Every key of the shelf before belongs to a registration that is gone. */
  readonly cleared: boolean
}

const EMPTY: Pile = { ids: [], highest: 0 }

export function countsOf(shelf: Shelf | undefined): Counts {
  return { oneTime: shelf?.oneTime.ids.length ?? 0, oneTimeKyber: shelf?.oneTimeKyber.ids.length ?? 0 }
}

export function isLow(counts: Counts): boolean {
  return counts.oneTime < limits.PREKEYS_LOW || counts.oneTimeKyber < limits.PREKEYS_LOW
}

function add(pile: Pile, given: readonly Prekey[]): { pile: Pile; added: Prekey[] } {
  let highest = pile.highest
  const added: Prekey[] = []
  for (const prekey of given.toSorted((a, b) => a.id - b.id)) {
    if (prekey.id <= highest) continue
    highest = prekey.id
    added.push(prekey)
  }
  const ids = [...pile.ids, ...added.map((prekey) => prekey.id)]
  if (ids.length > limits.PREKEYS_ONE_TIME_MAX) {
    throw new ParleyError('too_many', 'one-time prekeys', {
      limit: `${limits.PREKEYS_ONE_TIME_MAX}`,
      count: `${ids.length}`,
    })
  }
  return { pile: { ids, highest }, added }
}

/** Whether the owner is told after a key was taken: once when it gets low, and again and again when none is left. */
export function isNews(counts: Counts): boolean {
  const fewest = Math.min(counts.oneTime, counts.oneTimeKyber)
  return fewest === limits.PREKEYS_LOW - 1 || fewest === 0
}

export function isOf(shelf: Shelf | undefined, registration: Version): shelf is Shelf {
  return shelf !== undefined && compareVersions(shelf.registration, registration) === 0
}

/** `undefined` when this very payload was stocked before. Throws `too_old`, `too_many`, `malformed`. */
export function stock(shelf: Shelf | undefined, prekeys: Prekeys, registration: Version): Stocked | undefined {
  const before = isOf(shelf, registration) ? shelf : undefined
  const payloadHash = Buffer.from(prekeys.hash).toString('hex')
  if (before?.payloadHash === payloadHash) return undefined
  if (before && prekeys.timeMs <= before.timeMs) {
    throw new ParleyError('too_old', 'prekeys not newer than those uploaded last', { newest: `${before.timeMs}` })
  }
  if (!before && !(prekeys.signed && prekeys.lastResortKyber)) {
    throw new ParleyError('malformed', 'the first prekeys of a device need a signed and a last-resort key')
  }
  const oneTime = add(before?.oneTime ?? EMPTY, prekeys.oneTime)
  const oneTimeKyber = add(before?.oneTimeKyber ?? EMPTY, prekeys.oneTimeKyber)
  const { timeMs } = prekeys
  return {
    shelf: { registration, timeMs, payloadHash, oneTime: oneTime.pile, oneTimeKyber: oneTimeKyber.pile },
    oneTime: oneTime.added,
    oneTimeKyber: oneTimeKyber.added,
    cleared: !before && shelf !== undefined,
  }
}

/** Ids go on rising, and no payload of before is known. */
export function withoutOneTime(shelf: Shelf): Shelf {
  const none = ({ highest }: Pile): Pile => ({ ids: [], highest })
  return { ...shelf, payloadHash: '', oneTime: none(shelf.oneTime), oneTimeKyber: none(shelf.oneTimeKyber) }
}

export type Taken = {
  readonly shelf: Shelf
  readonly oneTime: number | undefined
  /** `undefined`: none was left, the last-resort key goes out. */
  readonly oneTimeKyber: number | undefined
}

/** The oldest of each pile leaves the shelf. */
export function take(shelf: Shelf): Taken {
  const [oneTime, ...ids] = shelf.oneTime.ids
  const [oneTimeKyber, ...kyberIds] = shelf.oneTimeKyber.ids
  return {
    shelf: {
      ...shelf,
      oneTime: { ...shelf.oneTime, ids },
      oneTimeKyber: { ...shelf.oneTimeKyber, ids: kyberIds },
    },
    oneTime,
    oneTimeKyber,
  }
}
