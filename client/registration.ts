// An account comes into being, or back: keys are made, stored, and only then shown to a home.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { toBinary } from '@bufbuild/protobuf'
import {
  createAccount,
  type DeviceKeys,
  describeDevice,
  type NewAccount,
  newDeviceKeys,
  newRecoveryPhrase,
  packDeviceKeys,
  recoverAccount,
  rootKeyOfPhrase,
  succeedManifest,
  unpackDeviceKeys,
} from '#crypto'
import {
  type Clock,
  compareVersions,
  decode,
  HomeRecordSchema,
  limits,
  type Manifest,
  openHomeRecord,
  openManifest,
  ParleyError,
  type Random,
  type Region,
  type RegionId,
  readGenesis,
  type SignedRecord,
  SignedRecordSchema,
  type UserId,
  userIdOfRootKey,
} from '#protocol'
import {
  type OwnRecords,
  packResends,
  putBootstraps,
  putOwn,
  putRegion,
  putSelf,
  type Resend,
  readAccount,
  readBootstraps,
  readDevice,
  readOwnHead,
  readOwnManifest,
  readSelf,
} from './account.ts'
import { createProfileFile, openProfileFile, type ProfileFile } from './db/profile-file.ts'
import { ask, fromBase64 } from './http.ts'
import { COME_HOME_MS, COME_HOME_TIMES, REPLACE_SELF_MS } from './limits.ts'
import { fastestEntry, originsOf, regionAt } from './regions.ts'
import { authorText } from './rules/conversation.ts'
import { all, type DeviceDb } from './rules/schema.ts'

export type Where = {
  /** Origin of the region that is to be home; undefined: the fastest that the bootstrap nodes list. */
  readonly home: string | undefined
  readonly bootstraps: readonly string[]
}

export type Move = { readonly passphrase: string; readonly to: string; readonly gone: boolean }
type Ports = { readonly clock: Clock; readonly random: Random }

const base64 = (record: SignedRecord): string => Buffer.from(toBinary(SignedRecordSchema, record)).toString('base64')

async function entryOf(where: Where, clock: Clock): Promise<{ region: Region; origin: string }> {
  if (where.home) return { region: await regionAt(where.home, clock), origin: where.home }
  return fastestEntry(where.bootstraps, clock)
}

async function tellHome(
  origin: string,
  method: 'POST' | 'PUT',
  records: { manifest: SignedRecord; head: SignedRecord },
  former?: { readonly region: RegionId; readonly gone: boolean },
): Promise<void> {
  const path = method === 'POST' ? '/v1/accounts' : '/v1/manifest'
  const body = { manifest: base64(records.manifest), head: base64(records.head), ...(former && { former }) }
  await ask({ method, origin, path, token: undefined, body })
}

function store(db: DeviceDb, own: OwnRecords, region: Region, bootstraps: readonly string[]): void {
  db.transaction((tx) => {
    putOwn(tx, own)
    putRegion(tx, region)
    putBootstraps(tx, bootstraps)
  })
}

/** A profile that could not be registered leaves nothing behind. */
export async function makeProfile<T>(
  directory: string,
  passphrase: string,
  register: (profile: ProfileFile) => Promise<T>,
): Promise<{ profile: ProfileFile; result: T }> {
  const profile = await createProfileFile(directory, passphrase)
  try {
    return { profile, result: await register(profile) }
  } catch (error) {
    profile[Symbol.dispose]()
    for (const file of ['profile.json', 'profile.db', 'profile.db-wal', 'profile.db-shm']) {
      await rm(join(directory, file), { force: true })
    }
    throw error
  }
}

/** The recovery phrase is returned, never stored. */
export async function registerNew(db: DeviceDb, where: Where, { clock, random }: Ports): Promise<string> {
  const { region, origin } = await entryOf(where, clock)
  const phrase = newRecoveryPhrase(random)
  const made = createAccount(rootKeyOfPhrase(phrase), { homeRegion: region.regionId, fallbackRegions: [] }, random)
  store(db, made, region, where.bootstraps)
  await tellHome(origin, 'POST', made)
  return phrase
}

