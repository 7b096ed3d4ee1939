// The store of a relay that does not run, filled by the relay's own rules: accounts and conversations as they would have
// come about, without sockets, links and a directory. For measurements with stores of a size that takes days to grow.
import { join } from 'node:path'
import {
  type Clock,
  type Home,
  type Manifest,
  openManifest,
  ParleyError,
  type Random,
  type RegionId,
  type SignedRecord,
  type UserId,
} from '#protocol'
import { countersignHead, type RegionKeys } from './accounts/countersigner.ts'
import { accountRows } from './accounts/rows.ts'
import type { DirectoryPort, Relay } from './rules/ports.ts'
import { createRelay, lateHooks, RULE_LIMITS } from './rules.ts'
import { readSecrets } from './secrets.ts'
import { openLevel } from './store/level.ts'
import { openStore } from './store/store.ts'
import type { Store } from './store/types.ts'

const BOOT_ID_BYTES = 16

export type Stocking = AsyncDisposable & {
  readonly regionId: RegionId
  /** The rules: sessions and frames as a gateway hands them over. `tick` is the caller's business. */
  readonly relay: Relay
  /** An account of this region; its records are not checked, since whoever stocks has just made them. */
  addAccount(manifest: SignedRecord, head: SignedRecord): void
  /** Everything so far is durable, and what waits has gone to rows if it is much. */
  settled(): Promise<void>
}

type Known = { readonly home: Home; readonly manifest: Manifest }

function directoryOf(known: ReadonlyMap<UserId, Known>): DirectoryPort {
  return {
    knownHome: (user) => known.get(user)?.home,
    findHome: async (user) => known.get(user)?.home,
    knownManifest: (user) => known.get(user)?.manifest,
    findManifest: async (user) => known.get(user)?.manifest,
    learnHome: () => false,
    formerHome: () => undefined,
    findFormerHome: async () => undefined,
  }
}

/** No other region can be reached. */
const NO_LINKS = { send() {}, flush() {}, isUp: () => false, backlog: () => 0, want() {}, close() {} }
const NO_EVENTS = { submitted() {}, sequenced() {}, delivered() {}, held() {}, refused() {}, demoted() {} }

function stockingOf(store: Store, keys: RegionKeys, relay: Relay, known: Map<UserId, Known>, clock: Clock) {
  const rows = accountRows(store)
  return {
    regionId: keys.regionId,
    relay,
    addAccount(manifest: SignedRecord, head: SignedRecord): void {
      const now = clock.now()
      const opened = openManifest(manifest, now)
      const home = countersignHead(head, keys, now)
      rows.putManifest(opened.userId, manifest)
      rows.putHome(opened.userId, home.record)
      known.set(opened.userId, { home, manifest: opened })
    },
    async settled(): Promise<void> {
      await store.flushed()
      if (!store.hasRoom()) await store.checkpoint()
      if (!store.hasRoom()) throw new ParleyError('full_disk', 'no room for what is to be stocked')
    },
  }
}

/** Throws as `relay start` does: `store_in_use` when the relay runs. */
export async function openStocking(dataDir: string, clock: Clock, random: Random): Promise<Stocking> {
  const { keys } = await readSecrets(dataDir, clock.now())
  const fail = (error: Error): void => {
    throw error
  }
  const { hooks, attach } = lateHooks(fail)
  const backend = await openLevel({ directory: join(dataDir, 'store'), bootId: random.bytes(BOOT_ID_BYTES) })
  const { store, replayed } = await openStore({ backend, hooks, clock })
  const known = new Map<UserId, Known>()
  const ports = {
    region: keys.regionId,
    clock,
    random,
    links: NO_LINKS,
    directory: directoryOf(known),
    events: NO_EVENTS,
    signer: keys,
    noteSecret: new Uint8Array(32),
  }
  const engine = createRelay(ports, store, RULE_LIMITS, fail)
  attach(engine)
  await engine.takeOver(replayed)
  return {
    ...stockingOf(store, keys, engine.relay, known, clock),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  }
}
