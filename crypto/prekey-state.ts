// Counters and ages of a device's prekeys: one row, so that ids are never used again, whatever was uploaded or lost.
import type { KeyStorage } from './storage.ts'

export type DatedKey = { readonly id: number; readonly sinceMs: number }

export type PrekeyState = {
  /** Next ids; one-time and last-resort Kyber keys share a space. */
  readonly nextPrekeyId: number
  readonly nextKyberId: number
  readonly nextSignedId: number
  /** Lowest ids whose private halves may still be kept. */
  readonly lowestPrekeyId: number
  readonly lowestKyberId: number
  /** Current keys, since they were made; retired ones, oldest first, since they were replaced. */
  readonly signed: DatedKey | undefined
  readonly lastResort: DatedKey | undefined
  readonly retiredSigned: readonly DatedKey[]
  readonly retiredLastResort: readonly DatedKey[]
  /** `time_ms` of the newest upload: a home refuses one that is not newer. */
  readonly uploadedMs: number
}

export const EMPTY_PREKEY_STATE: PrekeyState = {
  nextPrekeyId: 1,
  nextKyberId: 1,
  nextSignedId: 1,
  lowestPrekeyId: 1,
  lowestKyberId: 1,
  signed: undefined,
  lastResort: undefined,
  retiredSigned: [],
  retiredLastResort: [],
  uploadedMs: 0,
}

const ROW = 'state'

/** Undefined for a device that has never made prekeys. */
export function readPrekeyState(storage: KeyStorage): PrekeyState | undefined {
  const row = storage.get('prekey-state', ROW)
  return row && { ...EMPTY_PREKEY_STATE, ...(JSON.parse(Buffer.from(row).toString()) as PrekeyState) }
}

export function writePrekeyState(storage: KeyStorage, state: PrekeyState): void {
  storage.set('prekey-state', ROW, new Uint8Array(Buffer.from(JSON.stringify(state))))
}
