// The accounts of this region: who lives here, by which manifest. The stored manifest is the floor: an older one,
// or one signed by a key that a newer root epoch replaced, is refused after every restart too.
import { LRUCache } from 'lru-cache'
import {
  type Clock,
  compareVersions,
  type DeviceKey,
  type Home,
  type HomeRecord,
  type Manifest,
  openHomeRecord,
  openManifest,
  ParleyError,
  type SignedRecord,
  type UserId,
} from '#protocol'
import { ACCOUNTS_CACHED_MAX } from '../limits.ts'
import type { FormerHome } from '../rules/ports.ts'
import { countersignHead, type RegionKeys } from './countersigner.ts'
import type { AccountRows } from './rows.ts'
import { checkHead, checkSuccessor, compareManifests } from './succession.ts'
import { createTurns } from './turns.ts'

/** `former`: where somebody lived before they moved here. `life`: of the store, in which they came; 1 if nothing is said. */
export type Account = {
  readonly home: Home
  readonly manifest: Manifest
  readonly former?: FormerHome | undefined
  readonly life?: number | undefined
}

/** Who may open an account here: `undefined`, or why not. */
export type Policy = (request: { readonly user: UserId; readonly address: string }) => ParleyError | undefined

export type Accounts = {
  /** A new account, or a newer manifest of one that lives here. The same again answers the same. */
  register(
    manifest: SignedRecord,
    head: SignedRecord,
    address: string,
    former?: Omit<FormerHome, 'generation'> | undefined,
  ): Promise<Account>
  /** A newer manifest of an account that lives here; `unknown_user` otherwise. */
  replaceManifest(manifest: SignedRecord, head: SignedRecord): Promise<Account>
  /**
   * Pending state: for decisions here. An account of before the store went back is none, until its owner comes home to a
   * later generation: what has become of it since, nobody here knows.
   */
  find(user: UserId): Promise<Account | undefined>
  /** What may be shown to others: committed when it resolves. */
  findCommitted(user: UserId): Promise<Account | undefined>
  /** From memory only. */
  known(user: UserId): Account | undefined
  /** From memory only, where `find` puts it: also one of before the store went back. */
  knownStored(user: UserId): Account | undefined
  /** Resolves when `counter` is committed as the last one of this device; `old_profile` when it is not above the last. */
  raiseSessionCounter(user: UserId, device: DeviceKey, counter: bigint): Promise<void>
  /** Somebody lives elsewhere now: an account of this region that is older than their home record is given up. */
  leave(home: Home): void
  /** Where somebody lived before they moved here, also when they have moved on. */
  findFormer(user: UserId): Promise<FormerHome | undefined>
  /** Countersigns the person's head anew. */
  renew(user: UserId): Promise<Account | undefined>
}

export type Restored = {
  /** From 2. */
  readonly life: number
  /** Somebody comes home: what could be given twice is thrown away first. */
  readonly onReturn: (manifest: Manifest) => Promise<void>
}

export type AccountsParts = {
  readonly rows: AccountRows
  readonly clock: Clock
  readonly keys: RegionKeys
  readonly policy: Policy
  /** Of a store that went back and was restored. */
  readonly restored?: Restored | undefined
  /** After the commit: publish, tell sessions. `same`: asked again, perhaps since the answer or the publishing was lost. */
  readonly onChange: (account: Account, what: Change) => void
}

type Cache = LRUCache<UserId, Account>

function openStored(records: { home: HomeRecord; manifest: SignedRecord }, parts: AccountsParts): Account {
  const now = parts.clock.now()
  const manifest = openManifest(records.manifest, now)
  try {
    return { home: openHomeRecord(records.home, now), manifest }
  } catch (error) {
    // A node that was down for long finds its own word expired; the person's head under it still stands.
    if (!(error instanceof ParleyError) || error.code !== 'expired' || !records.home.head) throw error
    return { home: countersignHead(records.home.head, parts.keys, now), manifest }
  }
}

async function load(user: UserId, parts: AccountsParts, cache: Cache): Promise<Account | undefined> {
  const cached = cache.get(user)
  if (cached) return cached
  const { rows } = parts
  const [records, former] = await Promise.all([rows.records(user), rows.former(user)])
  const life = parts.restored && (await rows.life(user))
  // What was written while the rows were read is newer than what was read.
  const meanwhile = cache.get(user)
  if (meanwhile || !records) return meanwhile
  const account = { ...openStored(records, parts), former, ...(life && { life }) }
  cache.set(user, account)
  return account
}

/** `moved`: they come to live here with it. */
function write(account: Account, parts: AccountsParts, cache: Cache, moved = false): void {
  parts.rows.putManifest(account.manifest.userId, account.manifest.record)
  parts.rows.putHome(account.manifest.userId, account.home.record)
  if (account.former) parts.rows.putFormer(account.manifest.userId, account.former)
  if (account.former && moved) parts.rows.oweTelling(account.manifest.userId, account.former)
  if ((account.life ?? 1) > 1) parts.rows.putLife(account.manifest.userId, account.life!)
  cache.set(account.manifest.userId, account)
}

