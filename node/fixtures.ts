// Regions, people and nodes made quickly, for this folder's tests.
import { scheduler } from 'node:timers/promises'
import { create, toBinary } from '@bufbuild/protobuf'
import {
  countersign,
  GrantBody_Purpose,
  GrantBodySchema,
  grant,
  HomeBodySchema,
  type HomeRecord,
  ParleyError,
  type RegionId,
  regionIdBytes,
  type SignedRecord,
  type SigningKey,
  SimulatedClock,
  sha256,
  signingKey,
  signRecord,
  systemClock,
  systemRandom,
  type UserId,
  userIdBytes,
  userIdOfRootKey,
} from '#protocol'
import {
  memoryStorage,
  type NodeEvents,
  type NodeOptions,
  type NodeStorage,
  openAdmission,
  type ParleyNode,
  type PeerStream,
  silentEvents,
  startNode,
} from './index.ts'
import {
  certifyNode,
  createRegionRoot,
  grantOperationalKey,
  type RegionKeys,
  regionKeys,
  signRegionRecord,
} from './region.ts'
import { createRequests, type Requests } from './requests.ts'

export const HOUR_MS = 3_600_000

export type TestRegion = { readonly root: Uint8Array; readonly keys: RegionKeys; readonly regionId: RegionId }

export function testRegion(rootEpoch = 1, root: Uint8Array = createRegionRoot(systemRandom).secret): TestRegion {
  const secret = systemRandom.bytes(32)
  const by = grantOperationalKey(root, signingKey(secret).publicKey, rootEpoch, systemClock.now() + 24 * HOUR_MS)
  const keys = regionKeys(secret, by)
  return { root, keys, regionId: keys.regionId }
}

export function recordOf(
  region: TestRegion,
  nodes: readonly ParleyNode[],
  version: number,
  revokedKeys: Uint8Array[] = [],
): SignedRecord {
  const now = systemClock.now()
  return signRegionRecord(
    region.keys,
    {
      name: 'test',
      nodes: nodes.map((node) => ({ peerId: node.peerId, multiaddrs: node.multiaddrs(), clientUrls: [] })),
      revokedKeys,
    },
    version,
    now,
    now + HOUR_MS,
  )
}

export type TestUser = { readonly userId: UserId; readonly root: SigningKey; readonly manifestKey: SigningKey }

export function testUser(): TestUser {
  const root = signingKey(systemRandom.bytes(32))
  return { root, manifestKey: signingKey(systemRandom.bytes(32)), userId: userIdOfRootKey(root.publicKey) }
}

export function homeRecord(
  user: TestUser,
  region: TestRegion,
  version: number,
  notAfterMs: number = systemClock.now() + HOUR_MS,
): HomeRecord {
  const by = grant(
    create(GrantBodySchema, { purpose: GrantBody_Purpose.MANIFEST, key: user.manifestKey.publicKey, rootEpoch: 1 }),
    user.root,
  )
  const body = create(HomeBodySchema, {
    userId: userIdBytes(user.userId),
    rootEpoch: 1,
    version,
    manifestHash: sha256(Buffer.from(`manifest ${version}`)),
    homeRegion: regionIdBytes(region.regionId),
    homeGeneration: 1,
  })
  const head = signRecord('parley/home/v1', toBinary(HomeBodySchema, body), user.manifestKey, by)
  return countersign(head, region.regionId, region.keys.operational, region.keys.grant, systemClock.now(), notAfterMs)
}

export type TestNode = { readonly node: ParleyNode; readonly storage: NodeStorage; readonly secret: Uint8Array }

export async function testNode(
  options: {
    region?: TestRegion
    bootstrap?: readonly Pick<ParleyNode, 'multiaddrs'>[]
    storage?: NodeStorage
    secret?: Uint8Array
    port?: number
    certificate?: SignedRecord
    events?: Partial<NodeEvents>
    admission?: NodeOptions['admission']
    mode?: NodeOptions['mode']
  } = {},
): Promise<TestNode> {
  const secret = options.secret ?? systemRandom.bytes(32)
  const storage = options.storage ?? memoryStorage()
  const certificate =
    options.certificate ?? (options.region && certifyNode(options.region.keys, signingKey(secret).publicKey, 0))
  const node = await startNode({
    key: secret,
    listen: { host: '127.0.0.1', port: options.port ?? 0 },
    announce: [],
    bootstrap: (options.bootstrap ?? []).flatMap((other) => other.multiaddrs().slice(0, 1)),
    mode: options.mode ?? 'server',
    storage,
    clock: systemClock,
    random: systemRandom,
    admission: options.admission ?? openAdmission,
    certificate,
    renewal: undefined,
    events: { ...silentEvents, ...options.events },
  })
  return { node, storage, secret }
}

/** Resolves when `holds` does; rejects after ten seconds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = systemClock.monotonic() + 10_000
  while (!(await holds())) {
    if (systemClock.monotonic() > end) throw new ParleyError('timeout', `waited in vain: ${what}`)
    await scheduler.wait(5)
  }
}

/** What answers the requests of a peer of this region, or of none: without a network, on a clock that stands still. */
export function servingSide(region: RegionId | undefined): {
  readonly requests: Requests
  readonly accept: (stream: PeerStream) => void
} {
  let accept: ((stream: PeerStream) => void) | undefined
  const requests = createRequests({
    network: {
      serve: (accepted) => {
        accept = accepted
      },
      dial: () => {
        throw new Error('nobody is asked')
      },
    },
    links: { regionOf: () => region, peerOf: () => undefined, reach: async () => false },
    clock: new SimulatedClock(0),
    events: silentEvents,
  })
  return { requests, accept: accept! }
}
