// A relay put together: store, node, accounts, rules and client port, started in the order in which they need each
// other and ended in the opposite one.
import { join } from 'node:path'
import pino, { type Logger } from 'pino'
import { nextRegionRecord, openAdmission, type ParleyNode, type RegionKeys, startNode } from '#node'
import {
  type Clock,
  type Random,
  type RegionId,
  type SignedRecord,
  systemClock,
  systemRandom,
  type Timer,
} from '#protocol'
import { type Accounts, createAccounts } from './accounts/accounts.ts'
import { registrationPolicy } from './accounts/policy.ts'
import { createPrekeys, type Prekeys } from './accounts/prekeys.ts'
import { accountRows } from './accounts/rows.ts'
import type { RelayConfig } from './config.ts'
import { answerRequests, createDirectory, type RelayDirectory } from './directory.ts'
import { entryPoints } from './entry-points.ts'
import { createEvents, type Events, type Readings } from './events.ts'
import { type Gateway, openGateway } from './gateway/gateway.ts'
import { linkAdapter, nodeStorage } from './node-adapter.ts'
import { createPages } from './pages.ts'
import type { Relay } from './rules/ports.ts'
import { createRelay, lateHooks, RULE_LIMITS } from './rules.ts'
import { type RelaySecrets, readSecrets } from './secrets.ts'
import { openLevel } from './store/level.ts'
import { openStore } from './store/store.ts'
import type { Replayed, Store } from './store/types.ts'

const BOOT_ID_BYTES = 16

export type RunningRelay = AsyncDisposable & {
  readonly regionId: RegionId
  readonly name: string
  readonly peerId: string
  /** Origins under which clients reach it. */
  readonly clientUrls: readonly string[]
  readonly multiaddrs: readonly string[]
  readonly healthUrl: string
  /** Resolves when the store failed or a rule found its state broken: the process must end, without tidying up. */
  readonly failed: Promise<Error>
}

export type RelayOptions = {
  readonly log?: Logger
  readonly clock?: Clock
  readonly random?: Random
}

/** What every part gets. */
type Base = {
  readonly config: RelayConfig
  readonly secrets: RelaySecrets
  readonly bootId: Uint8Array
  readonly clock: Clock
  readonly random: Random
  readonly events: Events
  readonly fail: (error: Error) => void
}

type Late = { node: ParleyNode; gateway: Gateway | undefined; relay: Relay }

function openAccounts(base: Base, store: Store, late: Late): { accounts: Accounts; prekeys: Prekeys } {
  const { config, secrets, clock, events } = base
  const rows = accountRows(store)
  const accounts = createAccounts({
    rows,
    clock,
    keys: secrets.keys,
    policy: registrationPolicy(config.accounts.registration),
    onChange({ home, manifest }, what) {
      if (what === 'registered') events.accounts.registered(manifest.userId)
      if (what === 'replaced') {
        events.accounts.manifestReplaced(manifest.userId)
        late.relay.manifestChanged(manifest)
      }
      late.node.directory
        .publishHome(home.record)
        .catch((error: unknown) => events.accounts.publishFailed(manifest.userId, error))
    },
  })
  const prekeys = createPrekeys({
    rows,
    accounts,
    clock,
    region: secrets.keys.regionId,
    onLow(user, device, counts) {
      events.accounts.prekeysLow(user)
      late.gateway?.sessions.notify(user, device, { case: 'prekeysLow', value: counts })
    },
    onGiven: events.accounts.prekeysGiven,
  })
  return { accounts, prekeys }
}

async function openNode(base: Base, store: Store, accounts: () => Accounts, record: () => Promise<SignedRecord>) {
  const { config, secrets, clock, random, events } = base
  const failed = (error: unknown) => events.process.fault('entry point', error)
  return startNode({
    key: secrets.nodeSecret,
    listen: config.mesh.listen,
    announce: config.mesh.announce,
    bootstrap: await entryPoints(config.mesh.bootstrap, store, clock, failed),
    mode: 'server',
    storage: nodeStorage(store),
    clock,
    random,
    admission: openAdmission,
    certificate: secrets.certificate,
    journalPosition: () => store.committed(),
    renewal: {
      home: async (home) => (await accounts().renew(home.userId))?.home.record,
      region: record,
    },
    events: events.node,
  })
}

async function openRules(
  base: Base,
  store: Store,
  replayed: readonly Replayed[],
  directory: RelayDirectory,
  late: Late,
  attach: ReturnType<typeof lateHooks>['attach'],
) {
  const { clock, random, events, secrets, fail } = base
  const links = linkAdapter(late.node.links, (error) => events.process.fault('link', error))
  const ports = { region: secrets.keys.regionId, clock, random, links: links.port, directory, events: events.relay }
  const engine = createRelay(ports, store, RULE_LIMITS, fail)
  attach(engine)
  await engine.takeOver(replayed)
  late.relay = engine.relay
  links.serve(engine.relay)
  return engine.relay
}

