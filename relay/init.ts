// A new region with its first node: the root key goes to a file of its own, everything that the relay needs to run
// without it goes into the data directory.
import { access } from 'node:fs/promises'
import { join, relative, resolve } from 'node:path'
import { stringify } from 'smol-toml'
import { certifyNode, createRegionRoot, grantOperationalKey, regionKeys } from '#node/region'
import {
  type Clock,
  GrantSchema,
  ParleyError,
  type Random,
  type RegionId,
  SignedRecordSchema,
  signingKey,
} from '#protocol'
import { CONFIG_FILE, readConfig } from './config.ts'
import { GRANT_FOR_MS } from './limits.ts'
import { readSecret, readSecrets, recordText, replaceFile, secretFiles, secretText, writeNew } from './secrets.ts'

export type InitOptions = {
  readonly dataDir: string
  readonly name: string
  readonly rootKeyFile: string
  /** HOST:PORT. */
  readonly listen: string | undefined
  readonly meshListen: string | undefined
  readonly clientUrls: readonly string[]
  readonly bootstrap: readonly string[]
}

export type Initialised = {
  readonly regionId: RegionId
  readonly name: string
  readonly dataDir: string
  readonly rootKeyFile: string
  readonly configFile: string
  readonly grantEndsMs: number
}

const ROOT_EPOCH = 1

function rootComment(name: string, regionId: RegionId): string {
  return `# Root key of the region "${name}", ${regionId}
# Whoever has this file is the region, for ever: it grants and revokes the keys of its relays.
# Keep it offline (a USB stick in a drawer, a copy on paper). The relay runs without it.
`
}

function configText(options: InitOptions): string {
  const { name, listen, meshListen, clientUrls, bootstrap } = options
  const config = {
    name,
    client: { ...(listen && { listen }), ...(clientUrls.length > 0 && { urls: clientUrls }) },
    mesh: { ...(meshListen && { listen: meshListen }), ...(bootstrap.length > 0 && { bootstrap }) },
  }
  return `# A Parley relay. Each value can be overridden, for instance client.listen by PARLEY_CLIENT_LISTEN.\n${stringify(config)}\n`
}

async function refuseExisting(dataDir: string): Promise<void> {
  for (const file of [join(dataDir, CONFIG_FILE), ...Object.values(secretFiles(dataDir))]) {
    const there = await access(file).then(
      () => true,
      () => false,
    )
    if (!there) continue
    throw new ParleyError('conflict', `${dataDir} has a relay already (${relative(dataDir, file)})`, {
      next: `start it with \`parley relay start --data ${dataDir}\`, or choose another --data`,
    })
  }
}

/** Overwrites nothing: throws `conflict` when a file is there, `bad_argument` for values that the configuration refuses. */
export async function initRelay(options: InitOptions, clock: Clock, random: Random): Promise<Initialised> {
  const dataDir = resolve(options.dataDir)
  const rootKeyFile = resolve(options.rootKeyFile)
  const flags = new Map<string, unknown>([['name', options.name]])
  if (options.listen) flags.set('client.listen', options.listen)
  if (options.meshListen) flags.set('mesh.listen', options.meshListen)
  flags.set('client.urls', options.clientUrls).set('mesh.bootstrap', options.bootstrap)
  readConfig(dataDir, [{ from: 'command line', values: flags }])
  await refuseExisting(dataDir)
  const root = createRegionRoot(random)
  const operational = random.bytes(32)
  const node = random.bytes(32)
  const grantEndsMs = clock.now() + GRANT_FOR_MS
  const grant = grantOperationalKey(root.secret, signingKey(operational).publicKey, ROOT_EPOCH, grantEndsMs)
  const certificate = certifyNode(regionKeys(operational, grant), signingKey(node).publicKey, 0)
  const files = secretFiles(dataDir)
  // The root key first: a region whose root key was not written must not come to life.
  await writeNew(rootKeyFile, secretText(root.secret, rootComment(options.name, root.regionId)))
  await writeNew(
    files.operational,
    secretText(operational, '# Operational key of a Parley region: granted by its root key.\n'),
  )
  await writeNew(files.node, secretText(node, '# Key of a Parley node.\n'))
  await writeNew(files.grant, recordText(GrantSchema, grant))
  await writeNew(files.certificate, recordText(SignedRecordSchema, certificate))
  const configFile = join(dataDir, CONFIG_FILE)
  await writeNew(configFile, configText(options))
  return { regionId: root.regionId, name: options.name, dataDir, rootKeyFile, configFile, grantEndsMs }
}

/** A new grant and certificate for the keys that are there, before the old grant ends. The root key signs once. */
export async function renewGrant(
  dataDir: string,
  rootKeyFile: string,
  clock: Clock,
): Promise<Pick<Initialised, 'regionId' | 'grantEndsMs'>> {
  const rootSecret = await readSecret(rootKeyFile)
  const files = secretFiles(dataDir)
  const { keys, nodeKey } = await readSecrets(dataDir, 0)
  const grantEndsMs = clock.now() + GRANT_FOR_MS
  const operational = await readSecret(files.operational)
  const grant = grantOperationalKey(rootSecret, keys.operational.publicKey, keys.rootEpoch, grantEndsMs)
  const renewed = regionKeys(operational, grant)
  if (renewed.regionId !== keys.regionId) {
    throw new ParleyError('wrong_root', 'this is the root key of another region', {
      next: `find the one of ${keys.regionId}`,
    })
  }
  await replaceFile(files.grant, recordText(GrantSchema, grant))
  await replaceFile(files.certificate, recordText(SignedRecordSchema, certifyNode(renewed, nodeKey.publicKey, 0)))
  return { regionId: keys.regionId, grantEndsMs }
}