type AccountAnswer = { readonly manifest?: unknown; readonly homeRecord?: unknown } | undefined

const accountAt = (origin: string, user: string): Promise<AccountAnswer> =>
  ask({ method: 'GET', origin, path: `/v1/accounts/${user}`, token: undefined, body: undefined })

/** The newest manifest that the home region has of this account; `unknown_user` when it has none. */
async function manifestAt(origin: string, user: string, clock: Clock): Promise<Manifest> {
  return manifestIn(await accountAt(origin, user), user, clock)
}

function manifestIn(answer: AccountAnswer, user: string, clock: Clock): Manifest {
  const record = decode(SignedRecordSchema, fromBase64(answer?.manifest), 2 * limits.RECORD_MAX_BYTES)
  const manifest = openManifest(record, clock.now())
  if (manifest.userId !== user)
    throw new ParleyError('wrong_root', 'the home answered with the account of somebody else')
  return manifest
}

/** The account of the phrase again, with a new device; everything that older devices hold stops counting. */
export async function registerAgain(
  db: DeviceDb,
  where: Where,
  phrase: string,
  { clock, random }: Ports,
): Promise<void> {
  const rootKey = rootKeyOfPhrase(phrase)
  const { region, origin } = await entryOf(where, clock)
  const previous = await manifestAt(origin, userIdOfRootKey(rootKey.publicKey), clock)
  const register = async (again: boolean): Promise<void> => {
    const home = { homeRegion: region.regionId, fallbackRegions: previous.fallbackRegions, again }
    const made: NewAccount = recoverAccount(rootKey, previous, home, random)
    store(db, made, region, where.bootstraps)
    await tellHome(origin, 'POST', made, again ? { region: region.regionId, gone: true } : undefined)
  }
  await register(false).catch((error: unknown) => {
    if (error instanceof ParleyError && error.code === 'home_restored') return register(true)
    throw error
  })
}

/**
 * The account lives elsewhere from now on. The new home asks the former one for what it keeps; `gone` says that it will not
 * answer any more, and gives up what only it has. The same move again goes on where it was interrupted.
 */
export async function moveProfile(directory: string, move: Move, clock: Clock): Promise<ProfileFile> {
  const profile = await openProfileFile(directory, move.passphrase)
  try {
    await moveHome(profile.db, move, clock)
    return profile
  } catch (error) {
    profile[Symbol.dispose]()
    throw error
  }
}

async function moveHome(db: DeviceDb, move: Move, clock: Clock): Promise<void> {
  const previous = readOwnManifest(db, clock.now())
  const region = await regionAt(move.to, clock)
  if (region.regionId === previous.homeRegion) {
    throw new ParleyError('bad_argument', `the account lives in ${region.name} already`, { region: region.regionId })
  }
  const account = readAccount(db)
  const home = { homeRegion: region.regionId, fallbackRegions: [...previous.fallbackRegions] }
  const signed = succeedManifest(account, previous, { devices: undefined, home })
  await tellHome(move.to, 'POST', signed, { region: previous.homeRegion, gone: move.gone })
  store(db, { account, device: readDevice(db), ...signed }, region, readBootstraps(db))
}

/** The home has lost the account, or never heard of it because the answer was lost: the same records again. */
export async function registerOnceMore(db: DeviceDb, region: Region, clock: Clock): Promise<void> {
  const records = { manifest: readOwnManifest(db, clock.now()).record, head: readOwnHead(db) }
  await firstThatAnswers(region, (origin) => tellHome(origin, 'POST', records))
}

/**
 * The home went on from an old backup, or from nothing. Whatever this account was host of begins anew there, behind what
 * other regions have, as if it had moved there from a home that is gone. False when that was done too often lately.
 */
