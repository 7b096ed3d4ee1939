// The rules of home, host, replica, inbox and feeds, without a socket, disk or timer: what production and the simulator run.
export { createRelay } from './rules/engine.ts'
export { beginNextLife, lifeOf } from './rules/journal-notes.ts'
export { lateHooks } from './rules/late-hooks.ts'
export { RULE_LIMITS, type RuleLimits } from './rules/limits.ts'
export type {
  DeviceSession,
  DirectoryPort,
  FormerHome,
  Item,
  LinkPort,
  Relay,
  RelayEngine,
  RelayEvents,
  RelayHooks,
  RelayPorts,
} from './rules/ports.ts'
export { SimulatedDisk } from './store/simulated.ts'
export { openStore } from './store/store.ts'
export type { Backend, Replayed, Store, StoreHooks, StoreLimits } from './store/types.ts'
