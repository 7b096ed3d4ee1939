// Who somebody is and where that person lives. People of this region are answered from the store, always; home records
// of others come from the node's directory (memory, floors, DHT), their manifests from their home by request.
import { create, toBinary } from '@bufbuild/protobuf'
import { LRUCache } from 'lru-cache'
import type { Directory, ParleyNode, Requester } from '#node'
import {
  type Clock,
  compareVersions,
  decode,
  type Home,
  limits,
  type Manifest,
  openManifest,
  ParleyError,
  type PrekeyBundle,
  PrekeyBundleSchema,
  type RegionId,
  type UserId,
  UserQuerySchema,
  UserRecordsSchema,
  userIdBytes,
  userIdOf,
} from '#protocol'
import type { Account, Accounts } from './accounts/accounts.ts'
import type { Prekeys } from './accounts/prekeys.ts'
import type { People } from './gateway/parts.ts'
import { LOOKUPS_MAX, REQUEST_PATIENCE_MS, STRANGERS_CACHED_MAX } from './limits.ts'
import type { DirectoryPort } from './rules/ports.ts'

export type DirectoryParts = {
  readonly region: RegionId
  readonly clock: Clock
  readonly accounts: Accounts
  readonly prekeys: Prekeys
  readonly node: { readonly directory: Directory } & Pick<ParleyNode, 'request'>
}

export type RelayDirectory = DirectoryPort & People

type Strangers = LRUCache<UserId, Manifest>

/** Never older than what was seen; another one of the same version is refused. */
function remember(strangers: Strangers, manifest: Manifest): Manifest {
  const known = strangers.get(manifest.userId)
  if (known) {
    const order = compareVersions(manifest, known)
    if (order < 0) return known
    if (order === 0 && Buffer.compare(manifest.hash, known.hash) !== 0) {
      throw new ParleyError('conflict', 'two manifests of the same version', { user: manifest.userId })
    }
  }
  strangers.set(manifest.userId, manifest)
  return manifest
}

/** The manifest must be the one that its home record names, and not older than `floor`. */
function checkPair(home: Home, manifest: Manifest, floor: Home): void {
  const pair =
    home.userId === floor.userId &&
    manifest.userId === floor.userId &&
    compareVersions(home, manifest) === 0 &&
    Buffer.compare(home.manifestHash, manifest.hash) === 0
  if (!pair)
    throw new ParleyError('conflict', 'home record and manifest do not belong together', { user: floor.userId })
  if (compareVersions(manifest, floor) < 0) {
    throw new ParleyError('too_old', 'the home answers with an older manifest than the directory knows', {
      user: floor.userId,
    })
  }
}

async function askRecords(parts: DirectoryParts, strangers: Strangers, home: Home): Promise<Account> {
  const { node, clock } = parts
  const query = toBinary(UserQuerySchema, create(UserQuerySchema, { userId: userIdBytes(home.userId) }))
  const bytes = await node.request(home.homeRegion, 'records', query, REQUEST_PATIENCE_MS)
  const records = decode(UserRecordsSchema, bytes, limits.REQUEST_MAX_BYTES)
  if (!records.home || !records.manifest) throw new ParleyError('malformed', 'records without home record or manifest')
  const manifest = openManifest(records.manifest, clock.now())
  const newest = node.directory.learnHomeRecord(records.home)
  checkPair(newest, manifest, home)
  return { home: newest, manifest: remember(strangers, manifest) }
}

/** Asks the home that is known; when it says that the person lives elsewhere, looks again and asks there. */
async function askHome<T>(
  parts: DirectoryParts,
  user: UserId,
  ask: (home: Home) => Promise<T>,
): Promise<T | undefined> {
  const { directory } = parts.node
  const home = await directory.findHome(user)
  if (!home || home.homeRegion === parts.region) return undefined
  try {
    return await ask(home)
  } catch (error) {
    const moved = error instanceof ParleyError && (error.code === 'not_home' || error.code === 'unknown_user')
    if (!moved) throw error
    const fresh = await directory.findHome(user, { fresh: true })
    if (!fresh || fresh.homeRegion === home.homeRegion || fresh.homeRegion === parts.region) throw error
    return ask(fresh)
  }
}

/** One request for one person at a time; who asks meanwhile gets the same answer. */
function shared<T>(under: Map<UserId, Promise<T>>, user: UserId, ask: () => Promise<T>): Promise<T> {
  const asking = under.get(user)
  if (asking) return asking
  if (under.size >= LOOKUPS_MAX)
    return Promise.reject(new ParleyError('overloaded', 'too many look-ups at once', {}, 1_000))
  const asked = ask().finally(() => under.delete(user))
  under.set(user, asked)
  return asked
}