export async function comeHome(db: DeviceDb, region: Region, clock: Clock): Promise<boolean> {
  const now = clock.now()
  const times = timesHome(db, now)
  if (times.length >= COME_HOME_TIMES) return false
  const account = readAccount(db)
  const previous = readOwnManifest(db, now)
  const { homeRegion, fallbackRegions } = previous
  const home = { homeRegion, fallbackRegions: [...fallbackRegions], again: true }
  const signed = succeedManifest(account, previous, { devices: undefined, home })
  await firstThatAnswers(region, (origin) => tellHome(origin, 'POST', signed, { region: homeRegion, gone: true }))
  db.transaction((tx) => {
    putOwn(tx, { account, device: readDevice(db), ...signed })
    putSelf(tx, 'came-home', writeTimes([...times, now]))
  })
  return true
}

/**
 * The home has a newer manifest than this profile: its answer to that one was lost. False when it has none that names this
 * device and home. A later generation counts as having come home: a home that loses its answers is not believed more often.
 */
export async function takeNewer(db: DeviceDb, region: Region, clock: Clock): Promise<boolean> {
  const now = clock.now()
  const account = readAccount(db)
  const device = readDevice(db)
  const own = readOwnManifest(db, now)
  let answer: AccountAnswer
  await firstThatAnswers(region, async (origin) => {
    answer = await accountAt(origin, own.userId)
  })
  const newer = manifestIn(answer, own.userId, clock)
  const isOurs = newer.rootEpoch === own.rootEpoch && newer.homeRegion === own.homeRegion && names(newer, device)
  if (!isOurs || compareVersions(newer, own) <= 0) return false
  const { record, manifestHash } = openHomeRecord(
    decode(HomeRecordSchema, fromBase64(answer?.homeRecord), 4 * limits.RECORD_MAX_BYTES),
    now,
  )
  if (Buffer.compare(manifestHash, newer.hash) !== 0) return false
  db.transaction((tx) => {
    putOwn(tx, { account, device, manifest: newer.record, head: record.head! })
    if (newer.homeGeneration > own.homeGeneration) putSelf(tx, 'came-home', writeTimes([...timesHome(db, now), now]))
  })
  return true
}

/** Whether the manifest has this very registration, with the same keys. */
function names(manifest: Manifest, device: DeviceKeys): boolean {
  const own = describeDevice(device)
  return manifest.devices.some(
    (it) =>
      it.number === own.number &&
      it.registrationEpoch === own.registrationEpoch &&
      it.registrationVersion === own.registrationVersion &&
      Buffer.compare(it.deviceKey, own.deviceKey) === 0 &&
      Buffer.compare(it.signalIdentityKey, own.signalIdentityKey) === 0,
  )
}

const timesHome = (db: DeviceDb, now: number): number[] =>
  readTimes(readSelf(db, 'came-home')).filter((at) => now - at < COME_HOME_MS)

const writeTimes = (times: readonly number[]): Uint8Array => new Uint8Array(Float64Array.from(times).buffer)

const readTimes = (bytes: Uint8Array | undefined): number[] =>
  bytes ? [...new Float64Array(new Uint8Array(bytes).buffer)] : []

async function firstThatAnswers(region: Region, request: (origin: string) => Promise<void>): Promise<void> {
  let last: unknown = new ParleyError('unreachable', `region ${region.name} names no way in`)
  for (const origin of originsOf(region)) {
    try {
      return await request(origin)
    } catch (error) {
      last = error
      if (!(error instanceof ParleyError) || !error.retry) throw error
    }
  }
  throw last
}

function membersOf(bytes: Uint8Array): readonly UserId[] {
  const genesis = readGenesis(bytes)
  return genesis.kind === 'direct' ? genesis.members : []
}

/** What this device never got a number for, as far as this copy knows. */
function unsaid(db: DeviceDb): Resend[] {
  const device = readDevice(db)
  const key = { ...device, device: device.number }
  return all(db, 'conversations').flatMap(({ conv, genesis }) =>
    membersOf(genesis).flatMap((to, i) => {
      const member = 1 - i
      return all(db, 'messages', conv, authorText(member, key)).flatMap(({ k, kind, status, body }) =>
        (kind === 'text' || kind === 'data') && (status === 'waiting' || status === 'held')
          ? [{ to, k, kind, body }]
          : [],
      )
    }),
  )
}

