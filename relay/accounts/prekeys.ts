// Prekeys of local devices: stocked by their owners, handed out to whoever sets a session up.
// A one-time key goes out at most once: it leaves the pending state in the same turn in which it is chosen, and the
// answer waits until that deletion is committed, so neither a second request nor a crash can bring it back.
// Who has had enough of somebody's one-time keys gets the last-resort key, as if none were left, and no refusal: a region
// could use up what is everybody's and so keep others from ever writing to that person.
import { create } from '@bufbuild/protobuf'
import {
  type Clock,
  compareVersions,
  type Device,
  type DeviceKey,
  type Prekeys as OpenPrekeys,
  openPrekeys,
  ParleyError,
  type PrekeyBundle,
  PrekeyBundleSchema,
  type RegionId,
  type SignedPrekeys,
  type UserId,
  userIdBytes,
  type Version,
} from '#protocol'
import { BUNDLE_PAIR_BUDGET, BUNDLE_REGION_BUDGET, BUNDLE_SHARE_BUDGET, BUNDLE_TARGET_BUDGET } from '../limits.ts'
import type { Accounts } from './accounts.ts'
import { createBudgets } from './budgets.ts'
import type { AccountRows } from './rows.ts'
import { type Counts, countsOf, isLow, isNews, isOf, type Shelf, stock, take, withoutOneTime } from './shelf.ts'
import { createTurns } from './turns.ts'

/** Who asks for a bundle. `region` is the authenticated one that the request came from. */
export type Requester = { readonly user: UserId; readonly region: RegionId }

export type Prekeys = {
  /** Stocks what the device uploaded. Throws `bad_signature`, `unsigned_device`, `too_old`, `too_many`. */
  stock(user: UserId, device: DeviceKey, signed: SignedPrekeys): Promise<Counts>
  counts(user: UserId, device: DeviceKey): Promise<Counts & { readonly low: boolean }>
  /** Of a device whose shelf may have gone back: one-time keys that may have been given are gone. */
  dropOneTime(user: UserId, device: number): Promise<void>
  /** Resolves when the keys in it can never be given again. Throws `unknown_user`, `unknown_device`, `not_found`, `overloaded`. */
  bundle(target: UserId, device: number, requester: Requester): Promise<PrekeyBundle>
}

export type PrekeysParts = {
  readonly rows: AccountRows
  readonly accounts: Pick<Accounts, 'find'>
  readonly clock: Clock
  readonly region: RegionId
  /** Few are left for this device. */
  readonly onLow: (user: UserId, device: number, counts: Counts) => void
  readonly onGiven: (lastResort: boolean) => void
}

const registrationOf = (device: Device): Version => ({
  rootEpoch: device.registrationEpoch,
  version: device.registrationVersion,
})

async function deviceOf(parts: PrekeysParts, user: UserId, number: number) {
  const account = await parts.accounts.find(user)
  if (!account) throw new ParleyError('unknown_user', 'no account of this region', { user })
  const device = account.manifest.devices.find((d) => d.number === number)
  if (!device) throw new ParleyError('unknown_device', 'no such device in the newest manifest', { device: `${number}` })
  return device
}

function clear(rows: AccountRows, user: UserId, device: number, shelf: Shelf): void {
  for (const id of shelf.oneTime.ids) rows.deletePrekey(user, 'ec', device, id)
  for (const id of shelf.oneTimeKyber.ids) rows.deletePrekey(user, 'kyber', device, id)
}

async function stockInTurn(parts: PrekeysParts, user: UserId, device: Device, prekeys: OpenPrekeys): Promise<Counts> {
  const { rows } = parts
  const { number } = device
  const shelf = await rows.shelf(user, number)
  const stocked = stock(shelf, prekeys, registrationOf(device))
  if (!stocked) return countsOf(shelf)
  if (!rows.hasRoom()) throw new ParleyError('full_disk', 'no room for prekeys')
  if (stocked.cleared && shelf) clear(rows, user, number, shelf)
  if (prekeys.signed) rows.putLasting(user, number, 'signed', prekeys.signed)
  if (prekeys.lastResortKyber) rows.putLasting(user, number, 'last-resort', prekeys.lastResortKyber)
  for (const prekey of stocked.oneTime) rows.putPrekey(user, 'ec', number, prekey)
  for (const prekey of stocked.oneTimeKyber) rows.putPrekey(user, 'kyber', number, prekey)
  rows.putShelf(user, number, stocked.shelf)
  return countsOf(stocked.shelf)
}

