// What an operator can get wrong, looked at before it hurts: each finding says what is, and what to do next.
import { mkdir, open, rm, stat, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type Clock, decode, GrantBodySchema, limits, ParleyError } from '#protocol'
import type { Listen, RelayConfig } from './config.ts'
import { askEntry, getJson } from './entry-points.ts'
import { isLoopback } from './gateway/doors.ts'
import {
  CERTIFICATE_LOW_MS,
  CLOCK_WRONG_MS,
  FSYNC_SLOW_MS,
  FSYNC_TRIES,
  GRANT_LOW_MS,
  STORE_RESERVE_BYTES,
} from './limits.ts'
import { readSecrets, secretFiles } from './secrets.ts'
import { readTls } from './tls.ts'

export type Finding = {
  readonly what:
    | 'config'
    | 'keys'
    | 'grant'
    | 'rights'
    | 'client urls'
    | 'tls'
    | 'client port'
    | 'mesh port'
    | 'clock'
    | 'disk'
    | 'fsync'
  readonly ok: boolean
  readonly says: string
  /** What to do, when it is not ok. */
  readonly next: string | undefined
}

type Said = Omit<Finding, 'what'>
const fine = (says: string): Said => ({ ok: true, says, next: undefined })
const wrong = (says: string, next: string): Said => ({ ok: false, says, next })
const MIB = 1024 * 1024
const DAY_MS = 86_400_000

async function guarded(what: Finding['what'], look: () => Promise<Said>): Promise<Finding> {
  try {
    return { what, ...(await look()) }
  } catch (error) {
    if (error instanceof ParleyError) return { what, ...wrong(error.message, error.facts.next ?? 'see the message') }
    const { code, message } = error as NodeJS.ErrnoException
    return { what, ...wrong(code ?? message, 'correct this and check again') }
  }
}

/** Key files that others than their owner may read are as good as published. */
async function keys(config: RelayConfig, clock: Clock): Promise<Said> {
  await readSecrets(config.dataDir, clock.now())
  const { operational, node } = secretFiles(config.dataDir)
  for (const file of [operational, node]) {
    const { mode } = await stat(file)
    if (mode & 0o077)
      return wrong(`${file} can be read by others (mode ${(mode & 0o777).toString(8)})`, `chmod 600 ${file}`)
  }
  return fine('operational key, node key, grant and certificate belong together')
}

async function grant(config: RelayConfig, clock: Clock): Promise<Said> {
  const { keys: region } = await readSecrets(config.dataDir, 0)
  const endsMs = Number(decode(GrantBodySchema, region.grant.payload, limits.RECORD_MAX_BYTES).notAfterMs)
  if (endsMs === 0) return fine('the grant does not end')
  const left = endsMs - clock.now()
  const says = `the root key's grant ends on ${new Date(endsMs).toISOString().slice(0, 10)}, in ${Math.floor(left / DAY_MS)} days`
  if (left > GRANT_LOW_MS) return fine(says)
  return wrong(says, `fetch the root key and run: parley relay renew --data ${config.dataDir} --root-key FILE`)
}

/** Only trying it counts: containers and network disks have rights that no mode shows. */
async function tryWrite(directory: string): Promise<string | undefined> {
  const file = join(directory, `.check-${process.pid}`)
  try {
    await (await open(file, 'wx', 0o600)).close()
    await rm(file)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown'
  }
}

async function rights({ dataDir }: RelayConfig): Promise<Said> {
  const store = join(dataDir, 'store')
  for (const directory of [dataDir, store]) {
    const code = await tryWrite(directory)
    // The store is made by the first start.
    if (code === undefined || (code === 'ENOENT' && directory === store)) continue
    const next = `chown it to the user that runs the relay, or chmod u+rwx ${directory}`
    return wrong(`this user may not write in ${directory}: ${code}`, next)
  }
  return fine(`this user may write in ${dataDir}`)
}

/** Whether somebody can listen there now; the code of the error when not. */
function tryListen({ host, port }: Listen): Promise<string | undefined> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}

const PORT_NEXT: Readonly<Record<string, string>> = {
  EACCES: 'choose a port above 1023, or put a proxy in front',
  EADDRNOTAVAIL: 'this machine has no such address: choose one that `ip address` shows, or 0.0.0.0',
}

async function port(key: string, listen: Listen): Promise<Said> {
  const where = `${listen.host}:${listen.port}`
  const code = await tryListen(listen)
  if (code === undefined) return fine(`${where} is free`)
  if (code === 'EADDRINUSE') {
    return wrong(
      `another program listens on ${where}`,
      `stop it (this relay, if it runs already), or set another ${key}`,
    )
  }
  return wrong(`cannot listen on ${where}: ${code}`, PORT_NEXT[code] ?? `set another ${key}`)
}

/** Frames are sealed without TLS too, but the tokens of HTTP requests are not. */
function urls(config: RelayConfig): Said {
  const open = config.client.urls.filter((url) => {
    const { protocol, hostname } = new URL(url)
    return protocol === 'http:' && hostname !== 'localhost' && !isLoopback(hostname.replace(/^\[(.*)\]$/, '$1'))
  })
  if (open.length === 0) return fine('clients come over TLS or from this machine')
  const next =
    'give it a certificate (client.tls_cert, client.tls_key) or put a proxy with one in front, and its https:// origin into client.urls'
  return wrong(`${open.join(', ')}: tokens of HTTP requests can be read on the way`, next)
}