/**
 * This profile is an old copy of one that lived on. Its device stops counting and a new one takes its place; contents
 * that never got a number go out again under the new one. Returns false when that was done within the last day: two
 * copies that replace each other for ever help nobody.
 */
export async function replaceSelf(db: DeviceDb, region: Region, { clock, random }: Ports): Promise<boolean> {
  const now = clock.now()
  const account = readAccount(db)
  let pending = readPending(db)
  if (!pending) {
    const last = readSelf(db, 'replaced')
    if (last && now - Number(Buffer.from(last).readBigUInt64BE()) < REPLACE_SELF_MS) return false
    pending = await prepareReplacement(db, region, { clock, random })
    const bytes = packPending(pending)
    // Kept before the home hears of it: a crash in between finds the same device again.
    db.transaction((tx) => putSelf(tx, 'pending', bytes))
  }
  const { device, manifest, head } = pending
  await firstThatAnswers(region, (origin) => tellHome(origin, 'PUT', { manifest, head }))
  const resends = unsaid(db)
  const at = Buffer.alloc(8)
  at.writeBigUInt64BE(BigInt(now))
  db.transaction((tx) => {
    putOwn(tx, { device, account, manifest, head })
    putSelf(tx, 'replaced', new Uint8Array(at))
    putSelf(tx, 'resend', packResends(resends))
    tx.delete('self', ['counter'])
    tx.delete('self', ['pending'])
    for (const { kind, key } of all(tx, 'keys')) tx.delete('keys', [kind, key])
    for (const { conv, k } of all(tx, 'outbox')) tx.delete('outbox', [conv, k])
    for (const { conv, k } of all(tx, 'sealed')) tx.delete('sealed', [conv, k])
    for (const row of all(tx, 'conversations')) {
      tx.put('conversations', { ...row, lastK: 0, burnt: 0, stateKey: undefined, stateKeyK: 0, asked: 0 })
    }
    for (const row of all(tx, 'messages')) {
      if (row.status === 'waiting' || row.status === 'held') tx.delete('messages', [row.conv, row.author, row.k])
    }
  })
  return true
}

type Replacement = { readonly device: DeviceKeys; readonly manifest: SignedRecord; readonly head: SignedRecord }

async function prepareReplacement(db: DeviceDb, region: Region, { clock, random }: Ports): Promise<Replacement> {
  const account = readAccount(db)
  const old = readDevice(db)
  const previous = await newestOf(db, region, clock)
  const next = { rootEpoch: previous.rootEpoch, version: previous.version + 1 }
  const device = newDeviceKeys(account.userId, old.number, next, random)
  const others = previous.devices.filter(({ number }) => number !== old.number)
  return {
    device,
    ...succeedManifest(account, previous, { devices: [...others, describeDevice(device)], home: undefined }),
  }
}

function packPending({ device, manifest, head }: Replacement): Uint8Array {
  const plain = {
    device: Buffer.from(packDeviceKeys(device)).toString('base64'),
    manifest: base64(manifest),
    head: base64(head),
  }
  return new Uint8Array(Buffer.from(JSON.stringify(plain)))
}

export function readPending(db: DeviceDb): Replacement | undefined {
  const value = readSelf(db, 'pending')
  if (!value) return undefined
  const plain = JSON.parse(Buffer.from(value).toString()) as Record<'device' | 'manifest' | 'head', string>
  const record = (text: string): SignedRecord =>
    decode(SignedRecordSchema, fromBase64(text), 2 * limits.RECORD_MAX_BYTES)
  return {
    device: unpackDeviceKeys(fromBase64(plain.device)),
    manifest: record(plain.manifest),
    head: record(plain.head),
  }
}

/** The home's manifest when it is newer than this copy's: the life that went on may have changed it. */
async function newestOf(db: DeviceDb, region: Region, clock: Clock): Promise<Manifest> {
  const own = readOwnManifest(db, clock.now())
  let newest = own
  await firstThatAnswers(region, async (origin) => {
    const there = await manifestAt(origin, own.userId, clock)
    if (compareVersions(there, own) > 0) newest = there
  })
  return newest
}
