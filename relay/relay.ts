// A relay put together: store, node, accounts, rules and client port, started in the order in which they need each
// other and ended in the opposite one.
import pino, { type Logger } from 'pino'
import { openAdmission, type ParleyNode, startNode } from '#node'
import { nextRegionRecord } from '#node/region'
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
import { BOOT_ID_BYTES } from './limits.ts'
import { linkAdapter, nodeStorage } from './node-adapter.ts'
import { createPages } from './pages.ts'
import { ensureNotLost, markBegun, storeOf } from './restore.ts'
import type { Relay } from './rules/ports.ts'
import { createRelay, lateHooks, lifeOf, type RelayEngine, RULE_LIMITS } from './rules.ts'
import { type RelaySecrets, readSecrets } from './secrets.ts'
import { openLevel } from './store/level.ts'
import { openStore } from './store/store.ts'
import type { Replayed, Store } from './store/types.ts'
import { readTls } from './tls.ts'

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

/**
 * Accounts publish through the node, the node renews by accounts, both speak to sessions of a gateway that needs them:
 * a circle, closed step by step while the relay starts. Nothing is asked for before it is there.
 */
type Circle = {
  node: ParleyNode | undefined
  gateway: Gateway | undefined
  relay: Relay | undefined
}

function started<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('a part of the relay was used before it was started')
  return part
}

function openAccounts(
  base: Base,
  store: Store,
  life: number,
  circle: Circle,
): { accounts: Accounts; prekeys: Prekeys } {
  const { config, secrets, clock, events } = base
  const rows = accountRows(store)
  const accounts: Accounts = createAccounts({
    rows,
    restored:
      life === 1
        ? undefined
        : {
            life,
            async onReturn({ userId, devices }) {
              for (const { number } of devices) await prekeys.dropOneTime(userId, number)
            },
          },
    clock,
    keys: secrets.keys,
    policy: registrationPolicy(config.accounts.registration),
    onChange({ home, manifest, former }, what) {
      const { userId } = manifest
      if (what === 'registered') events.accounts.registered(userId)
      if (former) started(circle.relay).homeChanged(userId)
      if (what === 'replaced') {
        events.accounts.manifestReplaced(userId)
        started(circle.relay).manifestChanged(manifest)
      }
      const published = started(circle.node).directory.publishHome(home.record)
      published.catch((error: unknown) => events.accounts.publishFailed(userId, error))
    },
  })
  const prekeys: Prekeys = createPrekeys({
    rows,
    accounts,
    clock,
    region: secrets.keys.regionId,
    onLow(user, device, counts) {
      events.accounts.prekeysLow(user)
      circle.gateway?.sessions.notify(user, device, { case: 'prekeysLow', value: counts })
    },
    onGiven: events.accounts.prekeysGiven,
  })
  return { accounts, prekeys }
}

/** Makes the region's next record, for where this node is reached now. */
function recordMaker(base: Base, store: Store, circle: Circle): () => Promise<SignedRecord> {
  const { config, secrets, clock } = base
  return () => {
    const node = started(circle.node)
    const place = { peerId: node.peerId, multiaddrs: node.multiaddrs(), clientUrls: started(circle.gateway).urls }
    const description = { name: config.name, nodes: [place], revokedKeys: [] }
    const known = node.directory.knownRegion(secrets.keys.regionId)
    return nextRegionRecord(secrets.keys, description, nodeStorage(store), known, clock.now())
  }
}

async function openNode(
  base: Base,
  store: Store,
  accounts: Accounts,
  record: () => Promise<SignedRecord | undefined>,
): Promise<ParleyNode> {
  const { config, secrets, clock, random, events } = base
  return startNode({
    key: secrets.nodeSecret,
    listen: config.mesh.listen,
    announce: config.mesh.announce,
    bootstrap: await entryPoints(config.mesh.bootstrap, store, clock, events.process.entryFailed),
    mode: 'server',
    storage: nodeStorage(store),
    clock,
    random,
    admission: openAdmission,
    certificate: secrets.certificate,
    renewal: { home: async (home) => (await accounts.renew(home.userId))?.home.record, region: record },
    events: events.node,
  })
}

type RulesParts = {
  readonly store: Store
  readonly replayed: readonly Replayed[]
  readonly node: ParleyNode
  readonly directory: RelayDirectory
  readonly attach: ReturnType<typeof lateHooks>['attach']
}

