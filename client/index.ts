// The SDK of a device.
export type { ConnectionState } from './connection.ts'
export type { Contact } from './contacts.ts'
export { profileExists } from './db/profile-file.ts'
export { type CreateOptions, Parley, type Ports, type Sending } from './parley.ts'
export type { ParleyEvent, ParleyEvents } from './profile.ts'
export type { DeviceEvent, Message } from './rules/ports.ts'
export type { MessageKind, MessageStatus } from './rules/schema.ts'
export type { Stage } from './waiters.ts'