function keepTicking(clock: Clock, relay: Relay, fail: (error: Error) => void): () => void {
  let timer: Timer
  const again = () => {
    timer = clock.after(RULE_LIMITS.tickMs, () => {
      try {
        relay.tick()
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)))
        return
      }
      again()
    })
  }
  again()
  return () => timer.cancel()
}

function openClientPort(
  base: Base,
  parts: {
    store: Store
    accounts: Accounts
    prekeys: Prekeys
    people: RelayDirectory
    late: Late
    record: () => SignedRecord | undefined
  },
) {
  const { config, secrets, bootId, clock, random, events } = base
  const { store, accounts, prekeys, people, late, record } = parts
  return openGateway(
    {
      identity: {
        regionId: secrets.keys.regionId,
        regionName: config.name,
        nodeKey: secrets.nodeKey,
        certificate: secrets.certificate,
        bootId,
      },
      clock,
      random,
      events: events.gateway,
      accounts,
      prekeys,
      people,
      relay: () => late.relay,
      readEntries: createPages(store, secrets.keys.regionId),
      regionRecord: record,
      metrics: events.metrics,
      trouble: () => (store.hasRoom() ? undefined : 'no room: the disk is full or too slow'),
    },
    config.client,
  )
}

/** Makes the region's record for where this node is reached now. */
function recordMaker(base: Base, store: Store, late: Late): () => Promise<SignedRecord> {
  const { config, secrets, clock } = base
  const keys: RegionKeys = secrets.keys
  return () => {
    const { node, gateway } = late
    const nodes = [{ peerId: node.peerId, multiaddrs: node.multiaddrs(), clientUrls: gateway?.urls ?? [] }]
    const known = node.directory.knownRegion(keys.regionId)
    return nextRegionRecord(keys, { name: config.name, nodes, revokedKeys: [] }, nodeStorage(store), known, clock.now())
  }
}

async function assemble(base: Base, stack: AsyncDisposableStack, read: { current: () => Readings }): Promise<Late> {
  const { config, bootId, clock, events, fail } = base
  const { hooks, attach } = lateHooks(fail)
  const backend = await openLevel({ directory: join(config.dataDir, 'store'), bootId })
  const { store, replayed } = await openStore({ backend, hooks, clock })
  stack.use(store)
  const late = { gateway: undefined } as unknown as Late
  const { accounts, prekeys } = openAccounts(base, store, late)
  const makeRecord = recordMaker(base, store, late)
  late.node = stack.use(await openNode(base, store, () => accounts, makeRecord))
  const directory = createDirectory({ region: base.secrets.keys.regionId, clock, accounts, prekeys, node: late.node })
  await accounts.preload()
  const relay = await openRules(base, store, replayed, directory, late, attach)
  answerRequests({ accounts, prekeys, node: late.node, flushed: () => store.flushed() })
  stack.defer(keepTicking(clock, relay, fail))
  let record: SignedRecord | undefined
  const parts = { store, accounts, prekeys, people: directory, late, record: () => record }
  late.gateway = stack.use(await openClientPort(base, parts))
  const { gateway, node } = late
  read.current = () => ({ ...gateway.sessions.counts(), linksUp: node.links.up().length, store: { ...store.stats() } })
  record = await makeRecord()
  await node.directory.publishRegion(record)
  stack.defer(() => events.process.stopping())
  return late
}

/**
 * Resolves when clients and nodes can connect. Throws ParleyErrors that name what is wrong: a key file, a port in use,
 * the store in use.
 */
export async function startRelay(config: RelayConfig, options: RelayOptions = {}): Promise<RunningRelay> {
  const { clock = systemClock, random = systemRandom } = options
  const log = options.log ?? pino({ level: config.log.level }, pino.destination(2))
  const failed = Promise.withResolvers<Error>()
  const read = { current: (): Readings => ({ sockets: 0, sessions: 0, linksUp: 0, store: {} }) }
  const events = createEvents(log, () => read.current())
  const secrets = await readSecrets(config.dataDir, clock.now())
  const fail = (error: Error): void => {
    events.process.storeFailed(error)
    failed.resolve(error)
  }
  const base: Base = { config, secrets, bootId: random.bytes(BOOT_ID_BYTES), clock, random, events, fail }
  await using stack = new AsyncDisposableStack()
  stack.defer(() => events.process.stopped())
  const { node, gateway } = await assemble(base, stack, read)
  const owned = stack.move()
  const clientUrls = gateway?.urls ?? []
  const facts = { regionId: secrets.keys.regionId, peerId: node.peerId, clientUrls, multiaddrs: node.multiaddrs() }
  events.process.started(facts)
  return {
    ...facts,
    name: config.name,
    healthUrl: `${gateway?.listening}/v1/health`,
    failed: failed.promise,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
