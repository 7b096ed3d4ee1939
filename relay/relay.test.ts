import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import pino from 'pino'
import {
  compareIds,
  convIdBytes,
  decode,
  directConvId,
  directGenesis,
  HomeRecordSchema,
  KIND_CONTENT,
  limits,
  openHomeRecord,
  openRegionRecord,
  type ParleyError,
  PrekeyBundleSchema,
  positionOf,
  readHeader,
  readParts,
  SignedPrekeysSchema,
  SignedRecordSchema,
  systemClock,
  systemRandom,
} from '#protocol'
import { loadConfig } from './config.ts'
import { makePerson, makePrekeys } from './fixtures.ts'
import { ask, base64, bearer, records, register, signIn } from './gateway/test-device.ts'
import { type Initialised, initRelay } from './init.ts'
import { type RunningRelay, startRelay } from './relay.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const log = pino({ level: 'silent' })
let directory: string
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'parley-relay-'))
})
after(() => rm(directory, { recursive: true, force: true }))

async function make(name: string, bootstrap: readonly string[]): Promise<Initialised> {
  return initRelay(
    {
      dataDir: join(directory, name),
      name,
      rootKeyFile: join(directory, `${name}-root.key`),
      listen: '127.0.0.1:0',
      meshListen: '127.0.0.1:0',
      clientUrls: [],
      bootstrap,
    },
    systemClock,
    systemRandom,
  )
}

async function start(name: string): Promise<RunningRelay> {
  const config = await loadConfig(join(directory, name), {}, new Map())
  return startRelay(config, { log })
}

