// How a profile comes into being: it can be opened only when its home knows the account and its owner has the phrase, so
// whoever is interrupted before that calls the same command again.
import type { Clock, Random } from '#protocol'
import type { ProfileFile } from './db/profile-file.ts'
import { Profile } from './profile.ts'
import { makeProfile, registerAgain, registerNew, type Where } from './registration.ts'

export type CreateOptions = {
  readonly passphrase: string
  /** Origin of the region that becomes home; without it the fastest that a bootstrap node lists. */
  readonly home?: string
  readonly bootstraps?: readonly string[]
}

export type NewOptions = CreateOptions & {
  /** Called before the profile is kept: nobody ends up with a profile and without its phrase. */
  readonly show?: (account: Profile, recoveryPhrase: string) => Promise<void>
}
export type RecoverOptions = CreateOptions & { readonly recoveryPhrase: string }

type Ports = { readonly clock: Clock; readonly random: Random }

const whereOf = ({ home, bootstraps }: CreateOptions): Where => ({ home, bootstraps: bootstraps ?? [] })

export function newProfile(
  directory: string,
  options: NewOptions,
  ports: Ports,
): Promise<{ profile: ProfileFile; result: string }> {
  return makeProfile(directory, options.passphrase, async ({ db, keep }) => {
    const phrase = await registerNew(db, whereOf(options), ports)
    await options.show?.(new Profile(db, ports.clock), phrase)
    await keep()
    return phrase
  })
}

export async function recoveredProfile(directory: string, options: RecoverOptions, ports: Ports): Promise<ProfileFile> {
  const { profile } = await makeProfile(directory, options.passphrase, async ({ db, keep }) => {
    await registerAgain(db, whereOf(options), options.recoveryPhrase, ports)
    await keep()
  })
  return profile
}
