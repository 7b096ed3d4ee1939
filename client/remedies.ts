// Signing in: what the device proves, and what can be done when the home refuses it.
import { deviceSigningKey } from '#crypto'
import type { Clock, Manifest, ParleyError, ProofOptions } from '#protocol'
import { putRegion, raiseCounter, readBootstraps, readDevice, readHomeRegion, readOwnManifest } from './account.ts'
import { refreshRegion } from './regions.ts'
import { comeHome, readPending, registerOnceMore, takeNewer } from './registration.ts'
import { all, type DeviceDb } from './rules/schema.ts'

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

/** What happens to the profile that is in use. */
export type Profile = {
  readonly clock: Clock
  /** It is an old copy: a new device takes the place of this one. */
  readonly replace: () => Promise<Remedy>
  /** Its account has another manifest. */
  readonly learn: (manifest: Manifest) => Promise<void>
}

const wasServed = (db: DeviceDb): boolean => all(db, 'conversations').some(({ cursor }) => cursor > 0)

export async function remedyFor(error: ParleyError, db: DeviceDb, { clock, replace, learn }: Profile): Promise<Remedy> {
  const home = async (): Promise<Remedy> => {
    if (!(await comeHome(db, readHomeRegion(db, clock.now()), clock))) return 'later'
    await learn(readOwnManifest(db, clock.now()))
    return 'again'
  }
  switch (error.code) {
    case 'old_profile':
      return replace()
    case 'unsigned_device':
      return readPending(db) ? replace() : 'stop'
    case 'home_restored':
      return home()
    case 'unknown_user':
    case 'stale_manifest':
      // A home that served this account and has forgotten it is no place to begin as if nothing had been.
      if (error.code === 'unknown_user' && wasServed(db)) return home()
      await registerOnceMore(db, readHomeRegion(db, clock.now()), clock)
      return 'again'
    case 'too_old':
      if (!(await takeNewer(db, readHomeRegion(db, clock.now()), clock))) return 'stop'
      await learn(readOwnManifest(db, clock.now()))
      return 'again'
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
