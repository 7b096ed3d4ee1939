// The entry service: a DHT server with a stable identity and an HTTP list of signed region records.
export { type HostPort, hostPortText, parseHostPort } from './address.ts'
export { type Bootstrap, type BootstrapOptions, startBootstrap } from './service.ts'
