// Local networks of real processes, as a library.
export { launchTestnet, type Testnet, type TestnetOptions, type TestRegion } from './launch.ts'
export { launchAccount, type TestAccount } from './people.ts'
export type { Exit, ManagedProcess, ReadyFacts } from './process.ts'
