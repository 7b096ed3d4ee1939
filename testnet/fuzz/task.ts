// What a thread is told.
import type { Folder } from './registry.ts'

export type Task = {
  readonly folder: Folder
  readonly name: string
  readonly seed: number
  readonly executions: number
  readonly shared: SharedArrayBuffer
}

/**
 * What a thread tells while it works, where it can be read though the thread hangs: how many executions are done, how long
 * the input under way is, how many were begun, kept ones and examples included; then the input.
 */
export const SHARED_NUMBERS = 3
export const SHARED_HEADER_BYTES = SHARED_NUMBERS * Int32Array.BYTES_PER_ELEMENT
