// The faults that one process suffers now. They stand in a file of its own; the process reads it when it starts and again
// at each SIGUSR2, and its clock and its store behave accordingly (fault-hook.ts).
import { readFileSync, renameSync, writeFileSync } from 'node:fs'

export type Faults = {
  /** Its clock against that of the machine. */
  readonly skewMs: number
  /** Each fsync takes so much longer. */
  readonly fsyncMs: number
  /** `full`: nothing free beyond the reserve; `failing`: every write fails. */
  readonly disk: 'fine' | 'full' | 'failing'
  /** SIGKILL to itself at its next durable write: before it, between write and fsync, or after both. */
  readonly dies: 'no' | 'before' | 'unsynced' | 'synced'
}

export const NO_FAULTS: Faults = { skewMs: 0, fsyncMs: 0, disk: 'fine', dies: 'no' }

export const FAULTS_VARIABLE = 'CHAOS_FAULTS'
/** The loopback address from which it dials: how a proxy tells who it is. */
export const ADDRESS_VARIABLE = 'CHAOS_ADDRESS'

export function readFaults(file: string): Faults {
  return { ...NO_FAULTS, ...(JSON.parse(readFileSync(file, 'utf8')) as Partial<Faults>) }
}

/** In one step: whoever is told twice in a row may be reading meanwhile. */
export function writeFaults(file: string, faults: Faults): void {
  const next = `${file}.next`
  writeFileSync(next, JSON.stringify(faults))
  renameSync(next, file)
}
