// The relay: gateway, accounts, prekeys, the conversation rules and their store, as one node of a region.
export { checkRelay, type Finding } from './check.ts'
export {
  environmentLayer,
  type Layer,
  type Listen,
  loadConfig,
  type RelayConfig,
  readConfig,
  tomlLayer,
} from './config.ts'
export { type Initialised, type InitOptions, initRelay } from './init.ts'
export { type RelayOptions, type RunningRelay, startRelay } from './relay.ts'
export { openStocking } from './stocking.ts'