function rulesPort(
  parts: DirectoryParts,
  strangers: Strangers,
  askAbout: (user: UserId) => Promise<Account | undefined>,
): DirectoryPort {
  const { accounts, node } = parts
  /** Of a local person only the store speaks; who is not in memory is read, so that the next question finds it. */
  const local = (user: UserId): Account | undefined => {
    const account = accounts.known(user)
    if (!account && node.directory.knownHome(user)?.homeRegion === parts.region)
      void accounts.find(user).catch(() => undefined)
    return account
  }
  return {
    knownHome: (user) => local(user)?.home ?? node.directory.knownHome(user) ?? accounts.knownStored(user)?.home,
    async findHome(user, found = { fresh: false }) {
      const account = await accounts.find(user)
      if (account) return account.home
      // Of before the store went back: perhaps they have moved since.
      const stored = accounts.knownStored(user)?.home
      const home = node.directory.findHome(user, found)
      return stored ? ((await home.catch(() => undefined)) ?? stored) : home
    },
    knownManifest: (user) => local(user)?.manifest ?? strangers.get(user),
    async findManifest(user, home) {
      const account = await accounts.find(user)
      if (account) return account.manifest
      const known = strangers.get(user)
      if (known && compareVersions(known, home) >= 0) return known
      node.directory.learnHome(home)
      return (await askAbout(user))?.manifest
    },
    learnHome(home) {
      const account = accounts.known(home.userId)
      if (!account) {
        const learnt = node.directory.learnHome(home)
        // Perhaps one of this region's people, who is not in memory.
        if (learnt && home.homeGeneration > 1 && home.homeRegion !== parts.region) accounts.leave(home)
        return learnt
      }
      const newer = compareVersions(home, account.home)
      if (newer <= 0 || home.homeRegion === parts.region) return newer >= 0
      if (!node.directory.learnHome(home)) return false
      accounts.leave(home)
      return true
    },
    formerHome: (user) => accounts.known(user)?.former,
    findFormerHome: (user) => accounts.findFormer(user),
  }
}

function readBundle(bytes: Uint8Array, target: UserId, device: number): PrekeyBundle {
  const bundle = decode(PrekeyBundleSchema, bytes, limits.PREKEYS_MAX_BYTES)
  if (userIdOf(bundle.userId) !== target || bundle.device !== device) {
    throw new ParleyError('malformed', 'a bundle of another device')
  }
  return bundle
}

export function createDirectory(parts: DirectoryParts): RelayDirectory {
  const { accounts, prekeys, node, region } = parts
  const strangers: Strangers = new LRUCache({ maxSize: STRANGERS_CACHED_MAX, sizeCalculation: () => 1 })
  const asking = new Map<UserId, Promise<Account | undefined>>()
  const askAbout = (user: UserId) =>
    shared(asking, user, () => askHome(parts, user, (home) => askRecords(parts, strangers, home)))
  return {
    ...rulesPort(parts, strangers, askAbout),
    async find(user) {
      const account = await accounts.findCommitted(user)
      if (account) return account
      try {
        return await askAbout(user)
      } catch (error) {
        // What was verified before is better than nothing while the home is away.
        const home = node.directory.knownHome(user)
        const manifest = strangers.get(user)
        const away = error instanceof ParleyError && error.retry
        if (!away || !home || !manifest || compareVersions(home, manifest) !== 0) throw error
        return { home, manifest }
      }
    },
    async bundle(target, device, requester) {
      if (await accounts.find(target)) return prekeys.bundle(target, device, { user: requester, region })
      const query = create(UserQuerySchema, { userId: userIdBytes(target), device, requester: userIdBytes(requester) })
      const ask = (home: Home) =>
        node.request(home.homeRegion, 'bundle', toBinary(UserQuerySchema, query), REQUEST_PATIENCE_MS)
      const bytes = await askHome(parts, target, ask)
      if (!bytes) throw new ParleyError('unknown_user', 'nobody with this id was found', { user: target })
      return readBundle(bytes, target, device)
    },
  }
}

/** What other regions ask this one. */
export function answerRequests(
  parts: Pick<DirectoryParts, 'accounts' | 'prekeys'> & {
    readonly node: Pick<ParleyNode, 'handle'> & { readonly directory: Pick<Directory, 'knownHome'> }
  },
): void {
  const { accounts, prekeys, node } = parts
  const readQuery = (body: Uint8Array) => decode(UserQuerySchema, body, limits.RECORD_MAX_BYTES)
  const missing = (user: UserId): ParleyError => {
    const home = node.directory.knownHome(user)
    if (home) return new ParleyError('not_home', 'this person lives in another region', { home: home.homeRegion })
    return new ParleyError('unknown_user', 'no account of this region', { user })
  }
  node.handle('records', async (_from, body) => {
    const user = userIdOf(readQuery(body).userId)
    const account = await accounts.findCommitted(user)
    if (!account) throw missing(user)
    const { home, manifest } = account
    return toBinary(UserRecordsSchema, create(UserRecordsSchema, { home: home.record, manifest: manifest.record }))
  })
  node.handle('bundle', async (from: Requester, body) => {
    if (!from.region) throw new ParleyError('not_admitted', 'only nodes of a region ask for bundles')
    const query = readQuery(body)
    const user = userIdOf(query.userId)
    if (!(await accounts.find(user))) throw missing(user)
    const requester = { user: userIdOf(query.requester), region: from.region }
    return toBinary(PrekeyBundleSchema, await prekeys.bundle(user, query.device, requester))
  })
}
