import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmod, mkdtemp, rename, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type Clock, systemClock, systemRandom } from '#protocol'
import { checkRelay, type Finding } from './check.ts'
import { loadConfig } from './config.ts'
import { initRelay, renewGrant } from './init.ts'
import { GRANT_FOR_MS } from './limits.ts'
import { secretFiles } from './secrets.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

describe('relay check', () => {
  let directory: string
  let dataDir: string
  const entry = createHttpServer((_request, response) => {
    response.end(JSON.stringify({ regions: [], timeMs: systemClock.now() }))
  })
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'parley-check-'))
    dataDir = join(directory, 'data')
    entry.listen(0, '127.0.0.1')
    await once(entry, 'listening')
    await initRelay(
      {
        dataDir,
        name: 'north',
        rootKeyFile: join(directory, 'root.key'),
        listen: '127.0.0.1:0',
        meshListen: '127.0.0.1:0',
        clientUrls: [],
        bootstrap: [`http://127.0.0.1:${(entry.address() as AddressInfo).port}`],
      },
      systemClock,
      systemRandom,
    )
  })
  after(async () => {
    entry.close()
    entry.closeAllConnections()
    await rm(directory, { recursive: true, force: true })
  })

  const check = (flags: Record<string, unknown> = {}, aheadMs = 0): Promise<Finding[]> => {
    const clock: Clock = { ...systemClock, now: () => systemClock.now() + aheadMs }
    return checkRelay(() => loadConfig(dataDir, {}, new Map(Object.entries(flags))), clock)
  }
  /** Exactly this is wrong, is said, and has a next step. */
  const onlyWrong = (findings: readonly Finding[], what: string, says: RegExp, next: RegExp): void => {
    const wrong = findings.filter((finding) => !finding.ok)
    assert.deepEqual(
      wrong.map((finding) => finding.what),
      [what],
    )
    assert.match(wrong[0]!.says, says)
    assert.match(wrong[0]!.next!, next)
  }

  it('finds nothing wrong with a fresh relay', async () => {
    const findings = await check()
    assert.deepEqual(
      findings.filter((finding) => !finding.ok),
      [],
    )
    assert.match(findings.find((finding) => finding.what === 'clock')!.says, /median of 1 other/)
  })

  it('finds a port in use', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    onlyWrong(
      await check({ 'client.listen': `127.0.0.1:${port}` }),
      'client port',
      /another program listens/,
      /another client\.listen/,
    )
    onlyWrong(
      await check({ 'mesh.listen': `127.0.0.1:${port}` }),
      'mesh port',
      /another program listens/,
      /another mesh\.listen/,
    )
    taken.close()
  })

  it('finds an address that is not of this machine', async () => {
    onlyWrong(await check({ 'client.listen': '192.0.2.1:4100' }), 'client port', /EADDRNOTAVAIL/, /ip address/)
  })

  it('finds client URLs that need TLS', async () => {
    const flags = { 'client.urls': ['http://127.0.0.1:1', 'https://a.example', 'http://b.example'] }
    onlyWrong(await check(flags), 'client urls', /^http:\/\/b\.example: tokens/, /certificate/)
  })

  it('finds a wrong clock, in both directions', async () => {
    onlyWrong(await check({}, HOUR_MS), 'clock', /3600\.\d s ahead/, /NTP/)
    onlyWrong(await check({}, -HOUR_MS), 'clock', /3600\.\d s behind/, /NTP/)
  })

  it('finds a missing key, a readable one, and one that is not ours', async () => {
    const { node, operational } = secretFiles(dataDir)
    await rename(node, `${node}.away`)
    const missing = (await check()).filter((finding) => !finding.ok)
    assert.match(missing[0]!.says, /node\.key is missing/)
    assert.match(missing[0]!.next!, /backup/)
    await rename(`${node}.away`, node)
    await chmod(operational, 0o644)
    onlyWrong(await check(), 'keys', /can be read by others \(mode 644\)/, /chmod 600/)
    await chmod(operational, 0o600)
  })

  it('finds missing rights', async () => {
    await chmod(directory, 0o755)
    await chmod(dataDir, 0o555)
    await chmod(join(dataDir, 'config.toml'), 0o644)
    const nobody = 65_534
    // Modes mean nothing to root: it looks with the rights of somebody else.
    if (process.getuid?.() === 0) process.seteuid?.(nobody)
    const wrong = (await check()).filter((finding) => !finding.ok)
    if (process.getuid?.() === 0) process.seteuid?.(0)
    await chmod(dataDir, 0o700)
    assert.equal(wrong[0]!.what, 'rights')
    assert.match(wrong[0]!.says, /may not write in .*: EACCES/)
    assert.match(wrong[0]!.next!, /chown/)
  })

  it('finds that there is no relay, and values that are refused', async () => {
    const none = await checkRelay(() => loadConfig(directory, {}, new Map()), systemClock)
    onlyWrong(none, 'config', /there is no relay in/, /parley relay init/)
    onlyWrong(
      await check({ 'log.level': 'loud' }),
      'config',
      /log\.level \(command line\) is "loud"; allowed is/,
      /correct/,
    )
  })

  it('finds a grant that ends soon, which the root key renews', async () => {
    const soon: Clock = { ...systemClock, now: () => systemClock.now() + GRANT_FOR_MS - 30 * DAY_MS }
    const before = await checkRelay(() => loadConfig(dataDir, {}, new Map([['mesh.bootstrap', []]])), soon)
    onlyWrong(before, 'grant', /in 29 days/, /parley relay renew/)
    await renewGrant(dataDir, join(directory, 'root.key'), soon)
    const after = await checkRelay(() => loadConfig(dataDir, {}, new Map([['mesh.bootstrap', []]])), soon)
    assert.deepEqual(
      after.filter((finding) => !finding.ok),
      [],
    )
  })
})