describe('two relays', () => {
  let north: RunningRelay
  let south: RunningRelay
  before(async () => {
    await make('north', [])
    north = await start('north')
    await make('south', [north.multiaddrs[0]!])
    south = await start('south')
  })
  after(async () => {
    await south[Symbol.asyncDispose]()
    await north[Symbol.asyncDispose]()
  })

  it('publish records of their regions that say where clients and nodes reach them', async () => {
    const { body } = await ask(south.clientUrls[0]!, '/v1/region')
    const record = decode(SignedRecordSchema, Buffer.from(body.record, 'base64'), limits.RECORD_MAX_BYTES)
    const region = openRegionRecord(record, systemClock.now())
    assert.equal(region.regionId, south.regionId)
    assert.deepEqual(region.nodes, [{ ...region.nodes[0], clientUrls: south.clientUrls, multiaddrs: south.multiaddrs }])
  })

  it('find a person of the other region, and hand out that person’s prekeys once each', async () => {
    const [ana, ben] = [makePerson(north.regionId), makePerson(south.regionId)]
    const [northUrl, southUrl] = [north.clientUrls[0]!, south.clientUrls[0]!]
    assert.equal((await register(northUrl, ana)).status, 200)
    assert.equal((await register(southUrl, ben)).status, 200)
    const atSouth = await signIn(southUrl, south.regionId, { person: ben })
    const prekeys = base64(toBinary(SignedPrekeysSchema, makePrekeys(ben, 25, 1, Date.now())))
    const stocked = await ask(southUrl, '/v1/prekeys', {
      method: 'PUT',
      headers: bearer(atSouth.session),
      json: { prekeys },
    })
    assert.equal(stocked.status, 200)
    const atNorth = await signIn(northUrl, north.regionId, { person: ana })
    const headers = bearer(atNorth.session)
    const found = await ask(northUrl, `/v1/users/${ben.userId}`, { headers })
    assert.equal(found.status, 200, found.code)
    const home = openHomeRecord(fromBinary(HomeRecordSchema, Buffer.from(found.body.homeRecord, 'base64')), Date.now())
    assert.equal(home.homeRegion, south.regionId)
    assert.equal(found.body.manifest, records(ben.first).manifest)
    const ids: (number | undefined)[] = []
    for (let i = 0; i < 2; i++) {
      const { body } = await ask(northUrl, `/v1/users/${ben.userId}/devices/1/bundle`, { method: 'POST', headers })
      ids.push(fromBinary(PrekeyBundleSchema, Buffer.from(body.bundle, 'base64')).oneTime?.id)
    }
    assert.deepEqual(ids, [1, 2])
    await atSouth.until((frame) => frame.notices.some((notice) => notice.what.case === 'prekeysLow'))
    const nobody = makePerson(south.regionId).userId
    assert.equal((await ask(northUrl, `/v1/users/${nobody}`, { headers })).code, 'unknown_user')
    assert.equal(
      (await ask(northUrl, `/v1/users/${ben.userId}/devices/2/bundle`, { method: 'POST', headers })).code,
      'unknown_device',
    )
    atNorth.socket.close()
    atSouth.socket.close()
  })

  it('keep accounts over a restart, say health and metrics without ids, and run without the root key', async () => {
    await rm(join(directory, 'south-root.key'))
    const ben = makePerson(south.regionId)
    await register(south.clientUrls[0]!, ben)
    const { socket } = await signIn(south.clientUrls[0]!, south.regionId, { person: ben, counter: 5n })
    const metrics = await ask(south.clientUrls[0]!, '/metrics')
    assert.match(metrics.text, /parley_sessions 1/)
    assert.doesNotMatch(metrics.text, /parley1|parleyr1|parleyc1/)
    socket.close()
    await south[Symbol.asyncDispose]()
    south = await start('south')
    assert.deepEqual((await ask(south.clientUrls[0]!, '/v1/health')).body.status, 'ok')
    await assert.rejects(signIn(south.clientUrls[0]!, south.regionId, { person: ben, counter: 5n }), {
      code: 'old_profile',
    })
    const again = await signIn(south.clientUrls[0]!, south.regionId, { person: ben, counter: 6n })
    again.socket.close()
  })

  it('carry a submission from a device in one region to a device in the other, and page it over HTTP', async () => {
    const [ana, ben] = [makePerson(north.regionId), makePerson(south.regionId)]
    const [northUrl, southUrl] = [north.clientUrls[0]!, south.clientUrls[0]!]
    await register(northUrl, ana)
    await register(southUrl, ben)
    const atNorth = await signIn(northUrl, north.regionId, { person: ana })
    const atSouth = await signIn(southUrl, south.regionId, { person: ben })
    const homeOf = async (url: string, user: string, session: typeof atNorth.session) => {
      const { body } = await ask(url, `/v1/users/${user}`, { headers: bearer(session) })
      return fromBinary(HomeRecordSchema, Buffer.from(body.homeRecord, 'base64'))
    }
    const homeRecords = [
      await homeOf(northUrl, ana.userId, atNorth.session),
      await homeOf(northUrl, ben.userId, atNorth.session),
    ]
    const convId = directConvId(ana.userId, ben.userId)
    const name = { ref: 1, convId: convIdBytes(convId), genesis: directGenesis(ana.userId, ben.userId), homeRecords }
    const benIs = compareIds(ana.userId, ben.userId) < 0 ? 1 : 0
    const tag = systemRandom.bytes(8)
    const body = systemRandom.bytes(300)
    const encryptedFor = [0, 1].map((member) => ({ member, rootEpoch: 1, version: 1 }))
    const submission = {
      conv: 1,
      k: 1,
      tag,
      rev: 0,
      kind: KIND_CONTENT,
      encryptedFor,
      parts: [{ member: benIs, device: 1, body }],
    }
    atNorth.send({ names: [name], submissions: [submission] })
    const came = await atSouth.until((frame) => frame.entries.length > 0 || frame.behind.length > 0)
    const behind = came.behind[0]
    if (behind) {
      atSouth.send({ names: [name], pulls: [{ conv: 1, epoch: behind.fromEpoch, n: behind.fromN, maxBytes: 65_536 }] })
    }
    const run = (await atSouth.until((frame) => frame.entries.length > 0)).entries[0]!
    const header = readHeader(run.entry[0]!)
    assert.deepEqual([header.k, hex(header.tag), header.at], [1, hex(tag), positionOf(1, 1)])
    assert.deepEqual(
      readParts(run.entry[0]!).map((part) => hex(part.body)),
      [hex(body)],
    )
    const told = await atNorth.until(
      (frame) => frame.verdicts.some((verdict) => verdict.outcome.case === 'sequenced') || frame.entries.length > 0,
    )
    assert.ok(told)
    await atNorth.until((frame) => frame.verdicts.some((verdict) => verdict.outcome.case === 'safe'))
    const page = await ask(southUrl, `/v1/conversations/${convId}/entries?after=0.0`, {
      headers: bearer(atSouth.session),
    })
    assert.equal(page.body.head, '1.1')
    assert.equal(page.body.entries[0], base64(run.entry[0]!))
    const stranger = makePerson(south.regionId)
    await register(southUrl, stranger)
    const other = await signIn(southUrl, south.regionId, { person: stranger })
    const refused = await ask(southUrl, `/v1/conversations/${convId}/entries`, { headers: bearer(other.session) })
    assert.equal(refused.code, 'not_member')
    for (const { socket } of [atNorth, atSouth, other]) socket.close()
  })

  it('refuse a second process on the same data, and a port that is in use, leaving nothing open', async () => {
    await assert.rejects(start('north'), { code: 'store_in_use' })
    await make('third', [])
    const taken = new URL(north.clientUrls[0]!).host
    for (const key of ['client.listen', 'mesh.listen']) {
      const config = await loadConfig(join(directory, 'third'), {}, new Map([[key, taken]]))
      await assert.rejects(startRelay(config, { log }), (error: ParleyError) => {
        assert.equal(error.code, 'bad_argument')
        assert.match(error.message, /in use/)
        return true
      })
    }
    const third = await start('third')
    await third[Symbol.asyncDispose]()
  })
})