async function openRules(base: Base, parts: RulesParts): Promise<RelayEngine> {
  const { clock, random, events, secrets, fail } = base
  const links = linkAdapter({
    links: parts.node.links,
    clock,
    schedule: setImmediate,
    fault: (error) => events.process.fault('link', error),
  })
  const { directory } = parts
  const { keys } = secrets
  const common = { region: keys.regionId, signer: keys, noteSecret: secrets.noteSecret, clock, random }
  const ports = { ...common, links: links.port, directory, events: events.relay }
  const engine = createRelay(ports, parts.store, RULE_LIMITS, fail)
  parts.attach(engine)
  await engine.takeOver(parts.replayed)
  links.serve(engine.relay)
  return engine
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

type ClientPortParts = {
  readonly store: Store
  readonly accounts: Accounts
  readonly prekeys: Prekeys
  readonly people: RelayDirectory
  readonly relay: Relay
  readonly record: () => SignedRecord | undefined
}

async function openClientPort(base: Base, parts: ClientPortParts): Promise<Gateway> {
  const { config, secrets, bootId, clock, random, events } = base
  const { regionId } = secrets.keys
  const { store, relay, record, ...rest } = parts
  const { nodeKey, certificate } = secrets
  return openGateway(
    {
      ...rest,
      identity: { regionId, regionName: config.name, nodeKey, certificate, bootId },
      clock,
      random,
      events: events.gateway,
      relay: () => relay,
      readEntries: createPages(store, regionId),
      regionRecord: record,
      metrics: events.metrics,
      trouble: () => (store.hasRoom() ? undefined : 'no room: the disk is full or too slow'),
    },
    { ...config.client, tls: config.client.tls && (await readTls(config.client.tls)) },
  )
}

type Assembled = {
  readonly node: ParleyNode
  readonly gateway: Gateway
  readonly store: Store
  readonly owed: () => Readings['owed']
}

async function assemble(base: Base, stack: AsyncDisposableStack): Promise<Assembled> {
  const { config, bootId, clock, fail } = base
  const { hooks, attach } = lateHooks(fail)
  const backend = await openLevel({ directory: storeOf(config), bootId })
  const { store, replayed } = await openStore({ backend, hooks, clock })
  stack.use(store)
  await ensureNotLost(config, store.committed())
  const circle: Circle = { node: undefined, gateway: undefined, relay: undefined }
  const { accounts, prekeys } = openAccounts(base, store, await lifeOf(store), circle)
  const makeRecord = recordMaker(base, store, circle)
  const node = stack.use(await openNode(base, store, accounts, async () => (circle.gateway ? makeRecord() : undefined)))
  circle.node = node
  const directory = createDirectory({ region: base.secrets.keys.regionId, clock, accounts, prekeys, node })
  const engine = await openRules(base, { store, replayed, node, directory, attach })
  const { relay } = engine
  circle.relay = relay
  answerRequests({ accounts, prekeys, node })
  stack.defer(keepTicking(clock, relay, fail))
  await engine.heard()
  let record: SignedRecord | undefined
  const parts = { store, accounts, prekeys, people: directory, relay, record: () => record }
  const gateway = stack.use(await openClientPort(base, parts))
  circle.gateway = gateway
  record = await makeRecord()
  await markBegun(config)
  await node.directory.publishRegion(record)
  // Once: an inspection counts the conversations.
  const { owed } = engine.inspect()
  return { node, gateway, store, owed: () => ({ ...owed() }) }
}

/**
 * Resolves when clients and nodes can connect. Throws ParleyErrors that name what is wrong: a key file, a port in use,
 * the store in use.
 */
export async function startRelay(config: RelayConfig, options: RelayOptions = {}): Promise<RunningRelay> {
  const { clock = systemClock, random = systemRandom } = options
  const log = options.log ?? pino({ level: config.log.level }, pino.destination(2))
  const failed = Promise.withResolvers<Error>()
  let read = (): Readings => ({ sockets: 0, sessions: 0, linksUp: 0, owed: {}, store: {} })
  const events = createEvents(log, () => read(), clock)
  const fail = (error: Error): void => {
    events.process.storeFailed(error)
    failed.resolve(error)
  }
  const secrets = await readSecrets(config.dataDir, clock.now())
  const base: Base = { config, secrets, bootId: random.bytes(BOOT_ID_BYTES), clock, random, events, fail }
  await using stack = new AsyncDisposableStack()
  stack.defer(() => events.process.stopped())
  const { node, gateway, store, owed } = await assemble(base, stack)
  stack.defer(() => events.process.stopping())
  read = () => {
    const linksUp = node.links.up().length
    return { ...gateway.sessions.counts(), linksUp, owed: owed(), store: { ...store.stats() } }
  }
  const owned = stack.move()
  const facts = {
    regionId: secrets.keys.regionId,
    peerId: node.peerId,
    clientUrls: gateway.urls,
    multiaddrs: node.multiaddrs(),
  }
  events.process.started(facts)
  return {
    ...facts,
    name: config.name,
    healthUrl: `${gateway.listening}/v1/health`,
    failed: failed.promise,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