/** What counts of an account in this life of the store. */
const current = (account: Account | undefined, { restored }: AccountsParts): Account | undefined =>
  (account?.life ?? 1) === (restored?.life ?? 1) ? account : undefined

export const homeRestored = ({ manifest }: Account): ParleyError =>
  new ParleyError('home_restored', 'this home was restored from a backup that is older than what it has said', {
    generation: `${manifest.homeGeneration}`,
  })

export type Change = 'registered' | 'replaced' | 'same'

/** Decides and writes; must run in the account's turn. */
async function accept(
  candidate: Account,
  parts: AccountsParts,
  cache: Cache,
  ifUnknown: () => ParleyError | undefined,
): Promise<{ readonly account: Account; readonly what: Change }> {
  const before = await load(candidate.manifest.userId, parts, cache)
  const comesHome = before !== undefined && !current(before, parts)
  const moved = candidate.former !== undefined && candidate.former.region !== parts.keys.regionId
  if (before) {
    // An account of before the store went back is only followed by one of a later generation.
    if (comesHome && candidate.manifest.homeGeneration <= before.manifest.homeGeneration) throw homeRestored(before)
    if (compareManifests(before.manifest, candidate.manifest) === 'same') return { account: before, what: 'same' }
    checkSuccessor(before.manifest, candidate.manifest)
    if (!candidate.former) candidate = { ...candidate, former: before.former }
  } else {
    const refusal = ifUnknown()
    if (refusal) throw refusal
  }
  if (!parts.rows.hasRoom()) throw new ParleyError('full_disk', 'no room for accounts')
  if (comesHome) await parts.restored!.onReturn(candidate.manifest)
  write(candidate, parts, cache, moved)
  return { account: candidate, what: before ? 'replaced' : 'registered' }
}

export function createAccounts(parts: AccountsParts): Accounts {
  const cache: Cache = new LRUCache({ maxSize: ACCOUNTS_CACHED_MAX, sizeCalculation: () => 1 })
  const turns = createTurns()
  const change = async (
    manifest: SignedRecord,
    head: SignedRecord,
    before: Omit<FormerHome, 'generation'> | undefined,
    ifUnknown: (user: UserId) => ParleyError | undefined,
  ): Promise<Account> => {
    const now = parts.clock.now()
    const opened = openManifest(manifest, now)
    if (opened.homeRegion !== parts.keys.regionId) {
      throw new ParleyError('not_home', 'the manifest names another region as home', { home: opened.homeRegion })
    }
    const life = parts.restored?.life
    const candidate = {
      manifest: opened,
      home: countersignHead(head, parts.keys, now),
      former: before && { ...before, generation: opened.homeGeneration - 1 },
      ...(life && { life }),
    }
    checkHead(candidate.manifest, candidate.home, parts.keys.regionId)
    const user = opened.userId
    const { account, what } = await turns(user, () => accept(candidate, parts, cache, () => ifUnknown(user)))
    await parts.rows.flushed()
    parts.onChange(account, what)
    return account
  }
  return {
    register: (manifest, head, address, former) =>
      change(manifest, head, former, (user) => parts.policy({ user, address })),
    replaceManifest: (manifest, head) =>
      change(
        manifest,
        head,
        undefined,
        (user) => new ParleyError('unknown_user', 'no account of this region', { user }),
      ),
    async find(user) {
      return current(await load(user, parts, cache), parts)
    },
    async findCommitted(user) {
      const account = current(await load(user, parts, cache), parts)
      if (account) await parts.rows.flushed()
      return account
    },
    known: (user) => current(cache.get(user), parts),
    knownStored: (user) => cache.get(user),
    leave(home) {
      const { userId } = home
      const giveUp = (account: Account | undefined) => {
        if (!account || compareVersions(home, account.home) <= 0) return
        cache.delete(userId)
        parts.rows.deleteAccount(userId, account.former)
      }
      const account = cache.get(userId)
      if (account) giveUp(account)
      else void turns(userId, async () => giveUp(await load(userId, parts, cache))).catch(() => {})
    },
    findFormer: async (user) => (await load(user, parts, cache))?.former ?? parts.rows.leftFormer(user),
    async raiseSessionCounter(user, device, counter) {
      await turns(user, async () => {
        const last = await parts.rows.sessionCounter(user, device)
        if (counter <= last) {
          throw new ParleyError('old_profile', 'this session counter was used before: is the profile an old copy?', {
            last: `${last}`,
          })
        }
        parts.rows.putSessionCounter(user, device, counter)
      })
      await parts.rows.flushed()
    },
    async renew(user) {
      const account = await load(user, parts, cache)
      if (!account) return undefined
      const home = countersignHead(account.home.record.head!, parts.keys, parts.clock.now())
      const renewed = { ...account, home }
      // A manifest that was replaced while rows were read has a newer home record anyway.
      if (cache.get(user) !== account) return cache.get(user)
      write(renewed, parts, cache)
      await parts.rows.flushed()
      return renewed
    },
  }
}