async function tls({ client }: RelayConfig, clock: Clock): Promise<Said> {
  if (!client.tls) return fine('none here: a proxy in front of this node has it, or clients are on this machine')
  const { endsMs, covers } = await readTls(client.tls)
  const { keyFile, certFile } = client.tls
  const { mode } = await stat(keyFile)
  if (mode & 0o077)
    return wrong(`${keyFile} can be read by others (mode ${(mode & 0o777).toString(8)})`, `chmod 600 ${keyFile}`)
  const foreign = client.urls.filter((url) => url.startsWith('https:') && !covers(new URL(url).hostname))
  if (foreign.length > 0)
    return wrong(
      `${certFile} is not for ${foreign.join(', ')}`,
      'get a certificate with these names, or correct client.urls',
    )
  const says = `the certificate ends on ${new Date(endsMs).toISOString().slice(0, 10)}`
  return endsMs - clock.now() > CERTIFICATE_LOW_MS ? fine(says) : wrong(says, 'renew it and start the relay again')
}

/** How far this clock is ahead of others', one figure each, corrected by half of the way there and back. */
async function offsets(config: RelayConfig, clock: Clock): Promise<number[]> {
  const timed = async (ask: () => Promise<number>): Promise<number> => {
    const sent = clock.now()
    const theirs = await ask()
    if (!Number.isFinite(theirs)) throw new ParleyError('malformed', 'an answer without a time')
    return (sent + clock.now()) / 2 - theirs
  }
  const origins = config.mesh.bootstrap.filter((one) => !one.startsWith('/'))
  const urls = new Set<string>()
  const entries = await Promise.allSettled(
    origins.map((origin) =>
      timed(async () => {
        const answer = await askEntry(origin, 0)
        for (const region of answer.regions)
          for (const node of region.nodes) if (node.clientUrls[0]) urls.add(node.clientUrls[0])
        return answer.timeMs
      }),
    ),
  )
  for (const own of config.client.urls) urls.delete(own)
  const regions = await Promise.allSettled(
    [...urls].slice(0, 8).map((url) => timed(async () => Number((await getJson(`${url}/v1/region`)).timeMs))),
  )
  return [...entries, ...regions].flatMap((one) => (one.status === 'fulfilled' ? one.value : []))
}

async function time(config: RelayConfig, clock: Clock): Promise<Said> {
  const found = (await offsets(config, clock)).sort((a, b) => a - b)
  const median = found[Math.floor(found.length / 2)]
  if (median === undefined) {
    return fine(
      'not compared: no entry service or other region could be asked (name one by its http(s) origin in mesh.bootstrap)',
    )
  }
  const seconds = Math.abs(median / 1_000)
  const says = `this clock is ${seconds.toFixed(1)} s ${median < 0 ? 'behind' : 'ahead of'} the median of ${found.length} other${found.length === 1 ? '' : 's'}`
  return Math.abs(median) <= CLOCK_WRONG_MS
    ? fine(says)
    : wrong(says, 'let the clock be set by NTP, for instance: timedatectl set-ntp true')
}

async function disk({ dataDir }: RelayConfig): Promise<Said> {
  const { bavail, bsize } = await statfs(dataDir)
  const freeMib = Math.floor((bavail * bsize) / MIB)
  const says = `${freeMib} MiB are free; ${STORE_RESERVE_BYTES / MIB} MiB of that are kept as reserve`
  return bavail * bsize > 2 * STORE_RESERVE_BYTES
    ? fine(says)
    : wrong(says, 'free some space, or put --data on a larger disk')
}

/** The median of some writes of 4 KiB, each made durable. */
async function fsync({ dataDir }: RelayConfig, clock: Clock): Promise<Said> {
  await mkdir(dataDir, { recursive: true })
  const file = join(dataDir, `.check-${process.pid}`)
  const handle = await open(file, 'wx', 0o600)
  try {
    const took: number[] = []
    for (let i = 0; i < FSYNC_TRIES; i++) {
      const start = clock.monotonic()
      await handle.write(Buffer.alloc(4_096, i))
      await handle.datasync()
      took.push(clock.monotonic() - start)
    }
    const median = took.sort((a, b) => a - b)[FSYNC_TRIES / 2]!
    const says = `a durable write takes ${median.toFixed(1)} ms (median of ${FSYNC_TRIES})`
    return median <= FSYNC_SLOW_MS
      ? fine(says)
      : wrong(says, 'put --data on a local SSD: every message waits for such a write')
  } finally {
    await handle.close()
    await rm(file, { force: true })
  }
}

/** Looks at everything, in an order in which the first failure explains the later ones. */
export async function checkRelay(load: () => Promise<RelayConfig>, clock: Clock): Promise<Finding[]> {
  let config: RelayConfig | undefined
  const first = await guarded('config', async () => {
    config = await load()
    return fine(`${config.dataDir} is the relay of "${config.name}"`)
  })
  const found = config
  if (!found) return [first]
  return [
    first,
    await guarded('rights', () => rights(found)),
    await guarded('keys', () => keys(found, clock)),
    await guarded('grant', () => grant(found, clock)),
    await guarded('client urls', async () => urls(found)),
    await guarded('tls', () => tls(found, clock)),
    await guarded('client port', () => port('client.listen', found.client.listen)),
    await guarded('mesh port', () => port('mesh.listen', found.mesh.listen)),
    await guarded('clock', () => time(found, clock)),
    await guarded('disk', () => disk(found)),
    await guarded('fsync', () => fsync(found, clock)),
  ]
}
