// The device's rules and its engine, without sockets, disks or libsignal: what a simulator runs.

export { createDevice, type Device, type OwnContent, type Sent } from './rules/device.ts'
export { type MemoryDb, type MemoryDbOptions, memoryDb } from './rules/memory-db.ts'
export type { JobLine } from './rules/outbound.ts'
export type {
  Cipher,
  ContactChange,
  DeviceEvent,
  DevicePorts,
  Directory,
  HomeSession,
  MarkPlace,
  Message,
} from './rules/ports.ts'
export { type ReaderState, type Run, readRun, type Taken } from './rules/reader.ts'
export {
  all,
  type ContactRow,
  type ConversationRow,
  type DbReader,
  type DbWriter,
  type DeviceDb,
  type DeviceRow,
  type EntryRow,
  type JobRow,
  type KeyRow,
  type MessageKind,
  type MessageRow,
  type MessageStatus,
  type OutboxRow,
  type SealedRow,
  type SelfRow,
  type StateKeyRow,
  type Tables,
  type UnreadRow,
} from './rules/schema.ts'
export {
  newSlot,
  SLOT_STATES,
  type Slot,
  type SlotEffect,
  type SlotEvent,
  type SlotState,
  type Step,
  stepSlot,
} from './rules/slot.ts'
