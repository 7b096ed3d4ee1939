// People of a local network: profiles in files, each with a passphrase of its own in a file beside it.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Parley } from '#client'
import { systemRandom } from '#protocol'
import type { Testnet } from './launch.ts'
import { PASSPHRASE_BYTES } from './limits.ts'

export type TestAccount = {
  readonly name: string
  readonly region: string
  /** Directory of the profile. */
  readonly profile: string
  readonly passphrase: string
  readonly passphraseFile: string
  readonly recoveryPhrase: string
  /** Open, not connected yet. After `close` it can be opened again with `Parley.open(profile, { passphrase })`. */
  readonly parley: Parley
}

/** Makes an account with its home in the region of that name. The caller closes `parley`. */
export async function launchAccount(network: Testnet, name: string, region: string): Promise<TestAccount> {
  const profile = join(network.dir, 'people', name)
  await mkdir(join(network.dir, 'people'), { recursive: true })
  const passphrase = Buffer.from(systemRandom.bytes(PASSPHRASE_BYTES)).toString('base64url')
  const passphraseFile = `${profile}.passphrase`
  await writeFile(passphraseFile, `${passphrase}\n`, { mode: 0o600 })
  const home = network.region(region).url
  const { parley, recoveryPhrase } = await Parley.create(profile, {
    passphrase,
    home,
    bootstraps: [network.bootstrapUrl],
  })
  return { name, region, profile, passphrase, passphraseFile, recoveryPhrase, parley }
}