/** Whether a one-time key may go to this region: it has some of its share left, and so have all regions together. */
function createShares(clock: Clock): (region: RegionId, name: string) => boolean {
  const shares = createBudgets(BUNDLE_SHARE_BUDGET, clock)
  const targets = createBudgets(BUNDLE_TARGET_BUDGET, clock)
  // In this order: who is beyond its own share uses up nothing of everybody's.
  return (region, name) => shares.take(`${region}/${name}`) === 0 && targets.take(name) === 0
}

async function bundleInTurn(parts: PrekeysParts, user: UserId, number: number, mayTake: () => boolean) {
  const { rows } = parts
  const device = await deviceOf(parts, user, number)
  const shelf = await rows.shelf(user, number)
  if (!isOf(shelf, registrationOf(device))) {
    throw new ParleyError('not_found', 'the device has not uploaded prekeys yet', { device: `${number}` })
  }
  const { oneTime: left, oneTimeKyber: leftKyber } = countsOf(shelf)
  // Nothing of a share is used up while there is nothing to take.
  const withheld = left + leftKyber > 0 && !mayTake()
  const taken = take(withheld ? withoutOneTime(shelf) : shelf)
  const [signed, oneTime, oneTimeKyber] = await Promise.all([
    rows.lasting(user, number, 'signed'),
    taken.oneTime === undefined ? undefined : rows.prekey(user, 'ec', number, taken.oneTime),
    taken.oneTimeKyber === undefined
      ? rows.lasting(user, number, 'last-resort')
      : rows.prekey(user, 'kyber', number, taken.oneTimeKyber),
  ])
  if (taken.oneTime !== undefined) rows.deletePrekey(user, 'ec', number, taken.oneTime)
  if (taken.oneTimeKyber !== undefined) rows.deletePrekey(user, 'kyber', number, taken.oneTimeKyber)
  // A bundle that takes nothing writes nothing: one may be asked for very often.
  if (taken.oneTime !== undefined || taken.oneTimeKyber !== undefined) rows.putShelf(user, number, taken.shelf)
  const bundle = create(PrekeyBundleSchema, {
    userId: userIdBytes(user),
    device: number,
    registrationEpoch: device.registrationEpoch,
    registrationVersion: device.registrationVersion,
    signed,
    ...(oneTime && { oneTime }),
    kyber: oneTimeKyber,
    kyberIsLastResort: taken.oneTimeKyber === undefined,
  })
  return { bundle, news: !withheld && isNews(countsOf(taken.shelf)), counts: countsOf(taken.shelf) }
}

export function createPrekeys(parts: PrekeysParts): Prekeys {
  const { rows } = parts
  const turns = createTurns()
  const pairs = createBudgets(BUNDLE_PAIR_BUDGET, parts.clock)
  const mayTake = createShares(parts.clock)
  const regions = createBudgets(BUNDLE_REGION_BUDGET, parts.clock)
  return {
    async stock(user, key, record) {
      const device = await deviceOf(parts, user, key.device)
      const prekeys = openPrekeys(record, { userId: user, device }, parts.clock.now())
      const registration = { rootEpoch: key.registrationEpoch, version: key.registrationVersion }
      if (compareVersions(registration, registrationOf(device)) !== 0) {
        throw new ParleyError('unsigned_device', 'the device is not in the newest manifest')
      }
      const counts = await turns(`${user}/${key.device}`, () => stockInTurn(parts, user, device, prekeys))
      await rows.flushed()
      return counts
    },
    async counts(user, device) {
      const shelf = await rows.shelf(user, device.device)
      const registration = { rootEpoch: device.registrationEpoch, version: device.registrationVersion }
      const counts = countsOf(isOf(shelf, registration) ? shelf : undefined)
      return { ...counts, low: isLow(counts) }
    },
    dropOneTime: (user, number) =>
      turns(`${user}/${number}`, async () => {
        const shelf = await rows.shelf(user, number)
        if (!shelf) return
        clear(rows, user, number, shelf)
        rows.putShelf(user, number, withoutOneTime(shelf))
      }),
    async bundle(target, device, requester) {
      const name = `${target}/${device}`
      if (requester.region !== parts.region) regions.spend(requester.region)
      pairs.spend(`${requester.region}/${requester.user}/${name}`)
      const { bundle, counts, news } = await turns(name, () =>
        bundleInTurn(parts, target, device, () => mayTake(requester.region, name)),
      )
      await rows.flushed()
      parts.onGiven(bundle.kyberIsLastResort)
      if (news) parts.onLow(target, device, counts)
      return bundle
    },
  }
}
