// Who signs in here: the claim of a proof against the newest manifest that this home has.
import { ParleyError, type SignInClaim, type SignInProved } from '#protocol'
import type { Account, Accounts } from '../accounts/accounts.ts'
import { homeRestored } from '../accounts/accounts.ts'
import { compareManifests } from '../accounts/succession.ts'
import type { Admission } from './admission.ts'

function checkManifest(claim: SignInClaim, account: Account): void {
  const { manifest } = account
  if (Buffer.compare(claim.manifestHash, manifest.hash) === 0) return
  const newest = `${manifest.rootEpoch}.${manifest.version}`
  if (!claim.manifest) {
    throw new ParleyError('too_old', 'the manifest that the device names is not the newest one', { newest })
  }
  compareManifests(manifest, claim.manifest)
  throw new ParleyError('stale_manifest', 'the device has a newer manifest: put it to this home first', { newest })
}

/**
 * Calls `open` when the session counter is committed, with the newest account. Throws `unknown_user`, `home_restored`, `unsigned_device`,
 * `bad_signature`, `too_old`, `conflict`, `stale_manifest`, `old_profile`, or what `open` throws.
 */
export async function checkProof(
  proved: SignInProved,
  accounts: Pick<Accounts, 'find' | 'known' | 'knownStored' | 'raiseSessionCounter'>,
  admission: Pick<Admission, 'turn'>,
  open: (account: Account) => void,
): Promise<void> {
  const { claim } = proved
  const account = await accounts.find(claim.userId)
  if (!account) {
    const stored = accounts.knownStored(claim.userId)
    throw stored
      ? homeRestored(stored)
      : new ParleyError('unknown_user', 'no account of this region', { user: claim.userId })
  }
  await admission.turn('check', () => {
    proved.verify(account.manifest)
    checkManifest(claim, account)
  })
  await accounts.raiseSessionCounter(claim.userId, claim.device, claim.sessionCounter)
  await admission.turn('open', () => {
    const newest = accounts.known(claim.userId) ?? account
    if (newest !== account) proved.verify(newest.manifest)
    open(newest)
  })
}
