// Signing in: what the device proves, and what can be done when the home refuses it.
import { deviceSigningKey } from '#crypto'
import type { Clock, ParleyError, ProofOptions } from '#protocol'
import { putRegion, raiseCounter, readBootstraps, readDevice, readHomeRegion, readOwnManifest } from './account.ts'
import { refreshRegion } from './regions.ts'
import { readPending, registerOnceMore } from './registration.ts'
import type { DeviceDb } from './rules/schema.ts'

/** Try again at once, after a wait, or not at all. */
export type Remedy = 'again' | 'later' | 'stop'

/** Raises the session counter, durably, before anything is proved with it. */
export function proofOf(db: DeviceDb, clock: Clock): Omit<ProofOptions, 'nowMs'> {
  const keys = readDevice(db)
  const { userId, number, registrationEpoch, registrationVersion } = keys
  return {
    userId,
    device: { device: number, registrationEpoch, registrationVersion },
    deviceKey: deviceSigningKey(keys),
    sessionCounter: raiseCounter(db),
    manifestHash: readOwnManifest(db, clock.now()).hash,
    manifest: undefined,
    rootEpochFloor: readHomeRegion(db, clock.now()).rootEpoch,
  }
}

export async function remedyFor(
  error: ParleyError,
  db: DeviceDb,
  { clock }: { readonly clock: Clock },
  replace: () => Promise<Remedy>,
): Promise<Remedy> {
  switch (error.code) {
    case 'old_profile':
      return replace()
    case 'unsigned_device':
      return readPending(db) ? replace() : 'stop'
    case 'unknown_user':
    case 'stale_manifest':
      await registerOnceMore(db, readHomeRegion(db, clock.now()), clock)
      return 'again'
    case 'too_old':
    case 'bad_signature':
    case 'not_granted':
    case 'conflict':
      return 'stop'
    default: {
      const newer = await refreshRegion(readHomeRegion(db, clock.now()), readBootstraps(db), clock)
      if (newer) db.transaction((tx) => putRegion(tx, newer))
      return 'later'
    }
  }
}