describe('relay init', () => {
  it('keeps the root key out of the data directory and overwrites nothing', async () => {
    const made = await make('fresh', [])
    const secret = /parley-secret-key-v1:(\S+)/.exec(await readFile(made.rootKeyFile, 'utf8'))![1]!
    for (const entry of await readdir(made.dataDir, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const bytes = await readFile(join(entry.parentPath, entry.name))
      assert.ok(!bytes.includes(secret) && !bytes.includes(Buffer.from(secret, 'base64')), entry.name)
    }
    await assert.rejects(make('fresh', []), { code: 'conflict' })
    await rm(made.dataDir, { recursive: true })
    await assert.rejects(make('fresh', []), { code: 'conflict' }, 'the root key is still there')
  })
})

describe('relay start', () => {
  it('ends with a clear line and a code of its own when the store fails', { timeout: 60_000 }, async () => {
    const { dataDir } = await make('full', [])
    // No file may grow beyond 1.1 MiB: the journal's first one is that small, its second one cannot be made.
    const command = `ulimit -f 1100; exec "$0" "$1" relay start --json --data "$2"`
    const program = join(import.meta.dirname, '..', 'parley.ts')
    const child = spawn('bash', ['-c', command, process.execPath, program, dataDir], {
      env: { ...process.env, PARLEY_LOG_LEVEL: 'fatal' },
    })
    const ended = once(child, 'exit')
    let said = ''
    child.stderr.on('data', (data) => {
      said += data
    })
    const [line] = await once(createInterface(child.stdout), 'line')
    const ready = JSON.parse(line)
    const url = ready.clientUrls[0]
    while (child.exitCode === null) {
      await register(url, makePerson(ready.regionId)).catch(() => undefined)
      await new Promise(setImmediate)
    }
    const [code] = await ended
    assert.equal(code, 5)
    assert.match(said, /parley: the store failed: .*\. Next: check the disk, then start the relay again/)
  })
})
