// What a thread is told.
import type { Folder } from './registry.ts'

export type Task = {
  readonly folder: Folder
  readonly name: string
  readonly seed: number
  readonly executions: number
  readonly shared: SharedArrayBuffer
}

/** How many are done and how long the input is, then the input. */
export const SHARED_HEADER_BYTES = 8
