// The people and regions of every simulated network: real signed records, made once for the process and the same in
// every run, so that a seed spends its time on schedules and not on signatures.
import { create, toBinary } from '@bufbuild/protobuf'
import {
  countersign,
  DeviceSchema,
  GrantBody_Purpose,
  GrantBodySchema,
  grant,
  type Home,
  HomeBodySchema,
  type Manifest,
  ManifestBodySchema,
  openHomeRecord,
  openManifest,
  type RegionId,
  type RegionSigner,
  regionIdBytes,
  regionIdOfRootKey,
  type SigningKey,
  sha256,
  signingKey,
  signRecord,
  simulatedRandom,
  type UserId,
  userIdBytes,
  userIdOfRootKey,
} from '#protocol'

/** When simulated time begins, ms. */
export const START_MS = Date.UTC(2026, 0, 1)
const COUNTERSIGNED_FOR_MS = 80 * 86_400_000
export type SimRegion = {
  readonly id: RegionId
  readonly name: string
  readonly key: SigningKey
  readonly root: SigningKey
}
/** A manifest and the home record that names it. */
export type SimRecords = { readonly manifest: Manifest; readonly home: Home }
export type SimPerson = {
  readonly userId: UserId
  readonly name: string
  /** Where they live at first. */
  readonly region: RegionId
  /** The newest records of somebody whose versions 1, 2 … named these homes; made once. */
  readonly records: (homes: readonly Lived[]) => SimRecords
}
/** What one version of somebody's records says. */
export type Lived = { readonly region: RegionId; readonly generation: number }
export type Cast = { readonly regions: readonly SimRegion[]; readonly people: readonly SimPerson[] }

const casts = new Map<string, Cast>()

/** As many regions as there are numbers, and in each as many people. */
export function castOf(people: readonly number[]): Cast {
  const name = people.join(' ')
  let cast = casts.get(name)
  if (!cast) {
    cast = makeCast(people)
    casts.set(name, cast)
  }
  return cast
}

function makeCast(counts: readonly number[]): Cast {
  const random = simulatedRandom(0x5eed)
  const regions = counts.map((_, i): SimRegion => {
    const root = signingKey(random.bytes(32))
    return { id: regionIdOfRootKey(root.publicKey), name: `R${i + 1}`, root, key: signingKey(random.bytes(32)) }
  })
  const byId = new Map(regions.map((region) => [region.id, region]))
  const people = regions.flatMap((region, r) =>
    Array.from({ length: counts[r]! }, (_, p) => makePerson(`${'abcdef'[r]}${p + 1}`, region.id, byId, random)),
  )
  return { regions, people }
}

function makePerson(
  name: string,
  region: RegionId,
  regions: ReadonlyMap<RegionId, SimRegion>,
  random: ReturnType<typeof simulatedRandom>,
): SimPerson {
  const root = signingKey(random.bytes(32))
  const key = signingKey(random.bytes(32))
  const userId = userIdOfRootKey(root.publicKey)
  const by = grant(
    create(GrantBodySchema, { purpose: GrantBody_Purpose.MANIFEST, key: key.publicKey, rootEpoch: 1 }),
    root,
  )
  const identity = random.bytes(33)
  identity[0] = 5
  const device = create(DeviceSchema, {
    number: 1,
    registrationEpoch: 1,
    registrationVersion: 1,
    deviceKey: signingKey(random.bytes(32)).publicKey,
    signalIdentityKey: identity,
    signalRegistrationId: 1,
  })
  const made = new Map<string, SimRecords>()
  const make = (homes: readonly Lived[]): SimRecords => {
    const { region: lives, generation } = homes.at(-1)!
    const home = regions.get(lives)!
    const common = {
      userId: userIdBytes(userId),
      rootEpoch: 1,
      version: homes.length,
      homeRegion: regionIdBytes(home.id),
      homeGeneration: generation,
    }
    const previousHash = homes.length === 1 ? new Uint8Array(0) : records(homes.slice(0, -1)).manifest.hash
    // A renewal stands for other devices: what was encrypted before has to be encrypted again.
    const renewed = homes.findLastIndex((one, at) => homes[at - 1]?.generation === one.generation)
    const devicesSince = Math.max(renewed + 1, 1)
    const fields = create(ManifestBodySchema, { ...common, devices: [device], devicesSince, previousHash })
    const body = toBinary(ManifestBodySchema, fields)
    const homeBody = toBinary(HomeBodySchema, create(HomeBodySchema, { ...common, manifestHash: sha256(body) }))
    const head = signRecord('parley/home/v1', homeBody, key, by)
    const until = START_MS + COUNTERSIGNED_FOR_MS
    const record = countersign(head, home.id, home.key, signerOf(home).grant, START_MS, until)
    return {
      manifest: openManifest(signRecord('parley/manifest/v1', body, key, by), START_MS),
      home: openHomeRecord(record, START_MS),
    }
  }
  const records = (homes: readonly Lived[]): SimRecords => {
    const history = homes.map((one) => `${one.region}${one.generation}`).join(' ')
    const known = made.get(history) ?? make(homes)
    made.set(history, known)
    return known
  }
  return { userId, name, region, records }
}

const signers = new WeakMap<SimRegion, RegionSigner>()

/** What speaks for a region; made once. */
export function signerOf(region: SimRegion): RegionSigner {
  let signer = signers.get(region)
  if (!signer) {
    signer = { regionId: region.id, operational: region.key, grant: operationalGrant(region) }
    signers.set(region, signer)
  }
  return signer
}

function operationalGrant(region: SimRegion) {
  const body = create(GrantBodySchema, {
    purpose: GrantBody_Purpose.OPERATIONAL,
    key: region.key.publicKey,
    rootEpoch: 1,
  })
  return grant(body, region.root)
}
